"""The camera meter: what the camera did on finished frames, in the units an artist asks for moves in.

This file decides units, trust and the summary; how a pair of frames is aligned is `registration`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, explain
from ..types import Frames
from .blocks import SMALLEST_SIDE
from .moves import AXES, Axis
from .path import CameraMotion, CameraPath, integrate, motion_of
from .registration import register

# Pairs aligned at a time: bounds memory to some 50 MB and does not change the result.
_PAIRS_AT_ONCE = 8
_LUMA = (0.299, 0.587, 0.114)
# Below this share of recognised texture an alignment is chance: cuts, noise and empty frames stay under it.
_TRUSTED = 0.15
_CUT_RESIDUAL = 0.03


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """Camera motion measured on a clip of T frames; signs and units are those of `CameraMotion`.

    `pan`, `tilt`, `zoom`, `roll`: `T-1` float64 on the CPU, one step per pair of successive frames, 0 where the pair is
    not trusted. `confidence` `T-1`: share in [0, 1] of the frame's texture that moved with the camera (1 for a rigid
    scene, some 0.6 with a subject over a third of the frame, 0 without texture). `residual` `T-1`: root mean square
    difference of the aligned pair, in [0, 1]. `height` and `width` are the frames', `fps` the playback rate.
    """

    pan: Tensor
    tilt: Tensor
    zoom: Tensor
    roll: Tensor
    confidence: Tensor
    residual: Tensor
    height: int
    width: int
    fps: Fraction

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.pan) + 1

    @property
    def trusted(self) -> Tensor:
        """Which pairs were aligned, `T-1` bool."""
        return self.confidence >= _TRUSTED

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frames that start a new shot: nothing of the frame before is found again although both show something."""
        flagged = ~self.trusted & (self.residual > _CUT_RESIDUAL)
        return tuple(int(index) + 1 for index in flagged.nonzero().flatten())

    @property
    def motion(self) -> CameraMotion:
        """The steps alone, fit for `flow`-like geometry."""
        return CameraMotion(pan=self.pan, tilt=self.tilt, zoom=self.zoom, roll=self.roll)

    @property
    def path(self) -> CameraPath:
        """The camera's state on every frame, from zero on the first."""
        return integrate(self.motion, self.height, self.width)

    @property
    def mean(self) -> dict[Axis, float]:
        """Mean step per frame over the trusted pairs; zeros if there is none."""
        count = max(1, int(self.trusted.sum()))
        return {axis: float(values.sum()) / count for axis, values in self._steps().items()}

    @property
    def per_second(self) -> dict[Axis, float]:
        """The mean step times the playback rate."""
        return {axis: value * float(self.fps) for axis, value in self.mean.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists; `trusted` counts the pairs that were aligned, where it is 0 nothing was measured."""
        return {
            "frames": self.frames,
            "fps": float(self.fps),
            "per_frame": {axis: values.tolist() for axis, values in self._steps().items()},
            "mean": self.mean,
            "per_second": self.per_second,
            "trusted": int(self.trusted.sum()),
            "confidence": self.confidence.tolist(),
            "residual": self.residual.tolist(),
            "cuts": list(self.cuts),
        }

    def _steps(self) -> dict[Axis, Tensor]:
        return dict(zip(AXES, (self.pan, self.tilt, self.zoom, self.roll), strict=True))


def measure(frames: Frames | Tensor, fps: Fraction = Fraction(1)) -> Track:
    """Measure the camera on finished frames, whatever moves in front of it.

    Args:
        frames: a clip, or its pixels `T H W 3` in [0, 1], at least 2 frames and 24 x 24 pixels.
        fps: playback rate of bare pixels; a clip brings its own.

    Raises:
        InputError: too few frames, too small, not `T H W 3`, or not finite.
    """
    clip = frames if isinstance(frames, Frames) else Frames(frames, fps)
    _check(clip.pixels)
    grey = luma(clip.pixels)
    height, width = grey.shape[-2:]
    chunks = [
        register(first, second)
        for first, second in zip(grey[:-1].split(_PAIRS_AT_ONCE), grey[1:].split(_PAIRS_AT_ONCE), strict=True)
    ]
    explained = torch.cat([chunk.explained for chunk in chunks]).double().cpu()
    a, b, x, y = torch.cat([chunk.motion for chunk in chunks]).double().cpu().unbind(dim=1)
    steps = motion_of(a, b, x * (width / 2), y * (width / 2), height=height, width=width)
    trusted = explained >= _TRUSTED
    return Track(
        pan=steps.pan.where(trusted, 0.0),
        tilt=steps.tilt.where(trusted, 0.0),
        zoom=steps.zoom.where(trusted, 0.0),
        roll=steps.roll.where(trusted, 0.0),
        confidence=explained,
        residual=torch.cat([chunk.residual for chunk in chunks]).double().cpu(),
        height=height,
        width=width,
        fps=clip.fps,
    )


def luma(pixels: Tensor) -> Tensor:
    """Brightness `... H W` of `... H W 3` (Rec. 601 weights), float32."""
    return pixels.float() @ pixels.new_tensor(_LUMA, dtype=torch.float32)


def _check(pixels: Tensor) -> None:
    count, height, width, _ = pixels.shape
    if count < 2:
        raise InputError(explain("at least 2 frames to measure motion between", f"{count}", "Give a longer clip."))
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            explain(
                f"frames of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels",
                f"{width} x {height}",
                "Give larger frames.",
            )
        )
    if not bool(torch.isfinite(pixels).all()):
        bad = int((~torch.isfinite(pixels)).flatten(1).any(dim=1).sum())
        raise InputError(explain("finite pixel values", f"NaN or infinity in {bad} frames", "Render the clip again."))
