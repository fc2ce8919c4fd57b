"""The sweep's record on disk: one line of JSON a finished or failed cell, only ever added to.

The last line of a cell counts. A line that a crash cut short is passed over, and the next one starts on a line of its
own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from ..video_io.atomic import output_error

FILE_NAME = "manifest.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of a cell. `file` is relative to the sweep's folder; `sha256` is the file's; `error` a sentence.

    `track`: per-second camera motion and the clip report, when the clip was measured.
    """

    cell: str
    index: int
    status: Literal["done", "failed"]
    values: Mapping[str, Any]
    file: str | None = None
    sha256: str | None = None
    error: str | None = None
    seconds: float | None = None
    track: Mapping[str, Any] | None = None


class Manifest:
    """The file of records; one process writes it, anyone may read it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Record) -> None:
        """Add a line and see it onto the disk; on failure nothing of the line stays.

        Raises:
            OutputError: the disk is full or failed.
            InputError: the place allows no writing.
        """
        line = json.dumps(asdict(record), default=str).encode() + b"\n"
        try:
            with self.path.open("a+b") as stream:
                end = stream.seek(0, os.SEEK_END)
                if end and _byte_at(stream, end - 1) != b"\n":
                    line = b"\n" + line
                try:
                    stream.write(line)
                    stream.flush()
                    os.fsync(stream.fileno())
                except OSError:
                    with suppress(OSError):
                        stream.truncate(end)
                    raise
        except OSError as error:
            raise output_error(self.path, error) from error

    def records(self) -> Iterator[Record]:
        """Every readable line, oldest first; no file is no records."""
        try:
            stream = self.path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return
        with stream:
            for line in stream:
                record = parse_record(line)
                if record is not None:
                    yield record

    def latest(self) -> dict[str, Record]:
        """The last word on each cell, by key."""
        return {record.cell: record for record in self.records()}


def _byte_at(stream: BinaryIO, place: int) -> bytes:
    stream.seek(place)
    return stream.read(1)


def parse_record(line: bytes) -> Record | None:
    """What a line says, None for one that is no record."""
    try:
        tree = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(tree, dict):
        return None
    fields = cast("dict[str, Any]", tree)
    known = {name: fields[name] for name in Record.__dataclass_fields__ if name in fields}
    if not isinstance(known.get("cell"), str) or known.get("status") not in ("done", "failed"):
        return None
    if not isinstance(known.get("index"), int) or not isinstance(known.get("values"), dict):
        return None
    if not all(isinstance(known.get(name) or "", str) for name in ("file", "sha256", "error")):
        return None
    if not isinstance(known.get("seconds") or 0, int | float) or not isinstance(known.get("track") or {}, dict):
        return None
    return Record(**known)
