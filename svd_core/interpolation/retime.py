"""A clip at other times: source frames where a time is theirs, bit for bit, and new ones between.

Frames come and go one by one, so a clip of any length takes the memory of a few frames; motion is found once a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError, choose_from, explain
from ..types import Frames
from .cuts import is_cut, is_repeat
from .engines import WITHOUT_WEIGHTS, Blend, Engine, Gap
from .plan import Plan

ENGINES = ("flow", "blend", "nearest")
CUT_GUARDS = ("hold", "nearest", "blend", "off")
# Times this close to a source frame are the source frame.
_SAME_TIME = Fraction(1, 1_000_000)
# Animation is drawn on twos, threes, at most fours; what stands longer is meant to stand.
_LONGEST_HOLD = 4


@dataclass(slots=True)
class Report:
    """What happened: filled while the frames go by. `cuts` are the first frames of new shots, `repeats` the frames
    left out as repeated, `dropped` the source frames no output shows and no motion uses."""

    source_frames: int = 0
    frames: int = 0
    synthesised: int = 0
    held: int = 0
    dropped: int = 0
    repeats: int = 0
    cuts: list[int] = field(default_factory=lambda: list[int]())

    def lines(self) -> list[str]:
        """Sentences for people."""
        told = [f"{self.source_frames} source frames, {self.frames} frames out, {self.synthesised} of them new."]
        if self.dropped:
            fewer = self.frames < self.source_frames
            why = "The target rate is below the source's" if fewer else "The way there is too fast to show all"
            told.append(f"{why}: {self.dropped} source frames are left out.")
        if self.cuts:
            shown = ", ".join(str(cut) for cut in self.cuts[:20]) + (" ..." if len(self.cuts) > 20 else "")
            told.append(f"Cuts are not interpolated; new shots begin at source frames {shown}.")
        if self.repeats:
            told.append(f"{self.repeats} repeated frames taken as one with the frame before.")
        if self.held:
            told.append(f"{self.held} frames held.")
        return told


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame of the result, `H W C` float32; `synthesised` if no source frame looks like that."""

    pixels: Tensor
    synthesised: bool


@dataclass(frozen=True, slots=True)
class _Key:
    pixels: Tensor
    time: int


@dataclass(slots=True)
class _Stretch:
    """What is shown from one source frame to the next: source frames, and None where `engine` makes the gap's next
    frame."""

    slots: list[tuple[_Key | None, bool]] = field(default_factory=lambda: list[tuple[_Key | None, bool]]())
    engine: Engine | None = None
    gap: Gap | None = None
    home: torch.device | None = None


def interpolate(
    frames: Frames,
    plan: Plan,
    *,
    engine: str | Engine = "flow",
    cut_guard: str = "hold",
    device: torch.device | str | None = None,
    on_frame: Callable[[int, int], None] | None = None,
) -> Frames:
    """A finished clip at other times, with its new playback rate.

    Args:
        frames: pixels `T H W 3` float32 in [0, 1]; 0 or 1 frame is passed through.
        plan: the times; see `Plan`.
        engine: "flow" (motion without weights), "blend" (cross-fade), "nearest" (no new frames), or any `Engine`, such
            as `load_interpolator` gives.
        cut_guard: what stands between two shots: "hold" the last frame, the "nearest", a "blend"; "off" looks for none.
        device: where to compute; None is where the pixels are.
        on_frame: told (done, total) after every frame; an exception of it ends the work.

    Raises:
        InputError: values that are not finite, an unknown engine or guard.
    """
    total = plan.count(len(frames))
    pixels = frames.pixels.new_empty(total, *frames.pixels.shape[1:])
    shown = retime(frames.pixels, len(frames), plan, engine=engine, cut_guard=cut_guard, device=device)
    for index, frame in enumerate(shown):
        pixels[index] = frame.pixels
        if on_frame is not None:
            on_frame(index + 1, total)
    return Frames(pixels, frames.fps * plan.rate)


def retime(
    frames: Iterable[Tensor],
    count: int,
    plan: Plan,
    *,
    engine: str | Engine = "flow",
    cut_guard: str = "hold",
    device: torch.device | str | None = None,
    report: Report | None = None,
) -> Iterator[Shown]:
    """The frames of the result in order, from `count` frames `H W C` in [0, 1] (C 1 to 4: alpha goes along).

    Reads `frames` once, but for a ping-pong, which must be a sequence. Errors as in `interpolate`, and frames of
    different sizes or fewer than `count`.
    """
    for name, value, valid in (("engine", engine, ENGINES), ("cut guard", cut_guard, CUT_GUARDS)):
        if isinstance(value, str) and value not in valid:
            raise InputError(choose_from(name, value, valid))
    make = WITHOUT_WEIGHTS.get(engine) if isinstance(engine, str) else None
    chosen = engine if not isinstance(engine, str) else make() if make is not None else None
    told = report if report is not None else Report()
    course = _Course(plan, chosen, cut_guard, torch.device(device) if device is not None else None, told)
    return course.run(_there_and_back(frames, count) if plan.loop == "ping-pong" and count > 1 else frames, count)


@dataclass(slots=True)
class _Course:
    """One walk over the source frames; without an engine the nearest of them are shown."""

    plan: Plan
    engine: Engine | None
    cut_guard: str
    device: torch.device | None
    report: Report
    # Source frames that were shown or gave motion, and those that repeat another: a ping-pong meets most of them twice.
    used: set[int] = field(default_factory=lambda: set[int]())
    repeated: set[int] = field(default_factory=lambda: set[int]())

    def run(self, frames: Iterable[Tensor], count: int) -> Iterator[Shown]:
        """All frames of the result."""
        times = _Times(self.plan.shown(count))
        report = self.report
        report.source_frames = count
        length = self.plan.length(count) if count > 1 else count
        waiting: list[_Stretch] = []
        at_once = self.engine.gaps_at_once if self.engine is not None else 1
        last: _Key | None = None
        for key in self._closed(self._keys(_checked(frames), length), length):
            if last is not None:
                waiting.append(self._between(last, key, times))
            if sum(stretch.gap is not None for stretch in waiting) >= at_once or len(waiting) > at_once:
                yield from self._emit(waiting)
                waiting = []
            last = key
        yield from self._emit(waiting)
        if last is not None:
            for time in times.before(None):
                self.used.add(self._origin(last.time))
                yield self._source(last, held=time != last.time)
        report.repeats = len(self.repeated)
        report.dropped = count - len(self.used | self.repeated)

    def _closed(self, keys: Iterator[_Key], length: int) -> Iterator[_Key]:
        """The frames, and of a loop the first once more."""
        first: _Key | None = None
        for key in keys:
            first = first or key
            yield key
        if first is not None and self.plan.loop != "off" and length > 1:
            yield _Key(first.pixels, length)

    def _keys(self, frames: Iterable[Tensor], length: int) -> Iterator[_Key]:
        """Frames with their times; repeats are skipped, or count as themselves where they stand long."""
        held: _Key | None = None
        seen = 0
        for index, pixels in enumerate(frames):
            seen = index + 1
            # Against the frame that is shown, not the one before: a slow fade is no repetition.
            if self.plan.dedupe and held is not None and is_repeat(held.pixels, pixels):
                self.repeated.add(self._origin(index))
                continue
            if held is not None and index - held.time > _LONGEST_HOLD:
                yield _Key(held.pixels, index - 1)
            held = _Key(pixels, index)
            yield held
        if seen != length:
            raise InputError(explain(f"{length} frames", str(seen), "The clip is shorter or longer than it says."))

    def _between(self, left: _Key, right: _Key, times: _Times) -> _Stretch:
        """What is shown at times from `left` up to, not including, `right`."""
        stretch, parts = _Stretch(), list[float]()
        span, choice = right.time - left.time, None
        for time in times.before(Fraction(right.time)):
            part = (time - left.time) / span
            if part * span < _SAME_TIME:
                stretch.slots.append((left, False))
            elif (1 - part) * span < _SAME_TIME:
                stretch.slots.append((right, False))
            else:
                choice = choice or self._choice(left, right)
                if isinstance(choice, str):
                    stretch.slots.append((left if choice == "hold" or part < Fraction(1, 2) else right, True))
                else:
                    stretch.slots.append((None, False))
                    parts.append(float(part))
        if parts and choice is not None and not isinstance(choice, str):
            stretch.engine, stretch.home = choice, left.pixels.device
            stretch.gap = Gap(self._moved(left), self._moved(right), tuple(parts))
        seen = [key for key, _ in stretch.slots if key is not None] if stretch.gap is None else [left, right]
        self.used.update(self._origin(key.time) for key in seen)
        return stretch

    def _emit(self, stretches: list[_Stretch]) -> Iterator[Shown]:
        """The frames of stretches that follow one another; each engine gets all its gaps together."""
        gaps: dict[str, list[Gap]] = {}
        engines: dict[str, Engine] = {}
        for stretch in stretches:
            if stretch.engine is not None and stretch.gap is not None:
                engines[stretch.engine.name] = stretch.engine
                gaps.setdefault(stretch.engine.name, []).append(stretch.gap)
        made = {name: engine.between(gaps[name]) for name, engine in engines.items()}
        for stretch in stretches:
            for key, held in stretch.slots:
                if key is not None:
                    yield self._source(key, held=held)
                elif stretch.engine is not None and stretch.gap is not None:
                    self.report.frames += 1
                    self.report.synthesised += 1
                    pixels = next(made[stretch.engine.name])
                    yield Shown(pixels.to(stretch.home), synthesised=True)

    def _source(self, key: _Key, *, held: bool) -> Shown:
        self.report.frames += 1
        self.report.held += int(held)
        return Shown(key.pixels, synthesised=False)

    def _origin(self, time: int) -> int:
        """The source frame that stands at a time on the way: past the last one a loop leads back to the first."""
        count = self.report.source_frames
        return time if time < count else (2 * count - 2 - time) % count if self.plan.loop == "ping-pong" else 0

    def _source_pair(self, left: _Key, right: _Key) -> int:
        """The left frame of a pair in the source: on the way back of a ping-pong, pairs are walked from the right."""
        one, two = self._origin(left.time), self._origin(right.time)
        return min(one, two) if self.plan.loop == "ping-pong" else one

    def _choice(self, left: _Key, right: _Key) -> Engine | Literal["hold", "nearest"]:
        """What stands between two frames: new ones, the left one, or the nearer one."""
        one, two = self._moved(left), self._moved(right)
        if not self.plan.interpolates(self._source_pair(left, right)) or torch.equal(one, two):
            return "hold"
        if self.engine is None:
            return "nearest"
        if self.cut_guard == "off" or not is_cut(one, two):
            return self.engine
        self._note_cut(left, right)
        if self.cut_guard == "blend":
            return Blend()
        return "hold" if self.cut_guard == "hold" else "nearest"

    def _note_cut(self, left: _Key, right: _Key) -> None:
        """The first source frame of the new shot; the same cut met on the way back is no other one."""
        one, two = self._origin(left.time), self._origin(right.time)
        begins = max(one, two) if self.plan.loop == "ping-pong" else two
        if begins not in self.report.cuts:
            self.report.cuts.append(begins)

    def _moved(self, key: _Key) -> Tensor:
        return key.pixels if self.device is None else key.pixels.to(self.device)


class _Times:
    """The times still to be shown, looked at before they are taken."""

    def __init__(self, times: Iterator[Fraction]) -> None:
        self._times = times
        self._next = next(times, None)
        self.last: Fraction | None = None

    def before(self, end: Fraction | None) -> Iterator[Fraction]:
        """Take the times below `end`; all that are left with None."""
        while self._next is not None and (end is None or self._next < end):
            self.last, self._next = self._next, next(self._times, None)
            yield self.last


def _checked(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    shape: torch.Size | None = None
    for index, frame in enumerate(frames):
        shape = shape or frame.shape
        if frame.shape != shape:
            found = f"{frame.shape[1]}x{frame.shape[0]} at frame {index}"
            raise InputError(explain(f"every frame {shape[1]}x{shape[0]}", found, "Bring all frames to one size."))
        if not bool(frame.isfinite().all()):
            raise InputError(
                explain("finite pixel values", f"NaN or infinity in frame {index}", "Check the node or file before.")
            )
        yield frame


def _there_and_back(frames: Iterable[Tensor], count: int) -> Iterator[Tensor]:
    if not hasattr(frames, "__getitem__"):
        raise InputError(explain("frames that can be read backwards", "a stream", "Give a tensor or a list."))
    for index in [*range(count), *range(count - 2, 0, -1)]:
        yield frames[index]  # type: ignore[index]
