"""The clips a camera LoRA is trained on, whatever they were made from, and where they come from.

A source hands out groups: clips shown with the same strength curve travel through the network together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..errors import InputError, explain


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSize:
    """Frames and pixels of the clips."""

    frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.frames < 2 or min(self.height, self.width) < 24:
            found = f"{self.frames} frames of {self.width} x {self.height}"
            raise InputError(explain("at least 2 frames of 24 x 24 pixels", found, "Ask for more frames or pixels."))


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraClip:
    """One clip: pixels `T 3 H W` in [-1, 1], its rate, and the strength of the LoRA on every frame, `T`.

    motion_bucket: the one it is shown with; None for one drawn at random in every step.
    """

    pixels: Tensor
    fps: float
    strength: Tensor
    motion_bucket: float | None = None


class ClipSource(Protocol):
    """Where training clips come from. The same source, asked for the same group, gives the same clips."""

    @property
    def groups(self) -> int:
        """How many groups there are to ask for."""
        ...

    @property
    def key(self) -> str:
        """Changes when the clips do; cached latents and saved runs belong to it."""
        ...

    def group(self, index: int) -> Sequence[CameraClip]:
        """The clips of one group: one strength curve, one to a few clips."""
        ...

    def stills(self, count: int) -> Tensor:
        """Pictures `count 3 H W` in [-1, 1] to try the LoRA on, which no clip starts with where that is possible."""
        ...
