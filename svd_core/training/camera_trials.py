"""Trials of a camera LoRA: the same pictures and seeds at several strengths, and what the meter reads on each clip.

Everything a LoRA is judged by (early stop, calibration, the bench) comes from these readings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor

from ..camera.adapter import Placeable, attach
from ..camera.lora import Calibration
from ..camera.meter import Track, measure
from ..camera.moves import AXES, Axis
from ..config import SamplingDefaults
from ..metrics import clip_report
from ..metrics.verdict import STILL
from ..types import Frames
from .camera_clips import ClipSize
from .camera_moves import Target
from .sampler import Model, Request, decode, generate

COLUMNS = (*AXES, "camera", "subject")
"""What is read on a clip: mean camera motion a second by axis, then the camera's and the subject's mean motion from
frame to frame in % of the width (see `ClipReport`)."""
Judge = Callable[[Frames], Sequence[float]]
"""The numbers of `COLUMNS` of one clip; NaN for what the judge does not see."""
Look = Callable[[int, int], None]
"""Told the clips done and the clips in all; may raise to stop."""

# Mean distance of a pixel from the middle of a square frame, in its sides.
_MEAN_RADIUS = 0.3826
FLOW: dict[Axis, float] = {"pan": 1.0, "tilt": 1.0, "zoom": _MEAN_RADIUS, "roll": math.radians(100 * _MEAN_RADIUS)}
"""Makes the axes comparable: % of the frame a mean pixel moves per unit of the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What LoRAs are tried on: first frames `N 3 H W` in [-1, 1], seeds counted from `first_seed`, how to sample."""

    pictures: Tensor
    sampling: SamplingDefaults
    first_seed: int = 0
    batch: int = 8


def bench_for(model: Model, size: ClipSize, pictures: Tensor, *, batch: int, first_seed: int = 0) -> Bench:
    """The model's own way of sampling at another size."""
    sampling = replace(model.config.sampling, frames=size.frames, height=size.height, width=size.width)
    return Bench(pictures=pictures, sampling=sampling, batch=batch, first_seed=first_seed)


def by_meter(clip: Frames) -> list[float]:
    """The camera meter as judge."""
    return columns_of(clip, measure(clip))


def columns_of(clip: Frames, track: Track) -> list[float]:
    """What is read on a clip whose camera went along `track`, whoever measured that."""
    report = clip_report(clip, track)
    return [*(track.per_second[axis] for axis in AXES), report.camera_motion, report.subject_motion]


def clips_with(model: Model, placed: Sequence[Placeable], bench: Bench) -> Iterator[Frames]:
    """The bench's clips with these LoRAs on the model, in order; what is on the model otherwise stays on it."""
    sampling = bench.sampling
    for first in range(0, len(bench.pictures), bench.batch):
        pictures = bench.pictures[first : first + bench.batch]
        count = len(pictures)
        request = Request(
            pictures=pictures,
            fps=torch.full((count,), float(sampling.fps)),
            motion_bucket=torch.full((count,), float(sampling.motion_bucket)),
            seeds=range(bench.first_seed + first, bench.first_seed + first + count),
        )
        adapter = attach(model.unet, placed)
        try:
            latents = generate(model, request, sampling)
        finally:
            adapter.detach()
        for pixels in decode(model, latents).cpu():
            yield Frames((rearrange(pixels, "t c h w -> t h w c") + 1) / 2, Fraction(sampling.fps))


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read on N clips at each strength, `N 6` in the order of `COLUMNS`; strength 0 is always among them."""

    by_strength: dict[float, Tensor]

    @property
    def clips(self) -> int:
        """How many clips each strength was tried on."""
        return len(self.by_strength[0.0])

    def mean(self, strength: float, column: str) -> float:
        """Mean of a column."""
        return float(self.by_strength[strength][:, COLUMNS.index(column)].mean())

    def shift(self, strength: float) -> Tensor:
        """What the strength changed clip by clip, against the same picture and seed at strength 0: `N 6`."""
        return self.by_strength[strength] - self.by_strength[0.0]

    def amount(self, strength: float, target: Target) -> float:
        """Mean shift along the axis, positive in the preset's own direction; 0 for static."""
        return 0.0 if target.axis is None else float(self._along(self.shift(strength), target).mean())

    def right(self, strength: float, target: Target) -> float:
        """Share of clips whose camera moved the asked way; for static, of those whose camera stood still."""
        motions = self.by_strength[strength]
        if target.axis is None:
            return _share(motions[:, COLUMNS.index("camera")] < STILL)
        return _share(self._along(motions, target) * strength > 0)

    def paired(self, strength: float, target: Target) -> float:
        """Share of clips the strength pushed the asked way; for static, of those whose camera did not move more."""
        if target.axis is None:
            return _share(self.shift(strength)[:, COLUMNS.index("camera")] <= STILL / 10)
        return _share(self._along(self.shift(strength), target) * strength > 0)

    def off_axis(self, strength: float, target: Target) -> float:
        """Mean shift of the other axes together, over that of the axis, in flow; 0 for static."""
        if target.axis is None:
            return 0.0
        flow = self.shift(strength)[:, : len(AXES)].mean(dim=0) * torch.tensor([FLOW[axis] for axis in AXES])
        other = [index for index, axis in enumerate(AXES) if axis != target.axis]
        return float(flow[other].norm() / flow[AXES.index(target.axis)].abs().clamp(min=1e-6))

    def turned(self) -> Readings:
        """What the LoRA of the opposite move does: strength s of one is strength -s of the other."""
        return Readings({-strength + 0.0: motions for strength, motions in self.by_strength.items()})

    def reach(self, target: Target) -> float:
        """The largest measured strength up to which, on either side of 0, more strength moved the camera farther."""
        sizes = sorted({abs(strength) for strength in self.by_strength} - {0.0})
        reached = 0.0
        for size in sizes:
            between = [self.amount(s, target) for s in sorted(self.by_strength) if abs(s) <= size]
            if any(a >= b for a, b in pairwise(between)):
                break
            reached = size
        return reached

    def calibration(self, target: Target, fps: float) -> Calibration | None:
        """Strength to mean shift along the axis; None for static.

        The shift is paired with strength 0, so that a drift the model has of itself does not count as the LoRA's.
        """
        if target.axis is None:
            return None
        return Calibration(points=tuple((s, self.amount(s, target)) for s in sorted(self.by_strength)), fps=fps)

    def _along(self, motions: Tensor, target: Target) -> Tensor:
        assert target.axis is not None
        return motions[:, AXES.index(target.axis)] * target.sign


def read(
    model: Model,
    placed_at: Callable[[float], Sequence[Placeable]],
    strengths: Sequence[float],
    bench: Bench,
    *,
    judge: Judge = by_meter,
    look: Look | None = None,
) -> Readings:
    """Run the bench at strength 0 and at every given strength, judged clip by clip."""
    levels = list(dict.fromkeys((0.0, *strengths)))
    total, done = len(levels) * len(bench.pictures), 0
    found: dict[float, Tensor] = {}
    for strength in levels:
        rows: list[Sequence[float]] = []
        for clip in clips_with(model, placed_at(strength) if strength else (), bench):
            rows.append(judge(clip))
            done += 1
            if look is not None:
                look(done, total)
        found[strength] = torch.tensor(rows)
    return Readings(found)


def _share(hits: Tensor) -> float:
    return float(hits.float().mean())
