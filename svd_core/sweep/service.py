"""All sweeps of a server: found on disk, started, stopped, told about, and fed to the host by a thread of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OutputError, SvdError, explain
from .cells import cells_of, read_files
from .contents import Locate
from .entries import Find
from .estimate import estimate
from .feeder import Feeder, Host
from .folder import CELLS, PLAN, open_folder
from .graph import GraphError, GraphSweep, Prompt, graph_sweep
from .host_api import HostGone
from .identity import another_plan, folder_name, same_plan
from .index import Row
from .live import Sweep, file_stamp, without_plan
from .measurer import Measurer
from .plan import load_plan
from .rows import axes, brief, detail, row_document
from .state import STATE, GraphFacts, State, write_graph, write_state

if TYPE_CHECKING:
    from ..camera.stack import CameraStack

_PAUSE = 0.5
# In a row, before the sweeps are paused.
_TROUBLES = 10
_MOST_IDLE = 8
# What is left where a disk was full before the plan was written.
_BARE = (".lock", CELLS)
_log = logging.getLogger(__name__)


Write = Callable[[Path, Mapping[str, Any]], Mapping[str, Any]]
"""Writes a clip under a name, with some facts in it beside the graph's own values; returns all that it put inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a server is to its sweeps: where they lie, where pictures lie, who renders, what files there are.

    `cameras`: a camera in words to its moves; `files`: what a word of a graph names in the model folders; `tell`: an
    event for every page.
    """

    root: Callable[[], Path]
    pictures: Callable[[], Path]
    host: Callable[[], Host]
    find: Find
    cameras: Callable[[str], CameraStack]
    files: Locate
    tell: Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class Sweeps:
    """The collection; every method may be called from any thread but the one that serves the host's requests."""

    around: Surroundings
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _open: dict[str, Sweep] = field(default_factory=dict[str, Sweep])
    _briefs: dict[str, tuple[object, dict[str, Any]]] = field(default_factory=dict[str, tuple[object, dict[str, Any]]])
    _feeder: Feeder | None = None
    _thread: threading.Thread | None = None
    _wake: threading.Event = field(default_factory=threading.Event)
    _measurer: Measurer | None = None

    def estimate(self, prompt: Prompt, plan_node: str) -> dict[str, Any]:
        """What starting would mean.

        Raises:
            GraphError: the graph cannot be swept.
        """
        planned = self._planned(prompt, plan_node)
        path = self.around.root() / folder_name(planned.plan.name)
        known = load_plan(path / PLAN) if (path / PLAN).is_file() else None
        told = estimate(planned.plan, path if known else None, cells=cells_of(planned.plan, self.around.files))
        return {
            "cells": told.total,
            "done": told.total - told.clips,
            "axes": axes(planned.plan),
            "seconds": told.seconds,
            "bytes": told.bytes,
            "folder": str(path),
            "exists": path.exists(),
            "resumable": known is not None and same_plan(known, planned.plan),
            "notes": [*planned.notes, *told.notes],
        }

    def start(self, prompt: Prompt, workflow: Mapping[str, Any], plan_node: str, client: str | None) -> dict[str, Any]:
        """Begin a sweep, or go on with the same plan in the same folder: finished cells stay, failed ones get a chance.

        Raises:
            GraphError: the graph cannot be swept.
            InputError: the folder belongs to another plan or another program, or cannot be written.
            OutputError: the disk is full.
        """
        planned = self._planned(prompt, plan_node)
        root = self.around.root()
        path = root / folder_name(planned.plan.name)
        facts = GraphFacts(cells=planned.cells, save=planned.save, plan_node=plan_node, workflow=workflow)
        # A checkpoint takes a while the first time, and nobody else should wait for it.
        read_files(planned.plan, self.around.files)
        with self._lock:
            if (path / PLAN).is_file():
                known = load_plan(path / PLAN)
                if not same_plan(known, planned.plan):
                    raise GraphError(another_plan(path, known, planned.plan), plan_node)
            elif path.exists() and any(entry.name not in _BARE for entry in path.iterdir()):
                remedy = "Give the plan another name."
                raise InputError(explain("a new folder for the sweep", f"{path} with files in it", remedy))
            elif path.name in self._open and self._open[path.name].held:
                remedy = "Wait until its last clip has ended, or give the plan another name."
                raise InputError(explain("a new folder for the sweep", "one deleted while it was worked in", remedy))
            if path.name not in self._open or not self._open[path.name].held:
                with open_folder(path, resume=True) as folder:
                    folder.remember(planned.plan.document())
                    write_graph(path, facts)
                    if not (path / STATE).is_file():
                        write_state(path, State())
                self._open.pop(path.name, None)
            sweep = self._sweep(path.name)
            sweep.graph = facts
            sweep.retry()
            return self._go_on(sweep, client)

    def listed(self) -> list[dict[str, Any]]:
        """Every sweep in short, the one last changed first."""
        told: list[dict[str, Any]] = []
        for name in self._names():
            with self._lock:
                try:
                    told.append(self._brief(name))
                except (SvdError, OSError) as error:
                    # One of the command line, or damaged: it must not hide the others.
                    _log.debug("%s: %s", name, error)
        return sorted(told, key=lambda sweep: -sweep["changed"])

    def _brief(self, name: str) -> dict[str, Any]:
        """Of a sweep that is not open, what was told last, unless its files have changed since."""
        stamp = file_stamp(self.around.root() / name)
        known = self._briefs.get(name)
        if name in self._open or known is None or known[0] != stamp:
            known = self._briefs[name] = stamp, brief(self._sweep(name))
        return known[1]

    def detail(self, name: str) -> dict[str, Any]:
        """One sweep.

        Raises:
            InputError: there is none of that name.
        """
        with self._sweep_of(name) as sweep:
            return detail(sweep)

    def cells(self, name: str, offset: int, limit: int, sort: str, status: str) -> dict[str, Any]:
        """Some rows of a sweep.

        Raises:
            InputError: no such sweep, order or status.
        """
        with self._sweep_of(name) as sweep:
            rows = sweep.index.select(status, sort, sweep.stars)
            wanted = rows[max(0, offset) : max(0, offset) + max(0, limit)]
            return {"total": len(rows), "cells": [row_document(sweep, row) for row in wanted]}

    def act(self, name: str, verb: str, client: str | None) -> dict[str, Any]:
        """pause, resume, cancel (the rest) or retry (what failed).

        Raises:
            InputError: no such sweep, or a folder that cannot be worked in.
            OutputError: the disk is full.
        """
        with self._sweep_of(name) as sweep:
            if verb in ("pause", "cancel"):
                sweep.wants("paused" if verb == "pause" else "cancelled")
                self._changed(sweep, None)
                self._wake.set()
                return detail(sweep)
            if not sweep.held:
                # Read anew: a picture that was exchanged meanwhile makes another cell.
                self._open.pop(name)
                sweep = self._sweep(name)
            if verb == "retry":
                for row in sweep.retry():
                    self._changed(sweep, row)
            return self._go_on(sweep, client)

    def star(self, name: str, key: str, starred: bool) -> list[str]:
        """Mark a cell, or take the mark away.

        Raises:
            InputError: no such cell, or the mark cannot be kept.
        """
        with self._row_of(name, key) as (sweep, row):
            stars = sweep.star(key, starred)
            self._changed(sweep, row)
            return stars

    def values(self, name: str, key: str) -> dict[str, Any]:
        """What to set in the graph to get one cell.

        Raises:
            InputError: no such cell.
        """
        with self._row_of(name, key) as (sweep, row):
            index = row.cell.index
            nodes = [{"node": node, "input": "cell", "value": index} for node in sweep.graph.cells]
            return {"index": index, "nodes": nodes}

    def clip(self, name: str, key: str) -> Path:
        """The clip of a cell: a file, or a folder of frames.

        Raises:
            InputError: there is none (yet).
        """
        with self._row_of(name, key) as (sweep, row):
            clip = sweep.clip(row)
        if clip is None:
            raise InputError(explain("a finished clip", f"none of cell {key}", "Wait for it, or retry the cell."))
        return clip

    def file(self, name: str, file: str) -> Path:
        """The clip of this name in the folder of clips, as the links of a sheet say it.

        Raises:
            InputError: no finished cell has it.
        """
        with self._sweep_of(name) as sweep:
            rows = (row for row in sweep.index.rows if row.record and row.record.file == f"{CELLS}/{file}")
            clip = next(filter(None, map(sweep.clip, rows)), None)
        if clip is None:
            raise InputError(explain(f"a clip of sweep {name}", f"none called {file!r}", "Draw the sheet again."))
        return clip

    def thumbnail(self, name: str, key: str) -> Path:
        """The looping picture of a cell, made now if it was never made or the clip is newer.

        Raises:
            InputError: there is no clip (yet).
            SvdError: it cannot be read.
        """
        from .thumbnails import thumbnail

        return thumbnail(self.clip(name, key), key, self.path(name))

    def path(self, name: str) -> Path:
        """The folder of a sweep.

        Raises:
            InputError: there is none of that name.
        """
        with self._sweep_of(name) as sweep:
            return sweep.path

    def save(self, name: str, key: str, suffix: str, write: Write) -> Path:
        """Have the clip of a cell written into its place, and put it on record; a finished one is left as it is.

        Raises:
            InputError: the sweep is not being worked on here.
            SvdError: whatever `write` raises, or the record cannot be written.
        """
        with self._row_of(name, key) as (sweep, row):
            if not sweep.held:
                remedy = "Resume it in the sweep panel."
                raise InputError(explain(f"sweep {name} at work on this server", "one that is not", remedy))
            if (clip := sweep.clip(row)) is not None:
                return clip
            target = sweep.target(row.cell, suffix)
        written = False
        try:
            settings = write(target, {"cell": key, "sweep": name, "axes": dict(row.cell.values)})
            written = True
            with self._lock:
                sweep.finished(row, target, settings)
                self._changed(sweep, row)
        except SvdError as error:
            if written or isinstance(error, OutputError):
                # The disk's fault and not the cell's: it waits, and so do the others.
                row.blocked = str(error)
            raise
        return target

    def _planned(self, prompt: Prompt, plan_node: str) -> GraphSweep:
        return graph_sweep(prompt, plan_node, self.around.find, self.around.pictures())

    def _go_on(self, sweep: Sweep, client: str | None) -> dict[str, Any]:
        begins = not sweep.held
        sweep.take()
        sweep.wants("running")
        measurer = self._measurer = self._measurer or Measurer(self.around.cameras, self._measured)
        feeder = self._feeder or Feeder(self.around.host(), self._lock, self._changed, measurer.put)
        self._feeder = feeder
        if client:
            feeder.clients[sweep.id] = client
        feeder.add(sweep)
        # Those finished since it was taken are being measured already.
        for row in sweep.index.rows if begins else ():
            if row.status == "done" and row.record is not None and row.record.track is None:
                measurer.put(sweep, row, row.record.seconds)
        self._changed(sweep, None)
        self._wake.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, args=(feeder,), name="svd-studio-sweeps", daemon=True)
            self._thread.start()
        return detail(sweep)

    def _work(self, feeder: Feeder) -> None:
        """The feeder's thread; it ends when nothing is left to do, and `_go_on` starts another."""
        troubles = 0
        while True:
            self._wake.clear()
            try:
                more = feeder.tick()
            except HostGone as error:
                _log.debug("%s", error)
                more = True
            except Exception as error:
                # Once may pass (a folder that is just being deleted); what stays, the artist is told of.
                more, troubles = True, troubles + 1
                if troubles % _TROUBLES == 0:
                    _log.exception("sweeps are paused")
                    feeder.pause_all(f"Its clips could not be looked after: {error or type(error).__name__}")
            else:
                troubles = 0
            if not more:
                with self._lock:
                    if not feeder.sweeps:
                        self._thread = None
                        return
            self._wake.wait(_PAUSE)

    def _measured(self, sweep: Sweep, row: Row, seconds: float | None, track: Mapping[str, Any]) -> None:
        with self._lock:
            try:
                sweep.measured(row, seconds, track)
                self._changed(sweep, row)
            except (SvdError, OSError) as error:
                _log.warning("%s", error)
            finally:
                sweep.busy -= 1
        self._wake.set()

    def _changed(self, sweep: Sweep, row: Row | None) -> None:
        told = None if row is None else row_document(sweep, row)
        self.around.tell({"id": sweep.id, "state": sweep.standing, "counts": dict(sweep.index.counts), "cell": told})

    def _names(self) -> list[str]:
        """Folders with a plan below the root; anything else a page asks for is not there."""
        try:
            return [entry.name for entry in self.around.root().iterdir() if _may_be_one(entry)]
        except OSError:
            return []

    def _sweep(self, name: str) -> Sweep:
        sweep = self._open.pop(name, None) or Sweep(self.around.root() / name, self.around.files)
        # The one asked for last stands last; of the others only those at work are worth their memory.
        self._open[name] = sweep
        idle = [other for other, opened in self._open.items() if not opened.held and not opened.busy]
        for other in idle[:-_MOST_IDLE]:
            del self._open[other]
        sweep.index.refresh()
        return sweep

    @contextmanager
    def _sweep_of(self, name: str) -> Generator[Sweep]:
        with self._lock:
            if name not in self._names():
                if name in self._open and not self._open[name].held:
                    del self._open[name]
                raise InputError(explain("a sweep that is there", f"none called {name!r}", "Refresh the panel."))
            yield self._sweep(name)

    @contextmanager
    def _row_of(self, name: str, key: str) -> Generator[tuple[Sweep, Row]]:
        with self._sweep_of(name) as sweep:
            row = sweep.index.by_key.get(key)
            if row is None:
                raise InputError(explain(f"a cell of sweep {name}", f"none called {key!r}", "Refresh the panel."))
            yield sweep, row


def _may_be_one(folder: Path) -> bool:
    """Whether a sweep lies there; one that cannot be seen at the moment must hide no other."""
    try:
        return not without_plan(folder)
    except OSError:
        return True
