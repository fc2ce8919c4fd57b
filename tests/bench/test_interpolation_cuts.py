"""The cut guard on random scenes of three generators, one of which it was set on: 42 pairs within shots, 42 cuts each.

Run as `python -m tests.bench.test_interpolation_cuts --pairs 42`, or with `pytest -m slow`. The seed is printed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from svd_core.interpolation.cuts import is_cut
from tests.interpolation_scenes import CLASSES, scene
from tests.shot_scenes import CONTINUOUS, CUTS, SIZE, Pair

PAIRS = 42


def exact(seed: int, *, cut: bool) -> Iterator[tuple[str, Pair]]:
    """The acceptance table's scenes; pans of up to 72 of 448 pixels are among those within a shot."""
    for index in range(seed, 2**62):
        for place, kind in enumerate(CLASSES):
            first = scene(kind, index, (SIZE.height, SIZE.width))
            end = 1.5 if kind in ("large", "occl_large") else 1.0
            other = scene(CLASSES[(place + index + 1) % 6], index + 2**33, (SIZE.height, SIZE.width))
            yield kind, (first.at(0), other.at(1) if cut else first.at(end))


def drawn(seed: int, *, cut: bool) -> Iterator[tuple[str, Pair]]:
    """Worlds and layers, in turn."""
    for index in range(2**31):
        for kind, pair in (CUTS if cut else CONTINUOUS).items():
            yield kind, pair(seed, index)


def count(pairs: Iterator[tuple[str, Pair]], number: int) -> tuple[int, list[str]]:
    """How many of so many pairs are taken for cuts, and the kinds of those."""
    kinds = [kind for kind, (first, second) in islice(pairs, number) if is_cut(first, second)]
    return len(kinds), kinds


def report(seed: int, number: int) -> tuple[int, int, str]:
    """Cuts missed, false ones, and a line for each generator."""
    missed = false = 0
    lines = [f"seed {seed}"]
    for name, source in (("exact scenes", exact), ("worlds and layers", drawn)):
        wrong, kinds = count(source(seed, cut=False), number)
        right, _ = count(source(seed, cut=True), number)
        missed, false = missed + number - right, false + wrong
        lines.append(f"{name}: {number - right} of {number} cuts missed, {wrong} of {number} false {sorted(kinds)}")
    return missed, false, "\n".join(lines)


@pytest.mark.slow
def test_cuts_on_random_scenes() -> None:
    torch.set_num_threads(1)
    missed, false, text = report(secrets.randbelow(2**31), PAIRS)
    print(text)
    assert missed == 0 and false <= 2, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    sys.stdout.write(report(seed, options.pairs)[2] + "\n")


if __name__ == "__main__":
    main()
