"""`svd sweep`: every clip of a plan, whatever stops the work in between; `svd sheet` draws what there is."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SvdError, explain
from .output import Console

if TYPE_CHECKING:
    from ..sweep.cells import Cell
    from ..sweep.jobs import Executor
    from ..sweep.manifest import Record
    from ..sweep.plan import AnimateTemplate, Plan
    from ..sweep.run import Progress

_LISTED = 20
_MISSING_NAMED = 5
# Beyond this many clips the sheets take long enough to be announced.
_MANY = 200


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd sweep`."""
    parser = subparsers.add_parser("sweep", help="make every clip of a plan", description=__doc__)
    parser.add_argument("plan", metavar="PLAN.json", help="what stays, what is varied and how")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder for clips, record and sheets")
    parser.add_argument("--resume", action="store_true", help="go on in a folder: what is finished stays as it is")
    parser.add_argument("--dry-run", action="store_true", help="list the cells and what they will take, make nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document about the sweep")
    where = parser.add_argument_group("where the clips are made", "default: one process for every GPU, or on the CPU")
    where.add_argument("--device", action="append", metavar="NAME", help="cpu, cuda:0, ...; repeatable, a process each")
    where.add_argument(
        "--host",
        action="append",
        metavar="URL",
        help="a running ComfyUI, repeatable, for plans made from a graph: it renders, clips and record come here",
    )
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="a running Ray cluster (host:port, or auto), or local to start one here for this sweep; needs "
        "`pip install -e .[ray]`; pictures and models lie at the same paths on its machines",
    )


def run(options: argparse.Namespace) -> int:
    """Plan, make, draw the sheets; 0 if no cell failed."""
    from ..sweep.cells import cells_of
    from ..sweep.plan import AnimateTemplate, load_plan

    console = Console.of(options)
    plan = load_plan(Path(options.plan))
    if isinstance(plan.template, AnimateTemplate):
        check_cells(plan, plan.template, Path(options.out), words_only=options.dry_run)
        _check_files(plan, plan.template, console)
    cells = cells_of(plan)
    if options.dry_run:
        return _list_cells(plan, cells, options, console)
    return _make(plan, cells, options, console)


def check_cells(plan: Plan, template: AnimateTemplate, out: Path, *, words_only: bool = False) -> None:
    """Try every value once, so that a bad one is a sentence now and not a red cell in an hour.

    words_only: not what torch is needed for, which would cost a list of cells more time and memory than all the rest.

    Raises:
        InputError: a setting `svd animate` would refuse.
    """
    from .cells import check, parse

    look = parse if words_only else check
    if any(axis.name == "format" for axis in plan.axes):
        remedy = "Put it into the settings; one sweep has one format."
        raise InputError(explain("an option that changes the clip as an axis", "format", remedy))
    first = {axis.name: axis.values[0] for axis in plan.axes}
    look({**template.settings, **first}, plan.folder, out)
    for axis in plan.axes:
        for value in axis.values[1:]:
            look({**template.settings, **first, axis.name: value}, plan.folder, out)


def executor_for(plan: Plan, options: argparse.Namespace) -> tuple[Executor, list[str]]:
    """Who makes the clips, and what to call them.

    Raises:
        InputError: a graph without a host, a host with a plan that needs none, two places at once, or no ray installed.
    """
    from ..sweep.plan import AnimateTemplate

    named = [name for name in ("device", "host", "ray") if getattr(options, name)]
    if len(named) > 1:
        raise InputError(explain("one of --device, --host and --ray", " and ".join(named), "Leave the others away."))
    if not isinstance(plan.template, AnimateTemplate):
        if not options.host:
            remedy = "Add --host http://127.0.0.1:8188, the address of a running ComfyUI."
            raise InputError(explain("--host for a plan of kind graph", " ".join(named) or "none", remedy))
        from ..sweep.hosts import HostExecutor

        return HostExecutor(options.host, plan.template), options.host
    from .cells import make_render

    if options.host:
        remedy = "Leave --host away, or save the plan from the graph in ComfyUI."
        raise InputError(explain("a plan of kind graph for --host", "one of kind animate", remedy))
    if options.ray:
        from ..sweep.clusters import RayExecutor

        return RayExecutor(options.ray, make_render), [f"Ray ({options.ray})"]
    from ..sweep.local import LocalExecutor
    from .models import resolve_device

    devices = options.device or _devices()
    for device in devices:
        resolve_device(device)
    return LocalExecutor(devices, make_render), devices


def _make(plan: Plan, cells: Sequence[Cell], options: argparse.Namespace, console: Console) -> int:
    from ..sweep.run import run_plan
    from ..sweep.sheet_files import draw

    out, started = Path(options.out), time.perf_counter()
    executor, places = executor_for(plan, options)
    _check_begun_here(out)
    report = _Report(plan, cells, out, places, console)
    try:
        progress = run_plan(
            plan,
            out,
            executor,
            resume=options.resume,
            cells=cells,
            on_start=report.start,
            on_record=report.record,
        )
    except KeyboardInterrupt:
        console.result({**report.facts(), "stopped": True, "folder": str(out)})
        console.note(f"What is finished is whole. `svd sweep {options.plan} --out {out} --resume` goes on.")
        raise
    finally:
        report.close()
    if progress.total > _MANY:
        console.note("Drawing the contact sheets.")
    pages, others = draw(out)
    seconds = time.perf_counter() - started
    told = {"seconds": round(seconds, 3), "folder": str(out), "sheets": [str(path) for path in (*pages, *others)]}
    console.result({**report.facts(), **told})
    console.say(f"{progress.made} made, {progress.kept} kept, {progress.failed} failed in {seconds:.0f} s: {out}")
    if progress.failed:
        remedy = f"`svd sweep {options.plan} --out {out} --resume` tries them again."
        raise SvdError(f"{progress.failed} of {progress.total} cells failed; the others are whole. {remedy}")
    return 0


def _check_begun_here(out: Path) -> None:
    """A server knows its cells by what is in its model files, and from here they count by their names: no clip of its
    sweeps would be known again, and all would be made anew beside them.

    Raises:
        InputError: a server began the sweep in that folder.
    """
    from ..sweep.state import STATE

    if (out / STATE).is_file():
        remedy = "Resume it in the Sweeps tab, or name another folder and have every clip made."
        raise InputError(explain("a folder this command began", f"{out}, begun by a ComfyUI server", remedy))


class _Report:
    """What a person sees while a sweep runs, and a program at its end."""

    def __init__(self, plan: Plan, cells: Sequence[Cell], out: Path, places: list[str], console: Console) -> None:
        self._plan, self._cells, self._out, self._places = plan, cells, out, places
        self._console = console
        self._progress: Progress | None = None
        self._estimate: dict[str, Any] = {}
        self._failures: list[dict[str, Any]] = []
        self._bar: Any = None

    def start(self, progress: Progress) -> None:
        """How much there is to do, before any of it is done."""
        from ..sweep.estimate import estimate

        self._progress = progress
        told = estimate(self._plan, self._out, cells=self._cells, workers=len(self._places))
        self._estimate = told.to_json()
        before = f", {progress.kept} finished before" if progress.kept else ""
        self._console.say(f"{told.words()}{before}, on {', '.join(self._places)}")
        self._warn_of_room(told.bytes)
        self._bar = self._console.progress(progress.left, self._plan.name)

    def record(self, progress: Progress, record: Record) -> None:
        """A cell is finished or failed."""
        self._bar.update()
        if record.status == "failed":
            self._failures.append({"index": record.index, "values": dict(record.values), "error": record.error})
            self._console.note(f"cell {record.index} ({_values(record)}) failed: {record.error}")
        if progress.made == 1 and progress.left and self._estimate.get("seconds") is None:
            self._now_known()

    def facts(self) -> dict[str, Any]:
        """For a program."""
        counts = self._progress
        if counts is None:
            return {}
        told = {"made": counts.made, "kept": counts.kept, "failed": counts.failed, "left": counts.left}
        return {**told, "failures": self._failures, "estimate": self._estimate}

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _now_known(self) -> None:
        from ..sweep.estimate import estimate

        told = estimate(self._plan, self._out, cells=self._cells, workers=len(self._places))
        self._estimate = told.to_json()
        self._console.note(f"By the first clip: {told.words()} to go.")
        self._warn_of_room(told.bytes)

    def _warn_of_room(self, needed: int | None) -> None:
        from ..sweep.estimate import room

        free = shutil.disk_usage(self._out).free
        if needed is not None and needed > free:
            self._console.note(f"The disk of {self._out} has {room(free)} free, the clips need {room(needed)}.")


def _check_files(plan: Plan, template: AnimateTemplate, console: Console) -> None:
    """A missing file costs the cells that need it; one that all cells need is refused at once."""
    from ..sweep.contents import file_of

    for name, value in template.settings.items():
        for one in value if isinstance(value, list) else [value]:
            found = file_of(name, one, plan.folder)
            if found is not None and not found[0].exists():
                raise InputError(explain(f"{name} at {found[0]}", "no such file", "Correct the plan."))
    for axis in plan.axes:
        files = [file_of(axis.name, value, plan.folder) for value in axis.values]
        missing = [str(found[0]) for found in files if found is not None and not found[0].exists()]
        if missing:
            more = f" and {len(missing) - _MISSING_NAMED} more" if len(missing) > _MISSING_NAMED else ""
            named = ", ".join(missing[:_MISSING_NAMED])
            console.note(f"No such files on the axis {axis.name}: {named}{more}. Their cells will fail.")


def _list_cells(plan: Plan, cells: Sequence[Cell], options: argparse.Namespace, console: Console) -> int:
    from ..sweep.estimate import estimate

    workers = len(options.host or options.device or [""])
    told = estimate(plan, Path(options.out), cells=cells, workers=workers)
    listed = [{"index": cell.index, "cell": cell.key, "name": cell.name, "values": dict(cell.values)} for cell in cells]
    console.result({**told.to_json(), "cells": listed})
    for cell in cells[:_LISTED]:
        console.say(f"{cell.index:6d}  {cell.name}")
    if len(cells) > _LISTED:
        console.say(f"   ... and {len(cells) - _LISTED} more")
    console.say(told.words())
    for note in told.notes:
        console.note(note)
    return 0


def _devices() -> list[str]:
    """Every GPU, or the CPU."""
    import torch

    count = torch.cuda.device_count()
    if count:
        return [f"cuda:{index}" for index in range(count)]
    return ["mps" if torch.backends.mps.is_available() else "cpu"]


def _values(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in record.values.items())
