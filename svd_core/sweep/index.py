"""Where every cell of a sweep stands, kept up to date by what is added to its manifest and never read twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import InputError, choose_from
from .cells import Cell
from .manifest import Record, parse_record

Status = Literal["waiting", "running", "done", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
METRICS = ("motion", "camera_error", "flicker", "colour_drift", "sharpness")


@dataclass(slots=True)
class Row:
    """A cell and what is known of it; `prompt_id` while a host has it.

    `blocked`: a sentence on why its clip could not be kept though nothing is wrong with the cell, until it is told on.
    """

    cell: Cell
    status: Status = "waiting"
    record: Record | None = None
    prompt_id: str | None = None
    blocked: str | None = None

    def metric(self, name: str) -> float | None:
        """A number measured on its clip, None where there is none or it is not finite, which no JSON holds."""
        track = self.record.track if self.record is not None and self.status == "done" else None
        value: Any = (track or {}).get(name)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


class Index:
    """Rows in the plan's order, by key, and counted."""

    def __init__(self, cells: Sequence[Cell], manifest: Path, failures_from: int = 0) -> None:
        self.rows = [Row(cell) for cell in cells]
        self.by_key = {row.cell.key: row for row in self.rows}
        self.counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
        self.counts["waiting"] = len(self.rows)
        self._manifest = manifest
        self._failures_from = failures_from
        self._read = 0

    def put(self, row: Row, status: Status, prompt_id: str | None = None) -> bool:
        """Move a row; True if anything changed."""
        changed = (row.status, row.prompt_id) != (status, prompt_id)
        self.counts[row.status] -= 1
        self.counts[status] += 1
        row.status, row.prompt_id = status, prompt_id
        return changed

    def refresh(self) -> list[Row]:
        """Take in what was added to the manifest since; the rows it is about.

        A manifest that has become shorter was exchanged, and is read from its beginning.
        """
        try:
            stream = self._manifest.open("rb")
        except OSError:
            return []
        changed: dict[str, Row] = {}
        with stream:
            if stream.seek(0, 2) < self._read:
                self._read = 0
            stream.seek(self._read)
            for line in stream:
                if not line.endswith(b"\n"):
                    # Somebody is in the middle of it, or was killed there: the next line starts on its own.
                    break
                place, self._read = self._read, self._read + len(line)
                record = parse_record(line)
                row = None if record is None else self.by_key.get(record.cell)
                if record is not None and row is not None:
                    self._take(row, record, place)
                    changed[record.cell] = row
        return list(changed.values())

    def forgive(self, end: int) -> list[Row]:
        """Let every failed cell wait again; failures before byte `end` of the manifest no longer count."""
        self._failures_from = end
        failed = [row for row in self.rows if row.status == "failed"]
        for row in failed:
            self.put(row, "waiting")
        return failed

    @property
    def read(self) -> int:
        """Bytes of the manifest taken in."""
        return self._read

    def select(self, status: str, sort: str, stars: Iterable[str]) -> Sequence[Row]:
        """Rows of a status ("" for all) by `index`, `starred` (those first) or a metric, `-` in front for descending.

        Rows without the metric come last.

        Raises:
            InputError: no such status or order.
        """
        if status and status not in STATUSES:
            raise InputError(choose_from("status", status, STATUSES))
        rows = [row for row in self.rows if row.status == status] if status else self.rows
        if sort in ("", "index"):
            return rows
        name, sign = sort.removeprefix("-"), -1.0 if sort.startswith("-") else 1.0
        if name == "starred":
            marked = set(stars)
            return sorted(rows, key=lambda row: (row.cell.key not in marked, row.cell.index))
        if name not in METRICS:
            raise InputError(choose_from("sort", sort, ("index", "starred", *METRICS)))

        def place(row: Row) -> tuple[bool, float, int]:
            value = row.metric(name)
            return (value is None, sign * (value or 0.0), row.cell.index)

        return sorted(rows, key=place)

    def present(self) -> list[str]:
        """Metrics at least one row has."""
        return [name for name in METRICS if any(row.metric(name) is not None for row in self.rows)]

    def _take(self, row: Row, record: Record, place: int) -> None:
        if record.status == "failed" and place < self._failures_from:
            return
        row.record = record
        self.put(row, record.status)
