"""What the refiner learns from: pairs drawn on the way, carried through the flow engine once and cropped often."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ..interpolation.refiner import planes_of
from ..interpolation.synthesis import draw_with_evidence, find_motion
from .refiner_scenes import Pair, draw_pair
from .refiner_worlds import draw_world_pair

SIZE = (112, 160)
CROP = 64
_PAIRS = 96
_STEPS_A_PAIR = 6
# One pair in so many is of the embedded model's worlds.
_WORLD_EVERY = 5


@dataclass(frozen=True, slots=True)
class Crops:
    """planes `N 16 h w`, what the engine's picture lacks `N 3 h w`, and the mean square of that over the whole frame
    each crop is of, `N`; `pairs` names where they came from."""

    planes: Tensor
    missing: Tensor
    frame_error: Tensor
    pairs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Example:
    index: int
    # Half precision: what is small, and must be exact, is the difference.
    planes: Tensor
    missing: Tensor
    error: Tensor


def training_pair(seed: int, index: int) -> Pair:
    """The pair of a training run of a seed with the given index: every fifth is of the embedded model's worlds."""
    world = index % _WORLD_EVERY == _WORLD_EVERY - 1
    return draw_world_pair(seed, index) if world else draw_pair(seed, index, *SIZE)


class RefinerPool:
    """The last few pairs of an endless row; which they are follows from the step alone, so a run can be resumed."""

    def __init__(self, seed: int, step: int = 0) -> None:
        self._seed = seed
        first = step // _STEPS_A_PAIR
        self._examples = {index % _PAIRS: self._example(index) for index in range(first, first + _PAIRS)}

    def advance(self, step: int) -> None:
        """Draw what a step is to find, after the step before it."""
        if step % _STEPS_A_PAIR == 0 and step:
            newest = step // _STEPS_A_PAIR + _PAIRS - 1
            self._examples[newest % _PAIRS] = self._example(newest)

    def crops(self, generator: Generator, count: int) -> Crops:
        """Random crops of random pairs at random times."""
        planes: list[Tensor] = []
        missing: list[Tensor] = []
        errors: list[Tensor] = []
        pairs: set[int] = set()
        for slot in torch.randint(_PAIRS, (count,), generator=generator).tolist():
            example = self._examples[slot]
            draws = torch.randint(2**31, (3,), generator=generator).tolist()
            time = draws[0] % len(example.planes)
            height, width = example.planes.shape[-2:]
            top, left = draws[1] % (height - CROP + 1), draws[2] % (width - CROP + 1)
            window = (time, slice(None), slice(top, top + CROP), slice(left, left + CROP))
            planes.append(example.planes[window].float())
            missing.append(example.missing[window].float())
            errors.append(example.error[time])
            pairs.add(example.index)
        return Crops(torch.stack(planes), torch.stack(missing), torch.stack(errors), tuple(sorted(pairs)))

    def _example(self, index: int) -> _Example:
        pair = training_pair(self._seed, index)
        first, second = pair.first[None], pair.second[None]
        motion = find_motion(first, second)
        planes: list[Tensor] = []
        missing: list[Tensor] = []
        for time, truth in zip(pair.times, pair.truth, strict=True):
            drawn = draw_with_evidence(first, second, motion, time)
            planes.append(planes_of(drawn, time)[0])
            missing.append(truth - drawn.picture[0])
        lacking = torch.stack(missing)
        return _Example(index, torch.stack(planes).half(), lacking.half(), lacking.square().mean(dim=(1, 2, 3)))
