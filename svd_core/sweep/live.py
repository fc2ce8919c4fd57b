"""One sweep as a server works on it: its rows, what the artist wants of it, and the clips that come in.

Truth is in the folder. Whatever stands here can be read from there again, so a server that is killed loses nothing.
Not safe for several threads at once: the collection of sweeps holds a lock around every call.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError, OutputError, SvdError, explain
from .cells import Cell, cells_of
from .contents import Locate
from .folder import CELLS, PLAN, SweepFolder, marked_name, open_folder, sidecar
from .index import Index, Row
from .manifest import FILE_NAME
from .plan import GraphTemplate, load_plan
from .state import STATE, Wish, read_graph, read_stars, read_state, write_stars, write_state

# Windows says "not found" of a share whose server does not answer, too.
_SHARE_AWAY = (53, 67)

Standing = Literal["running", "paused", "cancelled", "finished", "stopped"]


class Sweep:
    """The sweep in a folder that has a plan of kind graph; `locate` knows the files its words name on the host.

    Raises:
        InputError, FileFormatError: no plan, or one that cannot be read.
    """

    def __init__(self, path: Path, locate: Locate | None = None) -> None:
        self.path = path
        self.plan = load_plan(path / PLAN)
        if not isinstance(self.plan.template, GraphTemplate):
            remedy = "Go on with `svd sweep --resume`."
            raise InputError(explain(f"a sweep queued from a graph in {path}", "one of the command line", remedy))
        self.template = self.plan.template
        self.graph = read_graph(path)
        self.state = read_state(path)
        self.stars = read_stars(path)
        self.index = Index(cells_of(self.plan, locate), path / FILE_NAME, self.state.failures_from)
        self.index.refresh()
        # Prompts at the host, and finished clips being measured: what must end before the folder is let go.
        self.busy = 0
        self._held: ExitStack | None = None
        self._folder = SweepFolder(path)
        self._waiting: deque[Row] = deque()

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def held(self) -> bool:
        """Whether this server works in the folder."""
        return self._held is not None

    @property
    def gone(self) -> bool:
        """Whether somebody deleted the folder: what were written now would bring back a ruin of it.

        Raises:
            OSError: as in `without_plan`.
        """
        return without_plan(self.path)

    @property
    def standing(self) -> Standing:
        """What an artist is told."""
        counts = self.index.counts
        if not counts["waiting"] and not counts["running"]:
            return "finished"
        if self.state.wish != "running":
            return self.state.wish
        return "running" if self.held else "stopped"

    @property
    def changed(self) -> float:
        """When anything was last written, in seconds since 1970."""
        return max((time for time, _ in file_stamp(self.path)), default=0.0)

    def take(self) -> None:
        """Begin or go on: nobody else may work in the folder from now on, and every cell without a clip waits.

        Raises:
            InputError: another program works in it, or it cannot be written.
            OutputError: the disk is full.
        """
        if self._held is None:
            with ExitStack() as stack:
                stack.enter_context(open_folder(self.path, resume=True))
                self.index.refresh()
                self._find_clips()
                self._held = stack.pop_all()
        self._waiting = deque(row for row in self.index.rows if row.status == "waiting" and row.prompt_id is None)

    def release(self) -> None:
        """Let the folder go."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def wants(self, wish: Wish, note: str | None = None) -> None:
        """Remember what the artist wants, on disk if that is possible."""
        self.state = replace(self.state, wish=wish, note=note)
        with suppress(SvdError, OSError):
            # A full disk or a folder out of reach is why it pauses; what the server knows till its end is enough then.
            if not self.gone:
                write_state(self.path, self.state)

    def retry(self) -> list[Row]:
        """Let the failed cells wait again."""
        rows = self.index.forgive(self.index.read)
        self.state = replace(self.state, failures_from=self.index.read)
        return rows

    def next_waiting(self) -> Row | None:
        """The next cell to be sent, None when there is none or nothing is wanted."""
        while self.state.wish == "running" and self._waiting:
            row = self._waiting.popleft()
            if row.status == "waiting" and row.prompt_id is None:
                return row
        return None

    def back(self, row: Row) -> None:
        """A cell that was sent waits again, before all others."""
        self.index.put(row, "waiting")
        self._waiting.appendleft(row)

    def target(self, cell: Cell, suffix: str) -> Path:
        """Where the clip of a cell goes; suffix "" is a folder of frames."""
        return self._folder.target(cell if suffix else _as_folder(cell), suffix)

    def finished(self, row: Row, clip: Path, settings: Mapping[str, Any]) -> None:
        """A clip is whole under its name: put it on record.

        Raises:
            InputError, OutputError: the record cannot be written.
        """
        self._folder.record(row.cell, clip, settings=settings)
        self.index.refresh()

    def measured(self, row: Row, seconds: float | None, track: Mapping[str, Any] | None) -> None:
        """What was found out about a finished clip since.

        Raises:
            InputError, OutputError: the record cannot be written.
        """
        if (clip := self.clip(row)) is None:
            return
        settings: dict[str, Any] = {}
        with suppress(OSError, ValueError, AttributeError):
            settings = json.loads(sidecar(clip).read_text(encoding="utf-8")).get("settings") or {}
        self._folder.record(row.cell, clip, settings=settings, seconds=seconds, track=track)
        self.index.refresh()

    def failed(self, row: Row, error: str, seconds: float | None = None) -> None:
        """Put on record why a cell has no clip.

        Raises:
            InputError, OutputError: the record cannot be written, or the folder is gone or out of reach.
        """
        try:
            gone = self.gone
        except OSError as problem:
            raise out_of_reach(self.id, problem) from problem
        if gone:
            raise InputError(explain(f"the folder of sweep {self.id}", "none", "Queue the sweep again."))
        self._folder.fail(row.cell, error, seconds)
        self.index.refresh()

    def clip(self, row: Row) -> Path | None:
        """The finished clip of a cell, if it is still there."""
        record = row.record
        if row.status != "done" or record is None or record.file is None:
            return None
        clip = self.path / record.file
        # A record somebody wrote by hand must not lead elsewhere.
        inside = ".." not in Path(record.file).parts and not Path(record.file).anchor
        return clip if inside and clip.exists() else None

    def star(self, key: str, starred: bool) -> list[str]:
        """Mark a cell or take the mark away; all marks.

        Raises:
            InputError, OutputError: it cannot be written.
        """
        stars = [star for star in self.stars if star != key] + ([key] if starred else [])
        write_stars(self.path, stars)
        self.stars = stars
        return stars

    def _find_clips(self) -> None:
        """Clips a killed server left unrecorded are put on record, and records whose clips are gone are void."""
        done = self._folder.finished(list(self._made()))
        self.index.refresh()
        for row in self.index.rows:
            if row.status == "done" and row.cell.key not in done:
                self.index.put(row, "waiting")

    def _made(self) -> Iterator[Cell]:
        """Cells on record as done, and those with something under their name; one look at the folder for all."""
        present: set[str] = set()
        with suppress(OSError), os.scandir(self.path / CELLS) as entries:
            for entry in entries:
                present |= {entry.name, entry.name.rpartition(".")[0]}
        for row in self.index.rows:
            cells = (row.cell, _as_folder(row.cell))
            there = (cell for cell in cells if present & {cell.name, marked_name(cell)})
            cell = next(there, row.cell if row.status == "done" else None)
            if cell is not None:
                yield cell


def without_plan(folder: Path) -> bool:
    """Whether a folder has no plan (any more), or is none.

    Raises:
        OSError: that cannot be seen: no permission, a share that does not answer. It says nothing about the plan.
    """
    try:
        (folder / PLAN).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if getattr(error, "winerror", None) in _SHARE_AWAY:
            raise
        return True
    return False


def out_of_reach(name: str, error: OSError) -> OutputError:
    """The sentence for a sweep whose folder cannot be looked at."""
    remedy = "Its clips wait: resume it when the folder can be read again."
    return OutputError(explain(f"the folder of sweep {name}", error.strerror or str(error), remedy))


def file_stamp(folder: Path) -> tuple[tuple[float, int], ...]:
    """Times and sizes of what a sweep keeps on disk; another stamp means that something has changed."""
    stamp: list[tuple[float, int]] = []
    for name in (FILE_NAME, STATE, PLAN):
        with suppress(OSError):
            told = (folder / name).stat()
            stamp.append((told.st_mtime, told.st_size))
    return tuple(stamp)


def _as_folder(cell: Cell) -> Cell:
    """A folder of frames must not look like a file of some format."""
    return replace(cell, name=cell.name.replace(".", "_"))
