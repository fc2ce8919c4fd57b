"""A sweep's folder: the plan, the manifest, one clip and one sidecar a cell; one sweep at a time works in it.

A clip carries the key of its cell in its own metadata. So whatever moment a run is killed at, the next one knows a
finished clip when it sees it, and leaves it alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import FileFormatError, InputError, SvdError, explain
from ..video_io.atomic import atomic_file, output_error
from .cells import Cell
from .hash_store import file_hash
from .manifest import FILE_NAME, Manifest, Record

PLAN = "plan.json"
CELLS = "cells"
CLIP_ENDINGS = (".mp4", ".webm", ".mkv", ".gif", ".webp", ".png")
_LOCK = ".lock"
_LONGEST_KEY_MARK = 8


class SweepFolder:
    """The folder of one sweep, as opened by `open_folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = Manifest(path / FILE_NAME)

    def target(self, cell: Cell, suffix: str | None) -> Path:
        """Where the clip of a cell goes; suffix "" is a folder of PNG frames, None a format not known yet.

        A name taken by the clip of another cell (an edited plan) gets the cell's key behind it.
        """
        taken = any(_key_inside(clip) != cell.key for clip in self._lying(cell))
        name = marked_name(cell) if taken else cell.name
        return self.path / CELLS / f"{name}{suffix or ''}"

    def finished(self, cells: Sequence[Cell]) -> dict[str, Record]:
        """Records of the cells that are done and whose clips are there, clips a crash left unrecorded among them."""
        known = self.manifest.latest()
        done: dict[str, Record] = {}
        for cell in cells:
            record = known.get(cell.key)
            if record is not None and record.status == "done" and record.file and (self.path / record.file).exists():
                done[cell.key] = record
                continue
            clip = next((clip for clip in self._lying(cell) if _key_inside(clip) == cell.key), None)
            if clip is not None:
                done[cell.key] = self.record(cell, clip)
        return done

    def _lying(self, cell: Cell) -> list[Path]:
        """Clips under the names a cell can have, of any format, since two formats of a name share one sidecar."""
        names = (cell.name, marked_name(cell))
        places = (self.path / CELLS / f"{name}{ending}" for name in names for ending in (*CLIP_ENDINGS, ""))
        return [path for path in places if path.exists()]

    def record(
        self,
        cell: Cell,
        clip: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        track: Mapping[str, Any] | None = None,
    ) -> Record:
        """Write the sidecar of a finished clip, then its line in the manifest.

        Raises:
            FileFormatError: the clip cannot be read back.
            InputError, OutputError: the record cannot be written.
        """
        record = Record(
            cell=cell.key,
            index=cell.index,
            status="done",
            values=cell.values,
            file=clip.relative_to(self.path).as_posix(),
            sha256=_clip_hash(clip),
            seconds=seconds,
            track=track,
        )
        known = settings if settings is not None else _metadata(clip)
        write_json(sidecar(clip), {**asdict(record), "settings": dict(known)})
        self.manifest.append(record)
        return record

    def fail(self, cell: Cell, error: str, seconds: float | None = None) -> Record:
        """Write down why a cell has no clip."""
        record = Record(
            cell=cell.key, index=cell.index, status="failed", values=cell.values, error=error, seconds=seconds
        )
        self.manifest.append(record)
        return record

    def remember(self, document: Mapping[str, Any]) -> bool:
        """Keep the plan beside its clips; an earlier, different one is kept as plan-1.json, ... True if it changed."""
        path = self.path / PLAN
        if not path.exists():
            write_json(path, document)
            return False
        try:
            same = json.loads(path.read_text(encoding="utf-8")) == document
        except ValueError:
            same = False
        if not same:
            number = 1
            while (kept := self.path / f"plan-{number}.json").exists():
                number += 1
            path.replace(kept)
            write_json(path, document)
        return not same


@contextmanager
def open_folder(path: Path, *, resume: bool) -> Generator[SweepFolder, None, None]:
    """The folder for a run, locked against a second one until the run ends, however it ends.

    Raises:
        InputError: another sweep works in it, it holds something and `resume` is off, or it cannot be written.
        OutputError: the disk is full.
    """
    if not resume and path.exists() and (not path.is_dir() or any(entry.name != _LOCK for entry in path.iterdir())):
        remedy = "Add --resume to go on with the sweep in it, or name another folder."
        raise InputError(explain("a new or empty folder for the sweep", f"{path} with files in it", remedy))
    try:
        (path / CELLS).mkdir(parents=True, exist_ok=True)
        # A server takes it in one thread and gives it back in another.
        lock = FileLock(path / _LOCK, thread_local=False)
        lock.acquire(timeout=0)
    except Timeout as error:
        remedy = "Wait for it, stop it, or name another folder."
        raise InputError(explain(f"a folder no other sweep works in at {path}", "one at work", remedy)) from error
    except OSError as error:
        raise output_error(path, error) from error
    try:
        _sweep_up(path / CELLS)
        yield SweepFolder(path)
    finally:
        lock.release()


def marked_name(cell: Cell) -> str:
    """What the clip of a cell is called where its name was taken by another's."""
    return f"{cell.name}-{cell.key[:_LONGEST_KEY_MARK]}"


def sidecar(clip: Path) -> Path:
    """The JSON beside a clip."""
    return clip.with_name(f"{clip.name}.json") if clip.is_dir() else clip.with_suffix(".json")


def _clip_hash(clip: Path) -> str:
    """SHA-256 of a file, or of the names and hashes of a folder's frames."""
    try:
        if not clip.is_dir():
            return file_hash(clip)
        digest = hashlib.sha256()
        for frame in sorted(clip.iterdir()):
            digest.update(f"{frame.name}:{file_hash(frame)};".encode())
        return digest.hexdigest()
    except OSError as error:
        found = error.strerror or str(error)
        raise FileFormatError(explain(f"the clip just made at {clip}", found, "Make the cell again.")) from error


def _sweep_up(cells: Path) -> None:
    """Remove what a killed run was in the middle of writing; nobody else writes here while the lock is held."""
    for rest in cells.glob(".*.part"):
        if rest.is_dir():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            # Windows keeps what a virus scanner still reads; the next run takes it.
            with suppress(OSError):
                rest.unlink()


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """JSON with two spaces of indent, whole or not at all, into a folder that is there: a deleted one stays deleted."""
    with atomic_file(path, folders=False) as temporary:
        temporary.write_text(json.dumps(tree, indent=2, default=str) + "\n", encoding="utf-8")


def _key_inside(clip: Path) -> str | None:
    """The cell a clip says it is, or its sidecar where the clip came from a host that knows no cells."""
    key = _metadata(clip).get("cell")
    if key is None:
        with suppress(OSError, ValueError):
            key = json.loads(sidecar(clip).read_text(encoding="utf-8")).get("cell")
    return key if isinstance(key, str) else None


def _metadata(clip: Path) -> Mapping[str, Any]:
    from ..video_io import read_metadata

    try:
        return read_metadata(clip)
    except SvdError:
        return {}
