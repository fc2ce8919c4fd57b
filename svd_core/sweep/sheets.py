"""Contact sheets of a sweep, rebuilt from its manifest at any time: PNG pages, a moving webp, a web page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..errors import FileFormatError, InputError, SvdError, explain
from ..sheet import write_line
from ..video_io.atomic import atomic_file
from .axes import Axis
from .folder import PLAN
from .layout import Layout, Page, axes_of, pages
from .manifest import FILE_NAME, Manifest, Record
from .plan import load_plan
from .thumbnails import frames_of, strip

_BACKGROUND, _HOLE, _FAILED = (24, 24, 27), (39, 39, 42), (69, 26, 30)
_LABEL, _CAPTION = (244, 244, 245), (161, 161, 170)
_MARGIN, _GAP, _TEXT = 16, 8, 14
_ROW_LABEL = 140
_MOST_CELLS = 400
_MOVING_FRAMES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetStyle:
    """`height` of a frame in pixels; `strip` frames a cell (3: first, middle, last)."""

    height: int = 96
    strip: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a folder's manifest and plan say, laid out."""

    folder: Path
    pages: tuple[Page, ...]

    @property
    def records(self) -> list[Record]:
        """Of all pages, in reading order."""
        return [cell for page in self.pages for line in page.cells for cell in line if cell is not None]


def read_sheet(folder: Path, *, rows: str | None = None, columns: str | None = None) -> Sheet:
    """The sweep in `folder` as pages; the plan, when it is there, adds the cells that are still missing.

    Raises:
        InputError: no sweep in the folder, nothing recorded yet, or no such axis.
    """
    records = list(Manifest(folder / FILE_NAME).latest().values())
    if not records:
        remedy = "Name the folder given to `svd sweep --out`, or wait for its first clip."
        raise InputError(explain(f"a sweep with finished cells in {folder}", "none", remedy))
    axes = _axes(folder, records)
    layout = Layout.choose(axes, rows, columns)
    return Sheet(folder=folder, pages=tuple(part for page in pages(axes, records, layout) for part in _split(page)))


def write_png(sheet: Sheet, path: Path, style: SheetStyle) -> list[Path]:
    """A PNG a page: `sheet.png`, `sheet-2.png`, ...

    Raises:
        InputError, OutputError: it cannot be written.
    """
    written: list[Path] = []
    for number, page in enumerate(sheet.pages, start=1):
        target = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        drawn = draw_page(page, sheet.folder, style)
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
    single = SheetStyle(height=style.height, strip=1)
    clips = {record.cell: _frames(record, sheet.folder, style.height, _MOVING_FRAMES) for record in sheet.records}
    longest = max((len(frames) for frames in clips.values()), default=1)
    moments = [
        draw_page(page, sheet.folder, single, {cell: [f[t % len(f)]] for cell, f in clips.items() if f})
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


def draw_page(
    page: Page, folder: Path, style: SheetStyle, thumbnails: dict[str, list[Image.Image]] | None = None
) -> Image.Image:
    """A page as a picture; `thumbnails` by cell key, by default read from the clips."""
    tiles = [[_tile(record, folder, style, thumbnails) for record in line] for line in page.cells]
    sizes = [tile.size for line in tiles for tile in line if tile is not None]
    width = max((size[0] for size in sizes), default=style.height)
    height = max((size[1] for size in sizes), default=style.height)
    step_x, step_y = width + _GAP, height + _TEXT + 2 * _GAP
    left = _MARGIN + (_ROW_LABEL if any(page.rows) else 0)
    top = _MARGIN + (_TEXT + _GAP) * (bool(page.title) + any(page.columns))
    size = (left + step_x * len(page.columns) + _MARGIN - _GAP, top + step_y * len(page.rows) + _MARGIN - _GAP)
    drawn = Image.new("RGB", size, _BACKGROUND)
    pen = ImageDraw.Draw(drawn)
    if page.title:
        write_line(pen, (_MARGIN, _MARGIN), page.title, _TEXT - 2, _LABEL, size[0] - 2 * _MARGIN)
    for column, name in enumerate(page.columns):
        write_line(pen, (left + column * step_x, top - _TEXT - _GAP), name, _TEXT - 2, _LABEL, width)
    for row, (name, line) in enumerate(zip(page.rows, tiles, strict=True)):
        y = top + row * step_y
        write_line(pen, (_MARGIN, y), name, _TEXT - 2, _LABEL, _ROW_LABEL - _GAP)
        for column, tile in enumerate(line):
            record, x = page.cells[row][column], left + column * step_x
            if tile is None:
                pen.rectangle((x, y, x + width - 1, y + height - 1), _HOLE if record is None else _FAILED)
            else:
                drawn.paste(tile, (x, y))
            write_line(pen, (x, y + height + 2), caption(record), _TEXT - 2, _CAPTION, width)
    return drawn


def caption(record: Record | None) -> str:
    """What was measured, or why there is nothing to see."""
    if record is None:
        return "not made yet"
    if record.status == "failed":
        return record.error or "failed"
    track: dict[str, Any] = dict(record.track or {})
    per_second: dict[str, float] = track.get("per_second", {})
    parts: list[str] = []
    if per_second:
        axis = max(per_second, key=lambda name: abs(per_second[name]))
        parts.append(f"{axis} {per_second[axis]:+.1f}/s")
    parts += [f"{name} {track[name]:.2f}" for name in ("motion", "flicker") if isinstance(track.get(name), float)]
    return "  ".join(parts)


def _axes(folder: Path, records: Sequence[Record]) -> tuple[Axis, ...]:
    try:
        axes = load_plan(folder / PLAN).axes
    except SvdError:
        return axes_of(records)
    # An edited plan may no longer know every value on record.
    told = axes_of(records)
    names = [axis.name for axis in axes]
    if sorted(names) != sorted(axis.name for axis in told):
        return told
    known = {axis.name: axis.values for axis in told}
    return tuple(Axis(axis.name, tuple(dict.fromkeys((*axis.values, *known[axis.name])))) for axis in axes)


def _forget_pages(path: Path, after: int) -> None:
    """Remove the pages of a longer sheet drawn before."""
    number = max(after, 1) + 1
    while (old := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        old.unlink()
        number += 1


def _split(page: Page) -> Iterator[Page]:
    """Pages of at most so many cells: no viewer likes a picture of a hundred thousand pixels."""
    step = max(1, _MOST_CELLS // max(1, len(page.columns)))
    for start in range(0, len(page.rows), step):
        rows = slice(start, start + step)
        yield Page(title=page.title, rows=page.rows[rows], columns=page.columns, cells=page.cells[rows])


def _tile(
    record: Record | None, folder: Path, style: SheetStyle, thumbnails: dict[str, list[Image.Image]] | None
) -> Image.Image | None:
    if record is None:
        return None
    if thumbnails is not None:
        frames = thumbnails.get(record.cell, [])
    else:
        frames = _frames(record, folder, style.height, style.strip)
    return strip(frames) if frames else None


def _frames(record: Record, folder: Path, height: int, count: int) -> list[Image.Image]:
    if record.file is None:
        return []
    try:
        return frames_of(folder / record.file, height, count)
    except (FileFormatError, InputError):
        # Deleted or damaged since: a hole says it well enough.
        return []
