"""When each frame of the result is shown, in exact fractions of the source's frame times.

Source frame i stands at time i. No rounding happens here: 24 -> 60 frames a second lands on 0, 2/5, 4/5, 6/5, ...
Which pixels a time means is `retime`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count as counting

from ..errors import InputError, choose_from, explain

LOOPS = ("off", "close", "ping-pong")
EASES = ("linear", "in", "out", "in-out")
PAIR_MODES = ("only", "skip")
_LARGEST_FACTOR = 1000
_MOST_TIMES = 1000
_MOST_PAIRS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a clip is retimed.

    factor: output frames a source frame, any ratio above 0; below 1 frames are dropped.
    loop: "close" leads the last frame back to the first, "ping-pong" plays there and back (frames 0 .. N-1 .. 1) and
    closes too.
    keep_duration: the last frame is held for its own duration, so that N frames become N * factor, rounded up.
    times: instead of even steps, the times in (0, 1) to show between every two frames, besides the source frames.
    ease: speed over the whole clip: "in" starts slowly, "out" ends slowly, "in-out" both.
    dedupe: frames that repeat the one shown (animation on twos and threes) count as one, at the time of the first.
    pairs, pairs_mode: left frames of the pairs that alone are interpolated ("only") or are not ("skip").
    """

    factor: Fraction = Fraction(2)
    loop: str = "off"
    keep_duration: bool = False
    times: tuple[Fraction, ...] = ()
    ease: str = "linear"
    dedupe: bool = False
    pairs: frozenset[int] = frozenset()
    pairs_mode: str = "skip"

    def __post_init__(self) -> None:
        if not 0 < self.factor <= _LARGEST_FACTOR:
            expected = f"a factor above 0 and at most {_LARGEST_FACTOR}"
            raise InputError(explain(expected, str(float(self.factor)), "Give for example 2, 2.5 or 60/24."))
        for name, value, valid in (
            ("loop", self.loop, LOOPS),
            ("ease", self.ease, EASES),
            ("pairs mode", self.pairs_mode, PAIR_MODES),
        ):
            if value not in valid:
                raise InputError(choose_from(name, value, valid))
        if any(not 0 < time < 1 for time in self.times) or list(self.times) != sorted(set(self.times)):
            found = ", ".join(f"{float(time):g}" for time in self.times)
            raise InputError(explain("rising times between 0 and 1", found, "Write for example 0.25,0.5,0.75."))

    @property
    def rate(self) -> Fraction:
        """Output frames a source frame."""
        return Fraction(len(self.times) + 1) if self.times else self.factor

    @property
    def keeps_time(self) -> bool:
        """Whether sound recorded with the source still fits."""
        return self.loop == "off" and self.ease == "linear"

    def length(self, frames: int) -> int:
        """Source frames on the way: there and back counts double, without the ends."""
        return max(1, 2 * frames - 2) if self.loop == "ping-pong" else frames

    def count(self, frames: int) -> int:
        """Frames of the result for `frames` source frames (0 and 1 are passed through)."""
        if frames < 2:
            return frames
        whole = self.loop != "off" or self.keep_duration
        if whole:
            return math.ceil(self.length(frames) * self.rate)
        return math.floor((frames - 1) * self.rate) + 1

    def shown(self, frames: int) -> Iterator[Fraction]:
        """The time of every frame of the result, `count(frames)` of them, never falling."""
        if frames < 2:
            yield from (Fraction(index) for index in range(frames))
            return
        for index, time in zip(range(self.count(frames)), self._steps(), strict=False):
            yield self._eased(index, time, frames)

    def interpolates(self, left: int) -> bool:
        """Whether the pair of source frames that begins with `left` may be interpolated."""
        return (left in self.pairs) == (self.pairs_mode == "only") if self.pairs else True

    def _steps(self) -> Iterator[Fraction]:
        if not self.times:
            yield from (Fraction(index) / self.factor for index in counting())
        for frame in counting():
            yield Fraction(frame)
            yield from (frame + time for time in self.times)

    def _eased(self, index: int, time: Fraction, frames: int) -> Fraction:
        if self.ease == "linear":
            return time
        # A loop ends where it begins, so its last frame stands one step before the end.
        span = Fraction(self.length(frames)) if self.loop != "off" or self.keep_duration else Fraction(frames - 1)
        part = min(time / span, Fraction(1))
        curve = {"in": part**2, "out": 1 - (1 - part) ** 2, "in-out": part**2 * (3 - 2 * part)}[self.ease]
        return curve * span


def to_rate(source: Fraction, target: Fraction) -> Fraction:
    """The factor that turns `source` into `target` frames a second.

    Raises:
        InputError: a rate of 0 or below.
    """
    for name, rate in (("source", source), ("target", target)):
        if rate <= 0:
            raise InputError(explain(f"a {name} rate above 0", f"{float(rate):g} fps", "Give a positive rate."))
    return target / source


def parse_times(text: str) -> tuple[Fraction, ...]:
    """`0.25, 1/2, 0.75` -> fractions; empty text -> none.

    Raises:
        InputError: something else.
    """
    try:
        words = [word.strip() for word in text.split(",") if word.strip()]
        if len(words) > _MOST_TIMES or any(len(word) > 20 or "e" in word.lower() for word in words):
            raise ValueError
        return tuple(Fraction(word) for word in words)
    except (ValueError, ZeroDivisionError):
        raise InputError(
            explain("times as numbers between 0 and 1", repr(text[:60]), "Write for example 0.25,0.5,0.75.")
        ) from None


def parse_pairs(text: str) -> frozenset[int]:
    """`0-10, 15` -> the numbers 0 to 10 and 15.

    Raises:
        InputError: something else.
    """
    found: set[int] = set()
    for word in (part.strip() for part in text.split(",") if part.strip()):
        first, dash, last = word.partition("-")
        if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()) or len(word) > 20:
            raise InputError(explain("frame numbers and ranges", repr(word), "Write for example 0-10, 15."))
        start, end = int(first), int(last or first)
        if end < start:
            raise InputError(explain("a range from small to large", repr(word), "Write for example 0-10."))
        if len(found) + end - start >= _MOST_PAIRS:
            remedy = "List the few, and say with the pairs mode whether they alone or all others are interpolated."
            raise InputError(explain(f"at most {_MOST_PAIRS} frames", repr(word), remedy))
        found.update(range(start, end + 1))
    return frozenset(found)
