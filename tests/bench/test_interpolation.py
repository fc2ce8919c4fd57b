"""The weight-free interpolator beside blending and OpenCV's DIS on exact synthetic truth. Seeds are random and printed.

Run as `python -m tests.bench.test_interpolation --record runs.jsonl --scenes 24`, or with `pytest -m slow`. What has
been measured stands in the record; the same command goes on from there, with the seed of its first line.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

import svd_core
from svd_core.interpolation.engines import Flow, Gap
from svd_core.interpolation.refiner import Refiner, load_refiner, shipped
from svd_core.interpolation.synthesis import draw, find_motion
from tests.interpolation_scenes import CLASSES, HARDER, TIMES, dis_splat, psnr, scene

FLOOR = {"translate": 42, "zoom": 34, "rotate": 34, "large": 30, "occlude": 38, "occl_large": 29.5}
STRETCH = {"translate": 50, "zoom": 42, "rotate": 41, "large": 40, "occlude": 41, "occl_large": 32}
METHODS = ("blend", "DIS", "flow", "flow+refiner")
MOST_LOSS = 0.3


@dataclass
class Record:
    """One JSON line a scene and method, in a file where one is named; decibels and process seconds by both."""

    seed: int
    size: tuple[int, int]
    path: Path | None = None
    decibels: dict[tuple[str, str], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    seconds: dict[tuple[str, str], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def opened(cls, path: Path, seed: int | None, size: tuple[int, int]) -> Record:
        """A new record, or the one in the file."""
        if not path.is_file():
            record = cls(secrets.randbelow(2**31) if seed is None else seed, size, path)
            record._write({"seed": record.seed, "size": size})
            return record
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        record = cls(lines[0]["seed"], tuple(lines[0]["size"]), path)
        for line in lines[1:]:
            record._take(line)
        return record

    def add(self, kind: str, index: int, method: str, decibels: float, seconds: float) -> None:
        line = {"kind": kind, "index": index, "method": method, "dB": decibels, "s": seconds}
        self._take(line)
        if self.path is not None:
            self._write(line)

    def mean(self, kind: str, method: str) -> float:
        found = self.decibels[kind, method].values()
        return sum(found) / len(found) if found else float("nan")

    def _take(self, line: dict) -> None:
        self.decibels[line["kind"], line["method"]][line["index"]] = line["dB"]
        self.seconds[line["kind"], line["method"]][line["index"]] = line["s"]

    def _write(self, line: dict) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def made(method: str, first: Tensor, second: Tensor, refiner: Refiner | None) -> list[Tensor]:
    """The frames of a method at the three times."""
    if method == "blend":
        return [torch.lerp(first, second, at) for at in TIMES]
    if method == "DIS":
        return dis_splat(first, second, TIMES)
    return list(Flow(refiner if method == "flow+refiner" else None).between([Gap(first, second, TIMES)]))


def measure(
    record: Record, kinds: tuple[str, ...], scenes: int, methods: tuple[str, ...], refiner: Refiner | None
) -> None:
    """Scene by scene through all classes, so that what has been measured is even whenever it is stopped."""
    for index in range(scenes):
        for kind in kinds:
            missing = [method for method in methods if index not in record.decibels[kind, method]]
            if not missing:
                continue
            shown = scene(kind, record.seed + index, record.size)
            (first, second), truth = shown.ends(), [shown.at(at) for at in TIMES]
            for method in missing:
                start = time.process_time()
                frames = made(method, first, second, refiner)
                spent = time.process_time() - start
                record.add(kind, index, method, sum(map(psnr, frames, truth)) / len(TIMES), spent)
        running = ", ".join("/".join(f"{record.mean(kind, method):.1f}" for method in methods) for kind in kinds)
        sys.stdout.write(f"{index + 1:3d} of {scenes}: {running}\n")
        sys.stdout.flush()


def table(record: Record, kinds: tuple[str, ...], methods: tuple[str, ...]) -> str:
    """The acceptance table in Markdown."""
    last = methods[-1]
    lines = [
        f"| class | scenes | {' | '.join(methods)} | worst scene | floor | stretch |",
        "|---" * (5 + len(methods)) + "|",
    ]
    for kind in kinds:
        cells = [f"{record.mean(kind, method):.1f}" for method in methods]
        found = record.decibels[kind, last].values()
        lines.append(
            f"| {kind} | {len(found)} | {' | '.join(cells)} | {min(found, default=float('nan')):.1f} "
            f"| {FLOOR.get(kind, '')} | {STRETCH.get(kind, '')} |"
        )
    spent = {name: sum(sum(record.seconds[kind, name].values()) for kind in kinds) for name in methods}
    unit = "DIS" if "DIS" in spent else methods[0]
    ratios = ", ".join(f"{name} {seconds / max(spent[unit], 1e-9):.3f}" for name, seconds in spent.items())
    return "\n".join([*lines, "", f"Process time for three frames of a pair, {unit} = 1: {ratios}"])


def against_a_network_step() -> str:
    """One new frame of the flow engine against one guided step of the embedded model's UNet, at its 64 x 64 pixels."""
    model, marks = svd_core.load_model("nano"), list[float]()
    picture = scene("translate", 1, (64, 64)).at(0)
    svd_core.animate(model, picture, steps=6, on_step=lambda _: marks.append(time.process_time()))
    step, frames = (marks[-1] - marks[0]) / (len(marks) - 1), model.config.sampling.frames
    shown = scene("occlude", 1, (64, 64))
    one, two = (frame.permute(2, 0, 1)[None] for frame in shown.ends())
    start = time.process_time()
    for _ in range(8):
        motion = find_motion(one, two)
        for at in TIMES:
            draw(one, two, motion, at)
    frame = (time.process_time() - start) / 24
    return f"One UNet step of {frames} frames {step:.3f} s, one new frame {frame:.4f} s: ratio {frame / step:.3f}"


@pytest.mark.slow
def test_flow_meets_the_acceptance_table() -> None:
    torch.set_num_threads(1)
    record = Record(secrets.randbelow(2**31), (256, 448))
    refiner = shipped()
    methods = METHODS if refiner is not None else METHODS[:-1]
    measure(record, CLASSES, 24, methods, refiner)
    text = f"seed {record.seed}\n{table(record, CLASSES, methods)}"
    print(text)
    gains: list[float] = []
    for kind in CLASSES:
        assert record.mean(kind, "flow") >= FLOOR[kind], text
        assert record.mean(kind, "flow") > record.mean(kind, "blend"), text
        gains.append(record.mean(kind, methods[-1]) - record.mean(kind, "flow"))
    if refiner is not None:
        assert min(gains) > -MOST_LOSS and sum(gains) > 0, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=24, help="scenes a class")
    parser.add_argument("--classes", default=",".join(CLASSES), help=f"of {', '.join((*CLASSES, *HARDER))}")
    parser.add_argument("--methods", default=",".join(METHODS[:-1]), help=f"of {', '.join(METHODS)}")
    parser.add_argument("--refiner", type=Path, default=None, help="a refiner's file; default: the shipped one")
    parser.add_argument("--record", type=Path, required=True, help="JSON lines; continued where they end")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--size", default="448x256", help="width x height")
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, height = (int(side) for side in options.size.split("x"))
    record = Record.opened(options.record, options.seed, (height, width))
    kinds, methods = tuple(options.classes.split(",")), tuple(options.methods.split(","))
    refiner = shipped() if options.refiner is None else load_refiner(options.refiner)
    sys.stdout.write(f"seed {record.seed}, {record.size[1]}x{record.size[0]}\n")
    measure(record, kinds, options.scenes, methods, refiner)
    sys.stdout.write(table(record, kinds, methods) + "\n")
    sys.stdout.write(against_a_network_step() + "\n")


if __name__ == "__main__":
    main()
