"""Which cell stands where on a contact sheet: one axis down, one across, the others turn the pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..errors import InputError, choose_from, explain
from .axes import Axis, Value
from .manifest import Record

# Beyond this a sheet has pages.
_MOST_ROWS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A grid of records with their labels (of rows: one line an axis); None is a cell that has not been made.

    `wanted`: which of those will be; None stands for all. A plan that is no full grid leaves places free.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Record | None, ...], ...]
    wanted: tuple[tuple[bool, ...], ...] | None = None

    def missing(self, row: int, column: int) -> bool:
        """Whether a cell is still to come."""
        return self.cells[row][column] is None and (self.wanted is None or self.wanted[row][column])


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
            leads = {axis.name: axis.leads for axis in axes}
            columns = min(free, key=lambda name: (leads[name], -lengths[name]))
        down = [name for name in free if name != columns]
        if rows is not None:
            return Layout(rows=(rows,), columns=columns)
        if math.prod(lengths[name] for name in down) > _MOST_ROWS:
            down = down[-1:]
        return Layout(rows=tuple(down), columns=columns)


def pages(
    axes: Sequence[Axis], records: Iterable[Record], layout: Layout, wanted: Iterable[Mapping[str, Any]] | None = None
) -> Iterator[Page]:
    """One grid a combination of the axes that neither run down nor across; grids without any record are skipped.

    `wanted`: the values of the cells that the plan has; None for every combination.
    """
    placed = {_place(axes, record.values): record for record in records}
    planned = None if wanted is None else {_place(axes, values) for values in wanted}
    down = list(_combinations(axes, layout.rows))
    across = list(_combinations(axes, () if layout.columns is None else (layout.columns,)))
    used = (*layout.rows, layout.columns)
    for fixed in _combinations(axes, [axis.name for axis in axes if axis.name not in used]):
        places = [[_place(axes, {**fixed, **row, **column}) for column in across] for row in down]
        cells = tuple(tuple(placed.get(place) for place in line) for line in places)
        if any(cell is not None for line in cells for cell in line):
            yield Page(
                title=_told(axes, fixed, ", "),
                rows=tuple(_told(axes, row, "\n") for row in down),
                columns=tuple(_told(axes, column, ", ") for column in across),
                cells=cells,
                wanted=None if planned is None else tuple(tuple(place in planned for place in line) for line in places),
            )


def listed(axes: Sequence[Axis], records: Iterable[Record], wanted: Iterable[Mapping[str, Any]]) -> Iterator[Page]:
    """One cell a row, for plans of which a grid would be mostly free places: values side by side, or drawn."""
    placed = {_place(axes, record.values): record for record in records}
    rows = [(_told(axes, values, "\n"), placed.get(_place(axes, values))) for values in wanted]
    for start in range(0, len(rows), _MOST_ROWS):
        part = rows[start : start + _MOST_ROWS]
        yield Page(
            title="",
            rows=tuple(told for told, _ in part),
            columns=("",),
            cells=tuple((record,) for _, record in part),
        )


def sparse(axes: Sequence[Axis], cells: int) -> bool:
    """Whether a grid of the axes would be mostly free places."""
    return cells * 2 < math.prod(len(axis.values) for axis in axes)


def axes_of(records: Sequence[Record]) -> tuple[Axis, ...]:
    """The axes as the records themselves tell them, values in the order they were first seen."""
    found: dict[str, dict[Any, None]] = {}
    for record in sorted(records, key=lambda record: record.index):
        for name, value in record.values.items():
            found.setdefault(name, {})[value] = None
    return tuple(Axis(name, tuple(values)) for name, values in found.items())


def _combinations(axes: Sequence[Axis], names: Sequence[str]) -> Iterator[dict[str, Value]]:
    """Every combination of the values of some axes, the last one fastest."""
    values = {axis.name: axis.values for axis in axes}
    return (dict(zip(names, chosen, strict=True)) for chosen in product(*(values[name] for name in names)))


def _told(axes: Sequence[Axis], chosen: Mapping[str, Value], between: str) -> str:
    """The labels of what varies."""
    varying = {axis.name: axis for axis in axes if len(axis.values) > 1}
    return between.join(varying[name].told(value) for name, value in chosen.items() if name in varying)


def _place(axes: Sequence[Axis], values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((type(values.get(axis.name)), values.get(axis.name)) for axis in axes)
