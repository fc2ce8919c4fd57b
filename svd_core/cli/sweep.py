"""`svd sweep`: every clip of a plan, whatever stops the work in between; `svd sheet` draws what there is."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SvdError, explain
from .output import Console

if TYPE_CHECKING:
    from ..sweep.jobs import Executor
    from ..sweep.manifest import Record
    from ..sweep.plan import AnimateTemplate, Plan
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
    parser.add_argument(
        "--host",
        action="append",
        metavar="URL",
        help="a running ComfyUI, repeatable, for plans made from a graph: it renders, clips and record come here",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document about the sweep")


def run(options: argparse.Namespace) -> int:
    """Plan, make, draw the sheets; 0 if no cell failed."""
    from ..sweep.plan import AnimateTemplate, load_plan

    console = Console.of(options)
    plan = load_plan(Path(options.plan))
    if isinstance(plan.template, AnimateTemplate):
        check_cells(plan, plan.template, Path(options.out))
    if options.dry_run:
        return _list_cells(plan, console)
    return _make(plan, options, console)


def check_cells(plan: Plan, template: AnimateTemplate, out: Path) -> None:
    """Try every value once, so that a bad one is a sentence now and not a red cell in an hour.

    Raises:
        InputError: a setting `svd animate` would refuse.
    """
    from .cells import parse

    if any(axis.name == "format" for axis in plan.axes):
        remedy = "Put it into the settings; one sweep has one format."
        raise InputError(explain("an option that changes the clip as an axis", "format", remedy))
    first = {axis.name: axis.values[0] for axis in plan.axes}
    parse({**template.settings, **first}, plan.folder, out)
    for axis in plan.axes:
        for value in axis.values[1:]:
            parse({**template.settings, **first, axis.name: value}, plan.folder, out)


def executor_for(plan: Plan, options: argparse.Namespace) -> tuple[Executor, list[str]]:
    """Who makes the clips, and what to call them.

    Raises:
        InputError: a graph without a host, or a host with a plan that needs none.
    """
    from ..sweep.plan import AnimateTemplate

    if isinstance(plan.template, AnimateTemplate):
        from ..sweep.local import LocalExecutor
        from .cells import make_render

        if options.host:
            remedy = "Leave --host away, or save the plan from the graph in ComfyUI."
            raise InputError(explain("a plan of kind graph for --host", "one of kind animate", remedy))
        devices = options.device or _devices()
        return LocalExecutor(devices, make_render), devices
    if not options.host:
        remedy = "Add --host http://127.0.0.1:8188, the address of a running ComfyUI."
        raise InputError(explain("--host for a plan of kind graph", "none", remedy))
    from ..sweep.hosts import HostExecutor

    return HostExecutor(options.host, plan.template), options.host


def _make(plan: Plan, options: argparse.Namespace, console: Console) -> int:
    from ..sweep.run import run_plan

    out, started = Path(options.out), time.perf_counter()
    executor, places = executor_for(plan, options)
    bar: list[Any] = []

    def on_start(progress: Progress) -> None:
        console.say(f"{progress.total} clips, {progress.kept} finished before, on {', '.join(places)}")
        bar.append(console.progress(progress.left, plan.name))

    def on_record(progress: Progress, record: Record) -> None:
        bar[0].update()
        if record.status == "failed":
            console.note(f"cell {record.index} ({_values(record)}) failed: {record.error}")

    try:
        progress = run_plan(
            plan,
            out,
            executor,
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
