"""What a refiner gains over the engine alone on pairs it never saw, in decibels, kind by kind, and whether that is
enough to ship."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..interpolation.refiner import Refiner, refined
from ..interpolation.synthesis import draw_with_evidence, find_motion
from . import refiner_classes
from .refiner_classes import CLASSES, draw_class_pair
from .refiner_pool import SIZE
from .refiner_scenes import Pair, draw_pair
from .refiner_worlds import draw_world_pair
from .worlds import HELD_OUT

SCENES, WORLDS = "scenes", "worlds"
MOST_LOSS = 0.3
"""Decibels that no class may lose by more."""
# Far from the seeds of training, whatever those are.
_UNSEEN = 900_001
_LEAST_ERROR = 1e-9


@dataclass(slots=True)
class Score:
    """Decibels of every frame, by the engine alone and with the refiner."""

    engine: list[float] = field(default_factory=lambda: list[float]())
    refined: list[float] = field(default_factory=lambda: list[float]())

    def mean(self) -> tuple[float, float]:
        """Means of both."""
        return sum(self.engine) / len(self.engine), sum(self.refined) / len(self.refined)

    @property
    def gain(self) -> float:
        """What the refiner gains in the mean; below 0 it loses."""
        engine, better = self.mean()
        return better - engine

    def rounded(self) -> dict[str, float]:
        """Means as JSON holds them."""
        engine, better = self.mean()
        return {"engine": round(engine, 2), "refined": round(better, 2), "frames": len(self.engine)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a refiner may ship: better in the mean of the exact classes, and neither of these nor the embedded
    model's worlds worse by more than `MOST_LOSS`. `gains` are decibels by class."""

    gains: dict[str, float]

    @classmethod
    def of(cls, scores: Mapping[str, Score]) -> Verdict:
        """The verdict on scores of all `CLASSES` and of the worlds."""
        return cls({kind: scores[kind].gain for kind in (*CLASSES, WORLDS)})

    @property
    def mean(self) -> float:
        """Mean gain of the exact classes."""
        return sum(self.gains[kind] for kind in CLASSES) / len(CLASSES)

    @property
    def harmed(self) -> list[str]:
        """Classes that lose too much."""
        return [kind for kind, gain in self.gains.items() if not gain >= -MOST_LOSS]

    @property
    def ships(self) -> bool:
        """Whether the rule is kept."""
        return self.mean > 0 and not self.harmed

    def sentence(self) -> str:
        """The verdict in words."""
        told = f"{self.mean:+.2f} dB in the mean of the exact classes"
        if self.harmed:
            told += "; too much is lost on " + ", ".join(f"{kind} ({self.gains[kind]:+.2f})" for kind in self.harmed)
        return f"{'May ship' if self.ships else 'Must not ship'}: {told}."

    def to_json(self) -> dict[str, object]:
        """The same as plain data."""
        gains = {kind: round(gain, 3) for kind, gain in self.gains.items()}
        return {"ships": self.ships, "mean": round(self.mean, 3), "gains": gains, "most_loss": MOST_LOSS}


def score_refiner(
    network: Refiner, seed: int, pairs: int, judged: int, on_pair: Callable[[], None] | None = None
) -> dict[str, Score]:
    """Scores on `pairs` unseen pairs of the training's own two kinds, and `judged` of every exact class.

    `on_pair` is called after each; an exception of it ends the work.
    """
    scores: dict[str, Score] = {}
    for kind, pair in _pairs(_UNSEEN + seed, pairs, judged):
        score = scores.setdefault(kind, Score())
        for before, after in _measured(network, pair):
            score.engine.append(before)
            score.refined.append(after)
        if on_pair is not None:
            on_pair()
    return scores


def _pairs(seed: int, pairs: int, judged: int) -> Iterator[tuple[str, Pair]]:
    for index in range(pairs):
        yield SCENES, draw_pair(seed, index, *SIZE)
        yield WORLDS, draw_world_pair(seed, index, HELD_OUT)
    for kind in CLASSES:
        for index in range(judged):
            yield kind, draw_class_pair(kind, seed, index, *refiner_classes.SIZE)


def _measured(network: Refiner, pair: Pair) -> Iterator[tuple[float, float]]:
    first, second = pair.first[None], pair.second[None]
    motion = find_motion(first, second)
    for time, truth in zip(pair.times, pair.truth, strict=True):
        drawn = draw_with_evidence(first, second, motion, time)
        yield _decibels(drawn.picture[0], truth), _decibels(refined(network, drawn, time)[0], truth)


def _decibels(picture: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(max(float(torch.mean((picture - truth).square())), _LEAST_ERROR))
