"""The sums behind every score: decibels of pooled errors, ranks, slopes, and how far a figure of N clips may be off."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_LEAST = 1e-12
_RESAMPLES = 200


def decibels(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise of images in [-1, 1]; errors are averaged before the logarithm."""
    return decibels_of([squared_error(a, b)])


def decibels_of(errors: Sequence[float]) -> float:
    """The same of mean squared errors, one a clip, for a peak of 1; averaged before the logarithm."""
    return -10 * math.log10(max(_LEAST, sum(errors) / len(errors)))


def squared_error(a: Tensor, b: Tensor) -> float:
    """Mean squared error of images in [-1, 1], for a peak of 1."""
    return float(((a.float() - b.float()) / 2).square().mean())


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two vectors; equal values share their mean rank, and a vector of equal values gives 0."""
    first, second = (_ranks(values) for values in (a, b))
    first, second = first - first.mean(), second - second.mean()
    length = float(first.norm() * second.norm())
    return float((first * second).sum()) / length if length > 0 else 0.0


def slope(asked: Sequence[float], found: Sequence[float]) -> float:
    """Least squares slope of `found` over `asked` through their first pair: what moves of itself is no answer."""
    steps = [(x - asked[0], y - found[0]) for x, y in zip(asked, found, strict=True)]
    return sum(x * y for x, y in steps) / max(_LEAST, sum(x * x for x, _ in steps))


def standard_error(values: Sequence[T], figure: Callable[[Sequence[T]], float]) -> float:
    """Standard error of a figure of clips: its deviation over resamples with replacement (Efron 1979), seeded."""
    generator = torch.Generator().manual_seed(len(values))
    drawn = torch.randint(len(values), (_RESAMPLES, len(values)), generator=generator)
    figures = [figure([values[index] for index in row]) for row in drawn.tolist()]
    return float(torch.tensor(figures, dtype=torch.float64).std())


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0, ties averaged."""
    later = (values[:, None] > values[None]).double().sum(dim=1)
    return later + ((values[:, None] == values[None]).double().sum(dim=1) - 1) / 2
