"""Which cell stands where on a contact sheet: one axis down, one across, the others turn the pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import InputError, choose_from, explain
from .axes import Axis, Value
from .manifest import Record
from .plan import LEADERS

# Beyond this a sheet has pages.
_MOST_ROWS = 60
_FILES = ("image", "model", "companion", "camera_lora")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A grid of records with their labels; None is a cell that has not been made."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Record | None, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Names of the axes that run down (the last one fastest) and of the one across; empty where there are too few."""

    rows: tuple[str, ...]
    columns: str | None

    @staticmethod
    def choose(axes: Sequence[Axis], rows: str | None = None, columns: str | None = None) -> Layout:
        """What was asked for, else the longest of the cheap axes (seeds, numbers) across and the others down.

        Where the others would make more rows than a sheet should have, only the last of them does.

        Raises:
            InputError: no such axis, or one name for both.
        """
        lengths = {axis.name: len(axis.values) for axis in axes}
        for wanted in (rows, columns):
            if wanted is not None and wanted not in lengths:
                raise InputError(choose_from("axis", wanted, lengths))
        if rows is not None and rows == columns:
            raise InputError(explain("different axes for rows and columns", f"{rows} for both", "Change one."))
        free = [name for name, length in lengths.items() if length > 1 and name not in (rows, columns)]
        if columns is None and free:
            columns = min(free, key=lambda name: (name in LEADERS, -lengths[name]))
        down = [name for name in free if name != columns]
        if rows is not None:
            return Layout(rows=(rows,), columns=columns)
        if math.prod(lengths[name] for name in down) > _MOST_ROWS:
            down = down[-1:]
        return Layout(rows=tuple(down), columns=columns)


def pages(axes: Sequence[Axis], records: Iterable[Record], layout: Layout) -> Iterator[Page]:
    """One grid a combination of the axes that neither run down nor across; grids without any record are skipped."""
    placed = {_place(axes, record.values): record for record in records}
    down = list(_combinations(axes, layout.rows))
    across = list(_combinations(axes, () if layout.columns is None else (layout.columns,)))
    used = (*layout.rows, layout.columns)
    for fixed in _combinations(axes, [axis.name for axis in axes if axis.name not in used]):
        cells = tuple(tuple(placed.get(_place(axes, {**fixed, **row, **column})) for column in across) for row in down)
        if any(cell is not None for line in cells for cell in line):
            yield Page(
                title=_told(axes, fixed),
                rows=tuple(_told(axes, row) for row in down),
                columns=tuple(_told(axes, column) for column in across),
                cells=cells,
            )


def axes_of(records: Sequence[Record]) -> tuple[Axis, ...]:
    """The axes as the records themselves tell them, values in the order they were first seen."""
    found: dict[str, dict[Any, None]] = {}
    for record in sorted(records, key=lambda record: record.index):
        for name, value in record.values.items():
            found.setdefault(name, {})[value] = None
    return tuple(Axis(name, tuple(values)) for name, values in found.items())


def label(name: str, value: Value) -> str:
    """`seed 3`, `hills`, `camera pan_right:8`."""
    if name in _FILES and isinstance(value, str):
        return Path(value).stem
    return f"{name.replace('_', ' ')} {value}"


def _combinations(axes: Sequence[Axis], names: Sequence[str]) -> Iterator[dict[str, Value]]:
    """Every combination of the values of some axes, the last one fastest."""
    values = {axis.name: axis.values for axis in axes}
    return (dict(zip(names, chosen, strict=True)) for chosen in product(*(values[name] for name in names)))


def _told(axes: Sequence[Axis], chosen: Mapping[str, Value]) -> str:
    """The labels of what varies."""
    varying = {axis.name for axis in axes if len(axis.values) > 1}
    return ", ".join(label(name, value) for name, value in chosen.items() if name in varying)


def _place(axes: Sequence[Axis], values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((type(values.get(axis.name)), values.get(axis.name)) for axis in axes)
