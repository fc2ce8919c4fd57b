"""What a refiner gains over the engine alone on pairs it never saw, in decibels, kind by kind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..interpolation.refiner import Refiner, refined
from ..interpolation.synthesis import draw_with_evidence, find_motion
from .refiner_pool import SIZE
from .refiner_scenes import Pair, draw_pair
from .worlds import HELD_OUT, WorldSize, clip_generator, draw_world, render

# Far from the seeds of training, whatever those are.
_UNSEEN = 900_001
_WORLD = WorldSize(frames=5, height=96, width=128)
_LEAST_ERROR = 1e-9


@dataclass(slots=True)
class Score:
    """Decibels of every frame, by the engine alone and with the refiner."""

    engine: list[float] = field(default_factory=lambda: list[float]())
    refined: list[float] = field(default_factory=lambda: list[float]())

    def mean(self) -> tuple[float, float]:
        """Means of both."""
        return sum(self.engine) / len(self.engine), sum(self.refined) / len(self.refined)

    def rounded(self) -> dict[str, float]:
        """Means as JSON holds them."""
        engine, better = self.mean()
        return {"engine": round(engine, 2), "refined": round(better, 2), "frames": len(self.engine)}


def score_refiner(network: Refiner, seed: int, pairs: int) -> dict[str, Score]:
    """Scores on unseen pairs of the training's own kind and on worlds of the embedded model's, another generator."""
    scores = {"scenes": Score(), "worlds": Score()}
    for index in range(pairs):
        for kind, pair in (("scenes", draw_pair(_UNSEEN + seed, index, *SIZE)), ("worlds", _world(seed, index))):
            for before, after in _measured(network, pair):
                scores[kind].engine.append(before)
                scores[kind].refined.append(after)
    return scores


def _world(seed: int, index: int) -> Pair:
    world = draw_world(clip_generator(_UNSEEN + seed, HELD_OUT, index), _WORLD)
    pixels = (render(world, _WORLD)[0] + 1) / 2
    return Pair(pixels[0], pixels[-1], (0.25, 0.5, 0.75), pixels[1:-1])


def _measured(network: Refiner, pair: Pair) -> Iterator[tuple[float, float]]:
    first, second = pair.first[None], pair.second[None]
    motion = find_motion(first, second)
    for time, truth in zip(pair.times, pair.truth, strict=True):
        drawn = draw_with_evidence(first, second, motion, time)
        yield _decibels(drawn.picture[0], truth), _decibels(refined(network, drawn, time)[0], truth)


def _decibels(picture: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(max(float(torch.mean((picture - truth).square())), _LEAST_ERROR))
