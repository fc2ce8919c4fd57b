"""The values that pass between rooms. Letters: B clips, T frames, C channels, H W pixels, h w latent cells.

"(b t)" means clips and frames folded into one axis, clips outermost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from .errors import InputError, explain

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""`denoised = denoiser(x, sigma)`: x `(b t) c h w`, sigma a scalar tensor, denoised as x."""


@dataclass(frozen=True, slots=True)
class MotionControls:
    """What the artist says about the motion of a clip.

    `fps` is the fps hint (the network is told `fps - 1`), `motion_bucket` 0-255 is the amount of motion,
    `augmentation` the standard deviation of the noise put on the source pixels in [-1, 1].
    """

    fps: int
    motion_bucket: float
    augmentation: float
    seed: int


@dataclass(frozen=True, slots=True)
class ImageConditioning:
    """What the UNet knows about B clips of T frames.

    context `B N D` (N = 1 token for SVD), concat_latents `B C h w` unscaled, vector `B V` or `B T V` (sinusoids).
    """

    context: Tensor
    concat_latents: Tensor
    vector: Tensor
    frames: int

    @property
    def clips(self) -> int:
        """Number of clips B."""
        return self.context.shape[0]

    def unconditional(self) -> ImageConditioning:
        """The other half of guidance: no image at all, the same vector."""
        return replace(
            self, context=torch.zeros_like(self.context), concat_latents=torch.zeros_like(self.concat_latents)
        )


@dataclass(frozen=True, slots=True)
class StepInfo:
    """What a sampling loop reports after each step; `denoised` `(b t) c h w` is a view, not a copy."""

    index: int
    total: int
    sigma: float
    denoised: Tensor


@dataclass(frozen=True, slots=True)
class Frames:
    """A finished clip: pixels `T H W 3` float32 in [0, 1], and the playback rate."""

    pixels: Tensor
    fps: Fraction

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[-1] != 3:
            raise InputError(
                explain(
                    "frames as T H W 3", f"shape {tuple(self.pixels.shape)}", "Stack RGB frames along the first axis."
                )
            )
        if self.fps <= 0:
            raise InputError(explain("a playback rate above 0", f"{self.fps} fps", "Give a positive rate."))

    def __len__(self) -> int:
        return self.pixels.shape[0]
