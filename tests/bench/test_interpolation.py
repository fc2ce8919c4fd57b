"""The weight-free interpolator beside blending and OpenCV's DIS on exact synthetic truth. Seeds are random and printed.

Run as `python -m tests.bench.test_interpolation --scenes 24 --seed 7`, or with `pytest -m slow`.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from svd_core.interpolation.synthesis import draw, find_motion
from tests.interpolation_scenes import CLASSES, TIMES, dis_splat, psnr, scene

FLOOR = {"translate": 42, "zoom": 34, "rotate": 34, "large": 30, "occlude": 38, "occl_large": 29.5}
STRETCH = {"translate": 50, "zoom": 42, "rotate": 41, "large": 40, "occlude": 41, "occl_large": 32}
METHODS = ("blend", "DIS", "flow")


@dataclass
class Row:
    """Decibels and process seconds a pair of one class, by method."""

    decibels: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METHODS})
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(METHODS, 0.0))

    def mean(self, name: str) -> float:
        return sum(self.decibels[name]) / len(self.decibels[name])


def made(name: str, first: Tensor, second: Tensor) -> list[Tensor]:
    """The frames of a method at the three times."""
    if name == "blend":
        return [torch.lerp(first, second, at) for at in TIMES]
    if name == "DIS":
        return dis_splat(first, second, TIMES)
    one, two = (frame.permute(2, 0, 1)[None] for frame in (first, second))
    motion = find_motion(one, two)
    return [draw(one, two, motion, at)[0].permute(1, 2, 0) for at in TIMES]


def measure(scenes: int, seed: int, size: tuple[int, int]) -> dict[str, Row]:
    """Scene by scene through all classes, so that what has been measured is even whenever it is stopped."""
    rows = {kind: Row() for kind in CLASSES}
    for index in range(scenes):
        for kind, row in rows.items():
            shown = scene(kind, seed + index, size)
            first, second, truth = shown.at(0), shown.at(1), [shown.at(at) for at in TIMES]
            for name in METHODS:
                start = time.process_time()
                frames = made(name, first, second)
                row.seconds[name] += time.process_time() - start
                row.decibels[name].append(sum(map(psnr, frames, truth)) / len(TIMES))
        running = ", ".join("/".join(f"{row.mean(name):.1f}" for name in METHODS) for row in rows.values())
        sys.stdout.write(f"{index + 1:3d} of {scenes}: {running}\n")
        sys.stdout.flush()
    return rows


def table(rows: dict[str, Row]) -> str:
    """The acceptance table in Markdown."""
    lines = ["| class | blend | DIS + splat | flow | worst scene | floor | stretch |", "|---|---|---|---|---|---|---|"]
    for kind, row in rows.items():
        cells = [f"{row.mean(name):.1f}" for name in METHODS]
        lines.append(
            f"| {kind} | {' | '.join(cells)} | {min(row.decibels['flow']):.1f} | {FLOOR[kind]} | {STRETCH[kind]} |"
        )
    spent = {name: sum(row.seconds[name] for row in rows.values()) for name in METHODS}
    ratios = ", ".join(f"{name} {spent[name] / spent['DIS']:.3f}" for name in METHODS)
    return "\n".join([*lines, "", f"Process time for three frames of a pair, DIS + splat = 1: {ratios}"])


@pytest.mark.slow
def test_flow_meets_the_acceptance_table() -> None:
    torch.set_num_threads(1)
    seed = secrets.randbelow(2**31)
    rows = measure(24, seed, (256, 448))
    text = f"seed {seed}\n{table(rows)}"
    print(text)
    for kind, row in rows.items():
        assert row.mean("flow") >= FLOOR[kind], text
        assert row.mean("flow") > row.mean("blend"), text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=24, help="scenes a class")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--size", default="448x256", help="width x height")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    width, height = (int(side) for side in options.size.split("x"))
    sys.stdout.write(f"seed {seed}, {options.size}\n")
    sys.stdout.write(table(measure(options.scenes, seed, (height, width))) + "\n")


if __name__ == "__main__":
    main()
