"""`svd bench`: ratios on this machine, several ways of doing the same thing side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, choose_from
from . import options as words
from .output import Console

if TYPE_CHECKING:
    from .stopwatch import Timing

# Too long or too large to be run unasked.
_ON_REQUEST = ("real-size",)
_CAMERA, _IN_BETWEEN, _MODEL = "camera", "in-between", "model"
_JUDGED = (_CAMERA, _IN_BETWEEN, _MODEL)
_NAMES = "constants, plans, decode, diffusers, real-size, camera, in-between, model"
# More for cheaper clips; `model` shares each among many rows.
_CLIPS = {_CAMERA: 100, _IN_BETWEEN: 100, _MODEL: 64}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd bench`."""
    parser = subparsers.add_parser(
        "bench",
        help="speed and memory of this machine, side by side",
        description="Measure ways of doing the same thing in turn; ratios mean more than seconds.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"{_NAMES}; default: all but the last four")
    group = parser.add_argument_group("camera, in-between and model: on pictures nobody trained on")
    group.add_argument(
        "--clips",
        type=words.whole("--clips", 2, 10_000),
        metavar="N",
        help="a strength, or in all; default: 100, for model 64 over all sets",
    )
    group.add_argument("--out", type=Path, metavar="DIR", help="kept here, and continued; default: bench-NAME")
    group.add_argument("--lora", action="append", type=Path, metavar="FILE", help="instead of those that ship")
    group.add_argument("--model", default="nano", metavar="nano|FILE|FOLDER", help="the model to judge")
    group = parser.add_argument_group("model: every row it is judged by, with floor and goal")
    group.add_argument(
        "--rows", metavar="A,B", help="clips, camera, interpolation, time, or all; default: all but camera"
    )
    group.add_argument("--sets", metavar="A,B", help="of held-out worlds, by name; default: all that can be drawn here")
    group.add_argument("--seed", metavar="S|random", help="of worlds and noise; default: drawn, and printed")
    group.add_argument("--interpolator", type=Path, metavar="FILE", help="instead of the one that ships")
    group.add_argument("--sheet", action="store_true", help="write contact sheets: input and 7 frames a clip")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Run one bench, or all that need no asking."""
    import torch

    from . import yardstick
    from .benches import BENCHES
    from .models import resolve_device, versions

    if options.name in _JUDGED:
        from . import camera_table, in_between_bench, model_bench

        options.out = options.out or Path(f"bench-{options.name}")
        options.clips = options.clips or _CLIPS[options.name]
        rooms = {_CAMERA: camera_table, _IN_BETWEEN: in_between_bench, _MODEL: model_bench}
        return rooms[options.name].run(options)
    if options.name is not None and options.name not in BENCHES:
        raise InputError(choose_from("NAME", options.name, [*BENCHES, *_JUDGED]))
    console = Console.of(options)
    device = resolve_device(options.device)
    unasked = [name for name in BENCHES if name not in _ON_REQUEST and (name != "diffusers" or yardstick.available())]
    names = [options.name] if options.name else unasked
    results: dict[str, list[Timing]] = {}
    with torch.no_grad(), console.progress(len(names), "bench") as bar:
        for name in names:
            results[name] = BENCHES[name](device)
            bar.update()
    for name, timings in results.items():
        console.say(f"\n{name}: {(BENCHES[name].__doc__ or '').splitlines()[0]}")
        _table(console, timings)
    benches = {name: [_entry(timing, timings[0]) for timing in timings] for name, timings in results.items()}
    console.result({"device": str(device), "versions": versions(), "benches": benches})
    return 0


def _table(console: Console, timings: list[Timing]) -> None:
    rows = [
        (
            timing.name,
            f"{timing.seconds * 1000:.1f}",
            f"{timing.seconds / timings[0].seconds:.3f}",
            "-" if timing.peak_bytes is None else f"{timing.peak_bytes / 2**20:.0f}",
        )
        for timing in timings
    ]
    console.table(("", "ms", "ratio", "peak MiB"), rows)


def _entry(timing: Timing, first: Timing) -> dict[str, Any]:
    return {
        "name": timing.name,
        "seconds": timing.seconds,
        "ratio": timing.seconds / first.seconds,
        "peak_bytes": timing.peak_bytes,
    }
