"""Which cells a plan has and in which order they are made.

A cell is a row of value indices, one an axis. Nothing here looks at the values.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from itertools import product

Indices = tuple[int, ...]

# A longer range has no length that Python can tell.
_MOST_SAMPLED = 2**31 - 1


def every(sizes: Sequence[int]) -> Iterator[Indices]:
    """The full grid, the last axis fastest."""
    return product(*(range(size) for size in sizes))


def together(sizes: Sequence[int]) -> Iterator[Indices]:
    """The axes side by side; one value on an axis stands for all cells."""
    length = max(sizes, default=1)
    return (tuple(index if size > 1 else 0 for size in sizes) for index in range(length))


def some(sizes: Sequence[int], count: int, seed: int) -> Iterator[Indices]:
    """`count` different cells of the grid, drawn evenly (the whole grid shuffled if it has no more)."""
    total = math.prod(sizes)
    source = random.Random(seed)
    if total <= _MOST_SAMPLED:
        drawn = source.sample(range(total), min(count, total))
    else:
        drawn = list(_distinct(source, total, count))
    return (_unranked(number, sizes) for number in drawn)


def coarse(cells: Sequence[Indices], sizes: Sequence[int]) -> list[Indices]:
    """Corners of the space first, then ever finer: whoever stops early has seen all of it roughly."""
    levels = [_levels(size) for size in sizes]

    def key(cell: Indices) -> tuple[int, int, Indices]:
        depth = [level[index] for level, index in zip(levels, cell, strict=True)]
        return (max(depth, default=0), sum(depth), cell)

    return sorted(cells, key=key)


def grouped(cells: Sequence[Indices], sizes: Sequence[int], leaders: Sequence[int]) -> list[Indices]:
    """Cells that share the values of the `leaders` axes together, coarse within a group.

    What depends on those axes alone (an encoded picture, a camera) is then computed once a group.
    """
    groups: dict[Indices, list[Indices]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell[axis] for axis in leaders), []).append(cell)
    return [cell for group in groups.values() for cell in coarse(group, sizes)]


def first(cells: Sequence[Indices], limit: int | None) -> list[Indices]:
    """At most `limit` cells."""
    return list(cells[:limit])


def _distinct(source: random.Random, total: int, count: int) -> dict[int, None]:
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn[source.randrange(total)] = None
    return drawn


def _unranked(number: int, sizes: Sequence[int]) -> Indices:
    digits: list[int] = []
    for size in reversed(sizes):
        number, digit = divmod(number, size)
        digits.append(digit)
    return tuple(reversed(digits))


def _levels(size: int) -> list[int]:
    """How fine a grid must be to hold each of `size` points: 0 for both ends, 1 for the middle, 2 for quarters ..."""
    levels = [0] * size
    spans, depth = [(0, size - 1)], 1
    while spans:
        halves: list[tuple[int, int]] = []
        for low, high in spans:
            if high - low > 1:
                middle = (low + high) // 2
                levels[middle] = depth
                halves += [(low, middle), (middle, high)]
        spans, depth = halves, depth + 1
    return levels
