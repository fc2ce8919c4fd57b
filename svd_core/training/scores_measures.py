"""What each row of the table means: how its figure is made of the clips' readings, and its floor and goal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from ..camera.lora import CameraLora
from ..config import SamplingDefaults
from ..metrics.verdict import STILL
from .camera_moves import target_of
from .camera_shipped import SUBJECT
from .camera_trials import COLUMNS, Readings
from .scores_arithmetic import decibels_of, slope, spearman
from .scores_rows import Bound, Clip, Figure, Measure
from .scores_sampling import PICTURE, bucket_name, buckets_of, case_name
from .worlds import requested_flow

_FLOW = (Bound(0.5, 1.3), Bound(0.8, 1.2))
_RANK = (Bound(0.97), Bound(0.99))
_ENDS = (Bound(0.85, 1.15), Bound(0.93, 1.07))
_CHANGE = (Bound(high=15, unit=" %"), Bound(high=7, unit=" %"))
_LEAST = 1e-9
_Ends: TypeAlias = Mapping[str, Any]
_OfEnds: TypeAlias = Callable[[Sequence[_Ends]], float]


def clip_measures(sampling: SamplingDefaults) -> list[Measure]:
    """The rows that pictures and samples without any LoRA give."""
    usual = bucket_name(sampling.motion_bucket)
    return [*_fidelity(usual), *_motion(sampling), *_steadiness(usual)]


def camera_measures(lora: CameraLora, sampling: SamplingDefaults) -> list[Measure]:
    """The rows of a LoRA tagged for a preset, against the same pictures and seeds without it."""
    target, usual = target_of(str(lora.preset), sampling.fps), bucket_name(sampling.motion_bucket)
    half, whole = (case_name(lora, strength) for strength in (0.5, 1.0))
    if target.axis is None:
        return _held(target.preset, usual, whole)
    column = COLUMNS.index(target.axis)

    def readings(clips: Sequence[Clip]) -> Readings:
        return _readings(clips, {0.0: usual, 0.5: half, 1.0: whole})

    def monotone(clips: Sequence[Clip]) -> float:
        found = readings(clips).by_strength
        low, middle, high = (found[strength][:, column] * target.sign for strength in (0.0, 0.5, 1.0))
        return 100 * float(((low < middle) & (middle < high)).float().mean())

    def share(what: str, figure: Figure, floor: float, goal: float) -> Measure:
        return Measure(
            name=f"{target.preset}: {what}, %",
            needs=(usual, half, whole),
            figure=figure,
            floor=Bound(floor, unit=" %"),
            goal=Bound(goal, unit=" %"),
            digits=0,
        )

    def amounts(clips: Sequence[Clip]) -> str:
        found = readings(clips)
        return f"{found.amount(1.0, target):.2f} a second, other axes {found.off_axis(1.0, target):.2f} of it"

    right = share("right way at strength 1", lambda clips: 100 * readings(clips).right(1.0, target), 90, 98)
    return [
        replace(right, beside=amounts),
        share("pushed the right way", lambda clips: 100 * readings(clips).paired(1.0, target), 97, 98),
        share("monotone over 0, 0.5, 1", monotone, 85, 95),
    ]


def _held(preset: str, usual: str, whole: str) -> list[Measure]:
    """A camera that is to stand still in front of what moves; the subject may not be held with it."""

    def mean(clips: Sequence[Clip], strength: float, column: str) -> float:
        return _readings(clips, {0.0: usual, 1.0: whole}).mean(strength, column)

    return [
        Measure(
            name=f"{preset}: camera drift, % of width a frame",
            needs=(usual, whole),
            figure=lambda clips: mean(clips, 1.0, "camera"),
            floor=Bound(high=STILL, unit=" %"),
            goal=Bound(high=STILL / 2, unit=" %"),
            digits=3,
            beside=lambda clips: f"{mean(clips, 0.0, 'camera'):.3f} without it",
        ),
        Measure(
            name=f"{preset}: subject's motion over that without it",
            needs=(usual, whole),
            figure=lambda clips: mean(clips, 1.0, "subject") / max(_LEAST, mean(clips, 0.0, "subject")),
            floor=Bound(SUBJECT),
            goal=Bound(SUBJECT),
        ),
    ]


def _fidelity(usual: str) -> list[Measure]:
    def reconstruction(clips: Sequence[Clip]) -> float:
        return decibels_of([clip.lines[PICTURE]["reconstruction"] for clip in clips])

    def first(clips: Sequence[Clip], against: str = "first") -> float:
        return decibels_of([clip.lines[usual][against] for clip in clips])

    return [
        Measure(
            name="reconstruction, dB",
            needs=(PICTURE,),
            figure=reconstruction,
            floor=Bound(27, unit=" dB"),
            goal=Bound(30, unit=" dB"),
        ),
        Measure(
            name="first frame against the input, dB",
            needs=(PICTURE, usual),
            figure=first,
            floor=Bound(25.5, unit=" dB"),
            goal=Bound(28.5, unit=" dB"),
            beside=lambda clips: f"against the input's own reconstruction {first(clips, 'first own'):.2f} dB",
        ),
        Measure(
            name="first frame below reconstruction, dB",
            needs=(PICTURE, usual),
            figure=lambda clips: reconstruction(clips) - first(clips),
            floor=Bound(high=1.2, unit=" dB"),
            goal=Bound(high=0.8, unit=" dB"),
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Obedience:
    """Measured flow over flow asked for, both from the lowest bucket's on: what moves unasked is no obedience.

    reading: "flow", the mean length of single steps, or "coherent", that of a clip's mean motion.
    """

    buckets: tuple[float, ...]
    asked: tuple[float, ...]
    reading: str

    def means(self, clips: Sequence[Clip]) -> list[float]:
        """Mean flow by bucket, px a frame."""
        return [_mean(clip.lines[bucket_name(bucket)][self.reading] for clip in clips) for bucket in self.buckets]

    def slope(self, clips: Sequence[Clip]) -> float:
        return slope(self.asked, self.means(clips))

    def real(self, clips: Sequence[Clip]) -> str:
        """The meter reads real clips low, and sees no subject: what obedience itself would read."""
        label = _mean(clip.lines[PICTURE]["label"] for clip in clips)
        return f"real clips read {_mean(clip.lines[PICTURE][self.reading] for clip in clips) / max(_LEAST, label):.2f}"

    def measures(self, words: str) -> list[Measure]:
        needs = (PICTURE, *(bucket_name(bucket) for bucket in self.buckets))
        floor, goal = _FLOW
        rows = [
            Measure(
                name=f"flow / requested, {words}: slope",
                needs=needs,
                figure=self.slope,
                floor=floor,
                goal=goal,
                beside=self.real,
            )
        ]
        for column, bucket in enumerate(self.buckets[1:], start=1):

            def at(clips: Sequence[Clip], column: int = column) -> float:
                found = self.means(clips)
                return (found[column] - found[0]) / (self.asked[column] - self.asked[0])

            def pixels(clips: Sequence[Clip], column: int = column) -> str:
                found = self.means(clips)
                lowest = f"{found[0]:.3f} at bucket {self.buckets[0]:g}"
                return f"{found[column]:.3f} of {self.asked[column]:.3f} px a frame, {lowest}"

            rows.append(
                Measure(
                    name=f"flow / requested, {words}: {bucket_name(bucket)}",
                    needs=needs,
                    figure=at,
                    floor=floor,
                    goal=goal,
                    beside=pixels,
                )
            )
        return rows


def _motion(sampling: SamplingDefaults) -> list[Measure]:
    buckets = buckets_of(sampling)
    asked = tuple(requested_flow(bucket, sampling.fps, sampling.width) for bucket in buckets)
    steps, coherent = (_Obedience(buckets, asked, reading) for reading in ("flow", "coherent"))
    names = tuple(bucket_name(bucket) for bucket in buckets)
    order = torch.tensor(buckets)
    floor, goal = _RANK

    def own(clips: Sequence[Clip]) -> float:
        return _mean(spearman(order, torch.tensor([clip.lines[name]["flow"] for name in names])) for clip in clips)

    def read(clips: Sequence[Clip]) -> str:
        shares = [f"{_mean(clip.lines[name]['trusted'] for clip in clips):.0%}" for name in names]
        return f"pairs the meter reads: {' / '.join(shares)}"

    return [
        *steps.measures("single steps"),
        *coherent.measures("mean motion"),
        Measure(
            name="bucket and mean flow, rank correlation",
            needs=(PICTURE, *names),
            figure=lambda clips: spearman(order, torch.tensor(steps.means(clips))),
            floor=floor,
            goal=goal,
            digits=3,
            beside=read,
        ),
        Measure(
            name="bucket and flow of one clip, mean rank correlation",
            needs=(PICTURE, *names),
            figure=own,
            floor=floor,
            goal=goal,
            digits=3,
        ),
    ]


def _steadiness(usual: str) -> list[Measure]:
    def steps(clips: Sequence[Clip], name: str = "steps") -> float:
        return decibels_of([clip.lines[usual][name] for clip in clips])

    def told(clips: Sequence[Clip]) -> str:
        flows = [_mean(clip.lines[usual][name] for clip in clips) for name in ("coherent", "real flow")]
        again = steps(clips) - steps(clips, "real steps again")
        real = f"{steps(clips):.2f} dB at {flows[0]:.3f} px, real {steps(clips, 'real steps'):.2f} at {flows[1]:.3f}"
        return f"{real}; {again:+.2f} to real clips behind the autoencoder"

    floor, goal = _ENDS
    rows = [
        Measure(
            name="neighbouring frames, dB above a real clip's of the same flow",
            needs=(usual,),
            figure=lambda clips: steps(clips) - steps(clips, "real steps"),
            floor=Bound(-2, 2, " dB"),
            goal=Bound(-1, 1, " dB"),
            beside=told,
        )
    ]
    for name, figure in (
        ("sharpness (gradient energy)", _energy),
        ("colour, mean of the worst channel", _worst_mean),
        ("colour, deviation of the worst channel", _worst_deviation),
    ):

        def generated(clips: Sequence[Clip], figure: _OfEnds = figure) -> float:
            return figure([clip.lines[usual]["ends"] for clip in clips])

        def real(clips: Sequence[Clip], figure: _OfEnds = figure) -> str:
            return f"real clips of the same flow {figure([clip.lines[usual]['real ends'] for clip in clips]):.2f}"

        rows.append(
            Measure(
                name=f"last frame / first: {name}",
                needs=(usual,),
                figure=generated,
                floor=floor,
                goal=goal,
                beside=real,
            )
        )
    low, high = _CHANGE
    rows.append(
        Measure(
            name="last frame / first: colour, change of a clip's own mean, %",
            needs=(usual,),
            figure=lambda clips: _own_change([clip.lines[usual]["ends"] for clip in clips]),
            floor=low,
            goal=high,
            digits=1,
            beside=lambda clips: (
                f"real clips of the same flow {_own_change([clip.lines[usual]['real ends'] for clip in clips]):.1f}"
            ),
        )
    )
    return rows


def _energy(ends: Sequence[_Ends]) -> float:
    return _mean(one["energy"][1] for one in ends) / max(_LEAST, _mean(one["energy"][0] for one in ends))


def _worst_mean(ends: Sequence[_Ends]) -> float:
    return _worst(ends, "mean")


def _worst_deviation(ends: Sequence[_Ends]) -> float:
    return _worst(ends, "deviation")


def _worst(ends: Sequence[_Ends], name: str) -> float:
    """Last over first of all clips together, of the channel in which that is farthest from 1."""
    channels = range(len(ends[0][name][0]))
    sums = [[sum(one[name][frame][channel] for one in ends) for frame in (0, 1)] for channel in channels]
    return max((last / max(_LEAST, first) for first, last in sums), key=lambda ratio: abs(ratio - 1))


def _own_change(ends: Sequence[_Ends]) -> float:
    """Mean length of a channel's change in % of the picture, either way: drifts that cancel over clips count here."""
    changes = [
        100 * abs(last - first) / max(_LEAST, statistics.fmean(one["mean"][0]))
        for one in ends
        for first, last in zip(*one["mean"], strict=True)
    ]
    return _mean(changes)


def _readings(clips: Sequence[Clip], shots: Mapping[float, str]) -> Readings:
    return Readings(
        {strength: torch.tensor([clip.lines[shot]["columns"] for clip in clips]) for strength, shot in shots.items()}
    )


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)
