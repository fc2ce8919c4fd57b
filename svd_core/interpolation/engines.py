"""What makes the frames between two: the one interface of all engines, and those that need no weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..errors import InputError, explain
from .alpha import colours_in, laid, mixed, unweighed, weighed
from .refiner import Refiner, refined, shipped
from .resample import where_flow_runs
from .synthesis import PairMotion, draw, draw_with_evidence, find_motion

_COLOURS = 3


@dataclass(frozen=True, slots=True)
class Gap:
    """Two frames `H W C` in [0, 1] (C 1 to 4: an even C ends with alpha) of one size, and the rising times in (0, 1)
    wanted between them."""

    first: Tensor
    second: Tensor
    times: tuple[float, ...]


class Engine(Protocol):
    """Makes new frames. What is common to all times of a gap is worked out once."""

    @property
    def name(self) -> str:
        """What reports and files call it."""
        ...

    @property
    def gaps_at_once(self) -> int:
        """How many gaps it likes to be given together; 1 unless it computes them as one batch."""
        ...

    def between(self, gaps: Sequence[Gap]) -> Iterator[Tensor]:
        """The frames `H W C` float32 in [0, 1] of all gaps in order, made as they are taken, on any device.

        Consecutive calls walk along one clip: what was computed of a gap's second frame may serve the next gap's first.
        """
        ...


class Blend:
    """A cross-fade, in which colours count by what is seen of them."""

    name, gaps_at_once = "blend", 1

    def between(self, gaps: Sequence[Gap]) -> Iterator[Tensor]:
        """See `Engine.between`."""
        for gap in gaps:
            for time in gap.times:
                yield mixed(gap.first, gap.second, time)


class Flow:
    """Motion found once a gap and drawn at every time; with a `refiner`, bettered where the two frames disagree.

    `scale` is the size at which motion is looked for, as a factor in (0, 1]: at 960x540, 0.5 takes a quarter to two
    thirds of the time. Transparent pictures are carried with their colours weighed by alpha, so that what cannot be
    seen colours nothing.
    """

    gaps_at_once = 1

    def __init__(self, refiner: Refiner | None = None, scale: float = 1.0) -> None:
        if not 0 < scale <= 1:
            expected = "a flow scale above 0 and at most 1"
            raise InputError(explain(expected, f"{scale:g}", "Give for example 0.5, or 1 for full size."))
        self._refiner, self._scale = refiner, scale

    @property
    def name(self) -> str:
        """See `Engine.name`."""
        return "flow" if self._refiner is None else "flow+refiner"

    def between(self, gaps: Sequence[Gap]) -> Iterator[Tensor]:
        """See `Engine.between`."""
        for gap in gaps:
            frames = (where_flow_runs(frame) for frame in (gap.first, gap.second))
            first, second = (frame.permute(2, 0, 1)[None].float() for frame in frames)
            motion = find_motion(_seen(first), _seen(second), self._scale)
            first, second = weighed(first), weighed(second)
            for time in gap.times:
                made = self._drawn(first, second, motion, time)
                yield unweighed(made)[0].permute(1, 2, 0)

    def _drawn(self, first: Tensor, second: Tensor, motion: PairMotion, time: float) -> Tensor:
        if self._refiner is None or first.shape[1] < _COLOURS:
            return draw(first, second, motion, time)
        return refined(self._refiner.to(first.device), draw_with_evidence(first, second, motion, time), time)


def _seen(picture: Tensor) -> Tensor:
    """What motion is looked for in, `1 3 H W`: transparent pictures over grey."""
    colours = laid(picture)[:, : colours_in(picture.shape[1])]
    return colours.expand(-1, _COLOURS, -1, -1)


class Halving:
    """A network that knows a few times only, asked again between its own frames until the wanted time is near.

    Args:
        name: see `Engine`.
        make: the frames `H W C` at `steps` between two frames `H W C`.
        steps: rising times in (0, 1) the network knows: (1/2,), or (1/4, 1/2, 3/4).
        depth: how often it is asked; a time is met within half of the last step (exactly where it is a step).
        notices: where `make` says what went wrong and was mended.
    """

    gaps_at_once = 1

    def __init__(
        self,
        name: str,
        make: Callable[[Tensor, Tensor], Sequence[Tensor]],
        steps: Sequence[float] = (0.5,),
        depth: int = 4,
        notices: list[str] | None = None,
    ) -> None:
        self.name, self._make, self._steps, self._depth = name, make, tuple(steps), depth
        self.notices = [] if notices is None else notices

    def between(self, gaps: Sequence[Gap]) -> Iterator[Tensor]:
        """See `Engine.between`."""
        for gap in gaps:
            made: dict[tuple[int, ...], Sequence[Tensor]] = {}
            for time in gap.times:
                yield self._at(gap.first, gap.second, time, made, ())

    def _at(
        self,
        left: Tensor,
        right: Tensor,
        time: float,
        made: dict[tuple[int, ...], Sequence[Tensor]],
        path: tuple[int, ...],
    ) -> Tensor:
        """The frame nearest to `time` within the part of the gap that `path` leads to, each part asked for once."""
        if path not in made:
            made[path] = self._make(left, right)
        frames, knots = [left, *made[path], right], [0.0, *self._steps, 1.0]
        nearest = min(range(len(knots)), key=lambda index: abs(knots[index] - time))
        if len(path) + 1 >= self._depth or abs(knots[nearest] - time) < _SAME:
            return frames[nearest]
        part = max(index for index in range(len(knots) - 1) if knots[index] <= time)
        inner = (time - knots[part]) / (knots[part + 1] - knots[part])
        return self._at(frames[part], frames[part + 1], inner, made, (*path, part))


# Times this near to a step are the step.
_SAME = 1e-6


def flow_engine(scale: float = 1.0) -> Flow:
    """The flow engine, with the refiner of the package where it comes with one."""
    return Flow(shipped(), scale)


WITHOUT_WEIGHTS: dict[str, Callable[[], Engine]] = {"flow": flow_engine, "blend": Blend}
"""Makers of the engines that names alone stand for."""
