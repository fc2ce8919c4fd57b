"""The camera meter beside OpenCV's affine RANSAC on exact synthetic clips. Seeds are random and printed.

Run as `python -m tests.bench.test_meter_accuracy --clips 6 --size 512x512 --seed 7`, or with `pytest -m slow`.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from svd_core.camera.meter import measure
from tests.bench.meter_scenes import AXES, draw, opencv_track

CONDITIONS = {
    "clean": {},
    "subject 30 %": {"foreground": 0.3},
    "subject 35 %, noise 2 %": {"foreground": 0.35, "noise": 0.02},
    "subject 30 %, noise 3 %, blur 1.5 px": {"foreground": 0.3, "noise": 0.03, "blur": 1.5},
}
TEXTURES = ("noise", "shapes", "mixed")
LIMIT = 0.1
SIGN_FROM = 0.3


@dataclass(frozen=True)
class Row:
    """Errors of both meters `P 4` and the truth `P 4` under one condition."""

    ours: np.ndarray
    opencv: np.ndarray
    truth: np.ndarray


def random_steps(pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Half of the pairs make one move alone, half a mix; 0.2 to 5 (% or degrees) per frame, log-uniform, any sign."""
    amounts = np.exp(rng.uniform(np.log(0.2), np.log(5), (pairs, 4))) * rng.choice([-1, 1], (pairs, 4))
    alone = np.eye(4)[rng.permutation(pairs) % 4]
    return np.where(rng.random((pairs, 1)) < 0.5, amounts * alone, amounts)


def run_condition(settings: dict[str, float], clips: int, size: tuple[int, int], seed: int) -> tuple[Row, float]:
    """Both meters on `clips` clips of 4 pairs, and our seconds of CPU per pair."""
    ours, theirs, truths, seconds = [], [], [], 0.0
    for index in range(clips):
        rng = np.random.default_rng([seed, index])
        scene = draw(random_steps(4, rng), size, rng, kind=TEXTURES[index % 3], **settings)
        start = time.process_time()
        track = measure(torch.from_numpy(scene.frames))
        seconds += time.process_time() - start
        measured = torch.stack([getattr(track, axis) for axis in AXES], dim=1).numpy()
        ours.append(measured - scene.truth)
        theirs.append(opencv_track(scene.frames) - scene.truth)
        truths.append(scene.truth)
    row = Row(np.concatenate(ours), np.concatenate(theirs), np.concatenate(truths))
    return row, seconds / len(row.truth)


def wrong_signs(error: np.ndarray, truth: np.ndarray) -> int:
    return int((((error + truth) * truth < 0) & (np.abs(truth) > SIGN_FROM)).sum())


def summary(name: str, row: Row) -> str:
    cells = [f"{name:38s} {len(row.truth):4d}"]
    for error in (row.ours, row.opencv):
        size = np.abs(error)
        cells.append(" ".join(f"{value:7.4f}" for value in size.mean(axis=0)))
        cells.append(f"{np.median(size):7.4f} {size.max():7.3f} {wrong_signs(error, row.truth):3d}")
    return " | ".join(cells)


HEADER = f"{'condition':38s} pairs | " + " | ".join(
    f"{who + ' mean ' + ' '.join(AXES):31s} | median     max sign" for who in ("ours", "OpenCV")
)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(512, 512), (576, 1024)])
def test_meter_is_exact_and_no_worse_than_opencv(size: tuple[int, int]) -> None:
    torch.set_num_threads(1)
    seed = secrets.randbelow(2**31)
    lines, rows = [f"seed {seed}, {size[1]} x {size[0]}", HEADER], []
    for name, settings in CONDITIONS.items():
        row, _ = run_condition(settings, 3, size, seed)
        rows.append(row)
        lines.append(summary(name, row))
    table = "\n".join(lines)
    print(table)
    for row in rows:
        ours, theirs = np.abs(row.ours).mean(axis=0), np.abs(row.opencv).mean(axis=0)
        assert (ours <= LIMIT).all(), f"mean error {ours} above {LIMIT}\n{table}"
        assert wrong_signs(row.ours, row.truth) == 0, f"wrong signs\n{table}"
        # Both are far below the limit where the scene is easy; there a hundredth of a per cent decides nothing.
        assert (ours <= theirs + 0.01).all(), f"OpenCV is better: {ours} against {theirs}\n{table}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=6, help="clips of 4 pairs a condition")
    parser.add_argument("--size", default="512x512", help="width x height")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    width, height = (int(side) for side in options.size.split("x"))
    sys.stdout.write(f"seed {seed}, {options.size}, errors in % (pan, tilt, zoom) and degrees (roll)\n{HEADER}\n")
    rows = []
    for name, settings in CONDITIONS.items():
        row, seconds = run_condition(settings, options.clips, (height, width), seed)
        rows.append(row)
        sys.stdout.write(f"{summary(name, row)} | {seconds:.3f} s CPU a pair\n")
        sys.stdout.flush()
    everything = Row(*(np.concatenate([getattr(row, part) for row in rows]) for part in ("ours", "opencv", "truth")))
    sys.stdout.write(summary("all", everything) + "\n")


if __name__ == "__main__":
    main()
