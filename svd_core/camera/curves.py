"""How a move is spread over the frames: its ease, its range, its part of a joined camera, and the LoRA strength.

One idea carries all of it: a move is a *position* that grows over the clip. Speeds are the position's steps. A camera
LoRA at constant strength s moves evenly, so frame t shows position `s t`; the strength that puts frame t at position
P(t) is therefore `P(t) / t`, the mean speed since the first frame. It starts with the move, approaches the amount, and
fades slowly after the move has ended, so that the frames behind it stay where the move left them instead of jumping
back, which a strength of 0 would do. Frame 0 is the picture itself and has the first step's speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import InputError, choose_from, explain
from ..sampling.points import CurvePoints

EaseName = Literal["linear", "in", "out", "in-out", "hold"]
"""How the way is spread over a move's range: evenly, rising from rest, falling to rest, both, or all of it in the first
half and rest in the second."""
EASES: tuple[EaseName, ...] = get_args(EaseName)
_POINTS = "0:0, 0.5:0.2, 1:1"

Ease = EaseName | CurvePoints
"""A named ease, or points `place:part of the way` over the range; parts beyond 0 and 1 overshoot."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of `count` parts of a clip joined one after another; `index` counts from 0.

    starts: the frames at which parts 1, 2, ... begin, None for parts of equal length. crossfade: frames around each
    border in which one part's speed falls to 0 while the next one's rises.
    """

    index: int
    count: int
    starts: tuple[int, ...] | None = None
    crossfade: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count or self.crossfade < 0:
            found = f"part {self.index} of {self.count}, `crossfade` {self.crossfade}"
            raise InputError(explain("a part of a join and a `crossfade` of 0 or more", found, "Change the join."))
        if self.starts is not None and len(self.starts) != self.count - 1:
            expected = f"{self.count - 1} starts, one for each part but the first"
            raise InputError(explain(expected, f"{len(self.starts)}", "Name as many frames, or none at all."))


def check_ease(ease: Ease) -> Ease:
    """The ease itself.

    Raises:
        InputError: a name that does not exist.
    """
    if isinstance(ease, str) and ease not in EASES:
        raise InputError(choose_from("ease", ease, [*EASES, f"points such as {_POINTS}"]))
    return ease


def parse_ease(text: str) -> Ease:
    """Read the name of an ease, or its points `0:0, 0.5:0.2, 1:1`.

    Raises:
        InputError: neither.
    """
    named = text.strip()
    if ":" not in named:
        return _named(named)
    return CurvePoints.parse(named, "an ease's points as place:part of the way", _POINTS)


def ease_text(ease: Ease) -> str:
    """The inverse of `parse_ease`."""
    if isinstance(ease, str):
        return ease
    return ", ".join(f"{place:g}:{part:g}" for place, part in ease.points)


def progress(ease: Ease, steps: int) -> Tensor:
    """Part of the way done after 0 .. `steps` steps of a range, `steps + 1` float64; named eases go from 0 to 1."""
    if isinstance(ease, CurvePoints):
        return ease.weights(steps + 1).double()
    time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    if ease == "in":
        return time**2
    if ease == "out":
        return 1 - (1 - time) ** 2
    if ease == "in-out":
        return time**2 * (3 - 2 * time)
    if ease == "hold":
        return (2 * time).clamp(max=1)
    return time


def speeds(frames: int, span: tuple[int, int] | None, ease: Ease, parts: tuple[Part, ...] = ()) -> Tensor:
    """Relative speed of each step of a clip, `frames - 1` float64: mean 1 over the range for every named ease.

    Args:
        span: first and last frame of the move, inclusive, counted from the start of its part of the clip; None for
            all of it. -1 as last is the end.
        parts: the joins the move is in, outermost first; each is a clip of its own to what lies inside.

    Raises:
        InputError: a range that does not lie in the clip, or a join with more parts than frames.
    """
    weight = torch.ones(frames - 1, dtype=torch.float64)
    outer = reach = (0, frames - 1)
    for part in parts:
        outer, reach, fade = _narrow(outer, reach, part, frames)
        weight = weight * fade
    first, last = reach if span is None else _inside(span, outer)
    length = last - first
    steps = torch.zeros(frames - 1, dtype=torch.float64)
    steps[first:last] = progress(ease, length).diff() * length
    return steps * weight


def presence(frames: int, span: tuple[int, int] | None, parts: tuple[Part, ...] = ()) -> Tensor:
    """How much of a move that goes nowhere is in each frame, `frames` float64 in [0, 1]: in its range, faded at joins.

    Errors as in `speeds`.
    """
    there = speeds(frames, span, "linear", parts)
    return torch.maximum(torch.cat((there[:1], there)), torch.cat((there, there[-1:])))


def mean_speeds(steps: Tensor) -> Tensor:
    """From speeds of the steps, `T-1`, to the mean speed since the first frame, `T`: a LoRA's strength a frame."""
    position = steps.cumsum(dim=0) / torch.arange(1, len(steps) + 1, dtype=steps.dtype)
    return torch.cat((steps[:1], position))


def _named(name: str) -> EaseName:
    for known in EASES:
        if name == known:
            return known
    raise InputError(choose_from("ease", name, [*EASES, f"points such as {_POINTS}"]))


def _narrow(
    outer: tuple[int, int], reach: tuple[int, int], part: Part, frames: int
) -> tuple[tuple[int, int], tuple[int, int], Tensor]:
    """A part's frames, the same with its cross-fades, and its weight in each step of the clip."""
    borders = _borders(outer, part)
    first, last = borders[part.index], borders[part.index + 1]
    # A border may not reach beyond the middle of either neighbour.
    before = min(part.crossfade, *_lengths(borders, part.index)) if part.index else 0
    after = min(part.crossfade, *_lengths(borders, part.index + 1)) if part.index + 1 < part.count else 0
    middle = torch.arange(frames - 1, dtype=torch.float64) + 0.5
    weight = torch.ones(frames - 1, dtype=torch.float64)
    for border, fade, sign in ((first, before, 1), (last, after, -1)):
        if fade:
            weight = weight * (0.5 + sign * (middle - border) / fade).clamp(0, 1)
    earliest = reach[0] if part.index == 0 else first - (before + 1) // 2
    latest = reach[1] if part.index + 1 == part.count else last + (after + 1) // 2
    return (first, last), (earliest, latest), weight


def _lengths(borders: list[int], border: int) -> tuple[int, int]:
    return borders[border] - borders[border - 1], borders[border + 1] - borders[border]


def _borders(outer: tuple[int, int], part: Part) -> list[int]:
    first, last = outer
    if part.starts is None:
        inner = [first + round((last - first) * index / part.count) for index in range(1, part.count)]
    else:
        inner = [first + start for start in part.starts]
    borders = [first, *inner, last]
    if any(a >= b for a, b in pairwise(borders)):
        listed = ", ".join(str(border - first) for border in inner)
        raise InputError(
            explain(
                f"joined parts that begin one after another within frames 0-{last - first}",
                f"parts beginning at {listed}",
                "Move the starts, join fewer cameras or make the clip longer.",
            )
        )
    return borders


def _inside(span: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int]:
    length = outer[1] - outer[0]
    first, last = span[0], length if span[1] == -1 else span[1]
    if not 0 <= first < last <= length:
        raise InputError(
            explain(
                f"a move's frames inside the clip's 0-{length}, the first before the last",
                f"{span[0]}-{span[1]}",
                "Change the move's range or the clip's length; a joined part counts from its own first frame.",
            )
        )
    return outer[0] + first, outer[0] + last
