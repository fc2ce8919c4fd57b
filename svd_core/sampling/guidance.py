"""Classifier-free guidance with one weight a frame: the curves, how a user writes them, and the combination.

Whether both halves run in one batch or one after the other is the memory plan's choice, not this file's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from einops import repeat
from torch import Tensor

from ..config import GuidanceShape
from ..errors import InputError, choose_from, explain
from ..types import Denoiser

GUIDANCE_SHAPES: tuple[GuidanceShape, ...] = get_args(GuidanceShape)
_SYNTAX = "`guidance` as constant:W or SHAPE:MIN:MAX, SHAPE being " + ", ".join(GUIDANCE_SHAPES[1:])


@dataclass(frozen=True, slots=True)
class GuidanceCurve:
    """How strongly each frame is pulled from the unconditional to the conditional prediction.

    Weight 1 is the plain conditional prediction, 0 the unconditional one. `minimum` and `maximum` are the
    ends of the ramp; a constant curve uses `minimum` alone.
    """

    shape: GuidanceShape
    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        if self.shape not in GUIDANCE_SHAPES:
            raise InputError(choose_from("guidance shape", self.shape, GUIDANCE_SHAPES))
        if not (math.isfinite(self.minimum) and math.isfinite(self.maximum)):
            raise InputError(explain("finite guidance weights", str(self), "Give numbers such as 1 and 2.5."))

    def weights(self, frames: int) -> Tensor:
        """One weight a frame, `T` float32: the first frame of a linear curve gets the minimum, the last the maximum.

        A triangle starts and ends at the minimum (SV3D's turntable, whose last frame is its first), and so does a
        trapezoid, which stays at the maximum for the middle half. cosine is a linear curve with soft ends, hold
        reaches the maximum half-way and stays there.
        """
        place = torch.linspace(0, 1, frames, dtype=torch.float64)
        return (self.minimum + (self.maximum - self.minimum) * _RAMPS[self.shape](place)).float()

    def __str__(self) -> str:
        ends = [self.minimum] if self.shape == "constant" else [self.minimum, self.maximum]
        return ":".join([self.shape, *(f"{end:g}" for end in ends)])


_RAMPS: dict[GuidanceShape, Callable[[Tensor], Tensor]] = {
    "constant": torch.zeros_like,
    "linear": lambda place: place,
    "triangle": lambda place: 2 * (place - (place + 0.5).floor()).abs(),
    "trapezoid": lambda place: (4 * torch.minimum(place, 1 - place)).clamp_max(1),
    "cosine": lambda place: (1 - torch.cos(math.pi * place)) / 2,
    "hold": lambda place: (2 * place).clamp_max(1),
}
"""How far from minimum to maximum, by the place in the clip, `T` from 0 to 1."""


def parse_guidance(text: str) -> GuidanceCurve:
    """Read `linear:1:2.5`, `triangle:1:2.5`, `constant:2`, or a bare number for a constant.

    Raises:
        InputError: anything else.
    """
    shape, *ends = text.strip().split(":") if ":" in text else ("constant", text)
    try:
        numbers = [float(end) for end in ends]
    except ValueError:
        numbers = []
    if shape not in GUIDANCE_SHAPES or len(numbers) != (1 if shape == "constant" else 2):
        raise InputError(explain(_SYNTAX, repr(text), "Write for example linear:1:2.5."))
    return GuidanceCurve(shape, numbers[0], numbers[-1])


Guidance = GuidanceCurve | str | Tensor
"""A curve, its text, or the T weights themselves."""


def guidance_weights(guidance: Guidance | Sequence[Guidance], clips: int, frames: int) -> Tensor:
    """Weights `B T` float32 on the CPU: the same curve over every clip, or one curve a clip.

    Raises:
        InputError: the number of curves is not `clips`, or a tensor does not hold `frames` weights.
    """
    per_clip = [guidance] * clips if isinstance(guidance, GuidanceCurve | str | Tensor) else list(guidance)
    if len(per_clip) != clips:
        found = f"{len(per_clip)} for {clips} clips"
        raise InputError(explain("one guidance curve, or one a clip", found, "Give one curve for all."))
    return torch.stack([_clip_weights(one, frames) for one in per_clip])


def needs_unconditional(weights: Tensor) -> bool:
    """Whether any frame's weight differs from 1; where none does, the unconditional half changes nothing."""
    return bool((weights != 1).any())


def combine(unconditional: Tensor, conditional: Tensor, weights: Tensor) -> Tensor:
    """`u + w (c - u)` (Ho & Salimans 2022, in SVD's convention); u, c `(b t) c h w`, weights `B T`."""
    per_frame = repeat(weights.to(conditional), "b t -> (b t) 1 1 1")
    return unconditional + per_frame * (conditional - unconditional)


def guided_in_turn(unconditional: Denoiser, conditional: Denoiser, weights: Tensor) -> Denoiser:
    """Guidance by two calls, one after the other: half the activations. weights `B T`."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return combine(unconditional(x, sigma), conditional(x, sigma), weights)

    return denoise


def guided_together(both: Denoiser, weights: Tensor) -> Denoiser:
    """Guidance by one call over 2 B clips, the unconditional ones first. weights `B T`."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        unconditional, conditional = both(torch.cat([x, x]), sigma).chunk(2)
        return combine(unconditional, conditional, weights)

    return denoise


def _clip_weights(guidance: Guidance, frames: int) -> Tensor:
    if isinstance(guidance, str):
        guidance = parse_guidance(guidance)
    if isinstance(guidance, GuidanceCurve):
        return guidance.weights(frames)
    if guidance.shape != (frames,) or not bool(guidance.isfinite().all()):
        found = f"shape {tuple(guidance.shape)}"
        raise InputError(explain(f"{frames} finite guidance weights", found, "Give one weight a frame."))
    return guidance.detach().to("cpu", torch.float32)
