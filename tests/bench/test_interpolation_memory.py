"""Memory of a long interpolation through the command line and the node; run with `pytest -m slow` or as a module.

`python -m tests.bench.test_interpolation_memory --frames 2000 --engine flow`. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from svd_core.cli.main import main as svd
from svd_core.video_io import write_frames
from tests.fake_host import on_fake_host
from tests.interpolation_scenes import scene

SIDE, FACTOR = 256, 4
MOST_NODE, MOST_CLI = 100, 150


def megabytes(file: str, field: str) -> float:
    """A line of /proc/self in megabytes."""
    for line in Path("/proc/self", file).read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def growth(work: Callable[[], object], file: str, field: str) -> float:
    """How far a memory line rises above its start while `work` runs, in megabytes."""
    start, peak, done = megabytes(file, field), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            peak = max(peak, megabytes(file, field) - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(peak, megabytes(file, field) - start)


def pan(count: int) -> Iterator[Tensor]:
    """A pale picture that slides by a pixel a frame: too little for the cut guard to look twice."""
    picture = scene("translate", 1, (SIDE, SIDE)).at(0) * 0.5
    return (picture.roll(index, dims=1) for index in range(count))


def through_cli(frames: int, engine: str) -> float:
    """Growth of everything the process holds, mapped files included."""
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("warm", 3), ("long", frames)):
            write_frames(pan(count), Path(folder, f"{name}.mp4"), Fraction(24))

        def run(name: str) -> None:
            target = str(Path(folder, f"{name}_out.mp4"))
            source = str(Path(folder, f"{name}.mp4"))
            assert svd(["interpolate", source, target, "--factor", str(FACTOR), "--engine", engine, "--quiet"]) == 0

        run("warm")
        return growth(lambda: run("long"), "status", "VmRSS")


def through_node(frames: int, engine: str) -> float:
    """Growth of anonymous memory; the pages of the result's file can be written out and dropped."""
    host, load = on_fake_host()
    host.management.get_torch_device = lambda: torch.device("cpu")
    node = load("nodes.interpolate").SVDStudioInterpolate
    settings = {"mode": "factor", "factor": float(FACTOR), "fps": 24.0, "loop": "off", "keep_duration": False}
    settings |= {"ease": "linear", "engine": engine, "cut_guard": "hold", "dedupe": False, "memory": "disk"}
    with tempfile.TemporaryDirectory() as folder:
        host.folder_paths.get_temp_directory = lambda: folder
        source = torch.stack(list(pan(frames)))
        node.execute(source[:3], 24.0, **settings)

        def run() -> None:
            assert node.execute(source, 24.0, **settings).result[2] == (frames - 1) * FACTOR + 1

        return growth(run, "smaps_rollup", "Anonymous")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("way", "limit"), [(through_cli, MOST_CLI), (through_node, MOST_NODE)])
def test_2000_frames_take_flat_memory(way: Callable[[int, str], float], limit: int) -> None:
    torch.set_num_threads(1)
    grown = way(2000, "flow")
    assert grown < limit, f"{way.__name__}: {grown:.0f} MB, limit {limit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--engine", default="flow")
    parser.add_argument("--way", choices=("cli", "node"), required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    grown = (through_cli if options.way == "cli" else through_node)(options.frames, options.engine)
    sys.stdout.write(f"{options.way}, {options.engine}, {options.frames} frames x {FACTOR}: {grown:.1f} MB\n")
    sys.stdout.write(f"{time.perf_counter() - start:.0f} s\n")


if __name__ == "__main__":
    main()
