"""Contact sheets of a sweep, rebuilt from its manifest at any time: PNG pages, a moving webp, a web page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError, SvdError, explain
from ..video_io.atomic import atomic_file
from .axes import Axis
from .drawing import Heading, SheetStyle, draw_page, frames_shown
from .folder import PLAN
from .layout import Layout, Page, axes_of, listed, pages, sparse
from .manifest import FILE_NAME, Manifest, Record
from .plan import Plan, load_plan

__all__ = ["Sheet", "SheetStyle", "read_sheet", "write_moving", "write_png"]

_MOST_CELLS = 400
_MOVING_FRAMES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a folder's manifest and plan say of some axes, laid out; `title`: the plan's name."""

    folder: Path
    axes: tuple[Axis, ...]
    pages: tuple[Page, ...]
    title: str

    @property
    def records(self) -> list[Record]:
        """Of all pages, in reading order."""
        return [cell for page in self.pages for line in page.cells for cell in line if cell is not None]

    def told(self) -> str:
        """`44 clips, 3 failed, 1 to come`."""
        failed = sum(record.status == "failed" for record in self.records)
        missing = sum(
            page.missing(row, column)
            for page in self.pages
            for row in range(len(page.rows))
            for column in range(len(page.columns))
        )
        parts = [f"{len(self.records) - failed} clips"]
        parts += [f"{count} {word}" for count, word in ((failed, "failed"), (missing, "to come")) if count]
        return ", ".join(parts)

    def heading(self, number: int = 1) -> Heading:
        """Of a page, the first being 1."""
        place = f", page {number} of {len(self.pages)}" if len(self.pages) > 1 else ""
        return Heading(title=self.title, told=self.told() + place)


def read_sheet(folder: Path, *, rows: str | None = None, columns: str | None = None) -> Sheet:
    """The sweep in `folder` as pages; the plan, when it is there, adds the cells that are still missing.

    Raises:
        InputError: no sweep in the folder, nothing recorded yet, or no such axis.
    """
    records = list(Manifest(folder / FILE_NAME).latest().values())
    if not records:
        remedy = "Name the folder given to `svd sweep --out`, or wait for its first clip."
        raise InputError(explain(f"a sweep with finished cells in {folder}", "none", remedy))
    try:
        plan = load_plan(folder / PLAN)
    except SvdError:
        plan = None
    records = _of_one_kind(plan, records)
    axes = _axes(plan, records)
    wanted = _wanted(plan, axes, records)
    if wanted is not None and rows is None and columns is None and sparse(axes, len(wanted)):
        drawn = tuple(listed(axes, records, wanted))
    else:
        layout = Layout.choose(axes, rows, columns)
        drawn = tuple(part for page in pages(axes, records, layout, wanted) for part in _split(page))
    title = folder.resolve().name if plan is None else plan.name
    return Sheet(folder=folder, axes=axes, pages=drawn, title=title)


def write_png(sheet: Sheet, path: Path, style: SheetStyle) -> list[Path]:
    """A PNG a page: `sheet.png`, `sheet-2.png`, ...

    Raises:
        InputError, OutputError: it cannot be written.
    """
    written: list[Path] = []
    for number, page in enumerate(sheet.pages, start=1):
        target = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        drawn = draw_page(page, sheet.folder, style, heading=sheet.heading(number))
        with atomic_file(target) as temporary:
            drawn.save(temporary, format="PNG")
        written.append(target)
    _forget_pages(path, after=len(sheet.pages))
    return written


def write_moving(sheet: Sheet, path: Path, style: SheetStyle, milliseconds: int = 120) -> Path:
    """The first page as a looping webp in which every clip plays.

    Raises:
        InputError, OutputError: it cannot be written.
    """
    page = sheet.pages[0]
    single, heading = SheetStyle(height=style.height, strip=1), sheet.heading()
    shown = [record for line in page.cells for record in line if record is not None]
    clips = {record.cell: frames_shown(record, sheet.folder, style.height, _MOVING_FRAMES) for record in shown}
    longest = max((len(frames) for frames in clips.values()), default=1)
    moments = [
        draw_page(page, sheet.folder, single, {cell: [f[t % len(f)]] for cell, f in clips.items() if f}, heading)
        for t in range(max(1, longest))
    ]
    with atomic_file(path) as temporary:
        moments[0].save(
            temporary,
            format="WEBP",
            save_all=True,
            append_images=moments[1:],
            duration=milliseconds,
            loop=0,
            quality=75,
        )
    return path


def _of_one_kind(plan: Plan | None, records: Sequence[Record]) -> list[Record]:
    """Those with the axes of the plan, else with those of the last: clips of an edited plan may vary other things."""
    names = None if plan is None else {axis.name for axis in plan.axes}
    fitting = [record for record in records if set(record.values) == names]
    return fitting or [record for record in records if record.values.keys() == records[-1].values.keys()]


def _axes(plan: Plan | None, records: Sequence[Record]) -> tuple[Axis, ...]:
    told = axes_of(records)
    if plan is None or sorted(axis.name for axis in plan.axes) != sorted(axis.name for axis in told):
        return told
    # An edited plan may no longer know every value on record.
    known = {axis.name: axis.values for axis in told}
    return tuple(
        Axis(axis.name, tuple(dict.fromkeys((*axis.values, *known[axis.name]))), axis.kind) for axis in plan.axes
    )


def _wanted(plan: Plan | None, axes: Sequence[Axis], records: Sequence[Record]) -> list[dict[str, Any]] | None:
    """Values of all cells there are or will be; None where no plan that fits the record tells."""
    if plan is None or [axis.name for axis in axes] != [axis.name for axis in plan.axes]:
        return None
    recorded = ({axis.name: record.values[axis.name] for axis in axes} for record in records)
    # 1, 1.0 and True are different values of an axis.
    rows = {tuple((type(value), value) for value in row.values()): row for row in (*plan.rows(), *recorded)}
    return list(rows.values())


def _forget_pages(path: Path, after: int) -> None:
    """Remove the pages of a longer sheet drawn before."""
    number = max(after, 1) + 1
    while (old := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        # Another drawing may be at it too, or a viewer hold it open: the new pages are whole all the same.
        with suppress(OSError):
            old.unlink()
        number += 1


def _split(page: Page) -> Iterator[Page]:
    """Pages of at most so many cells: no viewer likes a picture of a hundred thousand pixels."""
    step = max(1, _MOST_CELLS // max(1, len(page.columns)))
    for start in range(0, len(page.rows), step):
        rows = slice(start, start + step)
        wanted = None if page.wanted is None else page.wanted[rows]
        yield replace(page, rows=page.rows[rows], cells=page.cells[rows], wanted=wanted)
