"""`svd sweep`: every clip of a plan, whatever stops the work in between; `svd sheet` draws what there is."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SvdError, explain
from .output import Console

if TYPE_CHECKING:
    from ..sweep.manifest import Record
    from ..sweep.plan import Plan
    from ..sweep.run import Progress

# h264 at its usual quality and PNG, in bytes a pixel of a frame: what a plan will roughly need on the disk.
_BYTES_A_PIXEL = {"png": 1.6, "gif": 0.6, "webp": 0.25}
_USUAL_BYTES = 0.12
_LISTED = 20


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd sweep`."""
    parser = subparsers.add_parser("sweep", help="make every clip of a plan", description=__doc__)
    parser.add_argument("plan", metavar="PLAN.json", help="what stays, what is varied and how")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder for clips, record and sheets")
    parser.add_argument("--resume", action="store_true", help="go on in a folder: what is finished stays as it is")
    parser.add_argument("--dry-run", action="store_true", help="list the cells and what they will take, make nothing")
    parser.add_argument(
        "--device", action="append", metavar="NAME", help="repeatable, one worker each; default: every GPU, or the CPU"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document about the sweep")


def run(options: argparse.Namespace) -> int:
    """Plan, make, draw the sheets; 0 if no cell failed."""
    from ..sweep.plan import load_plan

    console = Console.of(options)
    plan = load_plan(Path(options.plan))
    check_cells(plan, Path(options.out))
    if options.dry_run:
        return _list_cells(plan, console)
    return _make(plan, options, console)


def check_cells(plan: Plan, out: Path) -> None:
    """Try every value once, so that a bad one is a sentence now and not a red cell in an hour.

    Raises:
        InputError: a setting `svd animate` would refuse.
    """
    from ..sweep.plan import AnimateTemplate
    from .cells import parse

    if not isinstance(plan.template, AnimateTemplate):
        remedy = "Queue it from the graph."
        raise InputError(explain("a plan of kind animate", "one of kind graph", remedy))
    first = {axis.name: axis.values[0] for axis in plan.axes}
    for axis in plan.axes:
        for value in axis.values:
            parse({**plan.template.settings, **first, axis.name: value}, plan.folder, out)
    if not plan.axes:
        parse(plan.template.settings, plan.folder, out)


def _make(plan: Plan, options: argparse.Namespace, console: Console) -> int:
    from ..sweep.local import LocalExecutor
    from ..sweep.run import run_plan
    from .cells import make_render

    out, started = Path(options.out), time.perf_counter()
    devices = options.device or _devices()
    bar: list[Any] = []

    def on_start(progress: Progress) -> None:
        console.say(f"{progress.total} clips, {progress.kept} finished before, on {', '.join(devices)}")
        bar.append(console.progress(progress.left, plan.name))

    def on_record(progress: Progress, record: Record) -> None:
        bar[0].update()
        if record.status == "failed":
            console.note(f"cell {record.index} ({_values(record)}) failed: {record.error}")

    try:
        progress = run_plan(
            plan,
            out,
            LocalExecutor(devices, make_render),
            resume=options.resume,
            on_start=on_start,
            on_record=on_record,
        )
    finally:
        for shown in bar:
            shown.close()
    sheets = draw(out, plan.name)
    seconds = time.perf_counter() - started
    facts = {"made": progress.made, "kept": progress.kept, "failed": progress.failed, "seconds": round(seconds, 3)}
    console.result({**facts, "folder": str(out), "sheets": [str(path) for path in sheets]})
    console.say(f"{progress.made} made, {progress.kept} kept, {progress.failed} failed in {seconds:.0f} s: {out}")
    if progress.failed:
        remedy = f"`svd sweep {options.plan} --out {out} --resume` tries them again."
        raise SvdError(f"{progress.failed} of {progress.total} cells failed; the others are whole. {remedy}")
    return 0


def draw(folder: Path, title: str, **axes: str | None) -> list[Path]:
    """PNG pages and the web page of a sweep, beside its manifest.

    Raises:
        InputError: nothing recorded yet, or no such axis.
    """
    from ..sweep.sheets import SheetStyle, read_sheet, write_png
    from ..sweep.web_page import write_page

    style = SheetStyle()
    sheet = read_sheet(folder, **axes)
    return [*write_png(sheet, folder / "sheet.png", style), write_page(sheet, folder / "sheet.html", title, style)]


def _list_cells(plan: Plan, console: Console) -> int:
    from ..sweep.cells import cells_of

    cells = cells_of(plan)
    facts = {"clips": len(cells), "gigabytes": _gigabytes(plan, len(cells))}
    told = [{"index": cell.index, "cell": cell.key, "name": cell.name, "values": dict(cell.values)} for cell in cells]
    console.result({**facts, "cells": told})
    for cell in cells[:_LISTED]:
        console.say(f"{cell.index:6d}  {cell.name}")
    if len(cells) > _LISTED:
        console.say(f"   ... and {len(cells) - _LISTED} more")
    room = "" if facts["gigabytes"] is None else f", about {facts['gigabytes']:.3g} GB"
    console.say(f"{len(cells)} clips{room}")
    return 0


def _gigabytes(plan: Plan, cells: int) -> float | None:
    """Room on the disk, where size and frames are fixed by the plan; None where the model decides."""
    settings = getattr(plan.template, "settings", {})
    size, frames = settings.get("size"), settings.get("frames")
    if not isinstance(size, str) or not isinstance(frames, int):
        return None
    from .options import size as parse_size

    width, height = parse_size(size)
    per_pixel = _BYTES_A_PIXEL.get(settings.get("format", "mp4"), _USUAL_BYTES)
    return cells * frames * width * height * per_pixel / 1e9


def _devices() -> list[str]:
    """Every GPU, or the CPU."""
    import torch

    count = torch.cuda.device_count()
    if count:
        return [f"cuda:{index}" for index in range(count)]
    return ["mps" if torch.backends.mps.is_available() else "cpu"]


def _values(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in record.values.items())
