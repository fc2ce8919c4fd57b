"""A page of a contact sheet as a picture: labels beside and above, a strip and a caption a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..errors import FileFormatError, InputError, SvdError
from ..sheet import length_of, write_line
from .layout import Page
from .manifest import Record
from .thumbnails import HEIGHT, frames_of, kept_strip, opened, strip, thumbnail

_BACKGROUND, _HOLE, _EDGE, _FAILED = (24, 24, 27), (32, 32, 36), (63, 63, 70), (69, 26, 30)
_LABEL, _CAPTION, _REASON = (244, 244, 245), (161, 161, 170), (252, 165, 165)
_MARGIN, _GAP, _PAD, _TEXT, _TITLE = 16, 8, 6, 13, 20
_LINE = _TEXT + 4
_NARROWEST, _WIDEST = 40, 260
_UNITS = {"pan": "%", "tilt": "%", "zoom": "%", "roll": " deg"}

GONE = "its clip is gone or damaged"
Thumbnails = Mapping[str, Sequence[Image.Image]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetStyle:
    """`height` of a frame in pixels; `strip` frames a cell (3: first, middle, last)."""

    height: int = 96
    strip: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands above a page: the sweep's name, and small print."""

    title: str = ""
    told: str = ""


def draw_page(
    page: Page,
    folder: Path,
    style: SheetStyle,
    thumbnails: Thumbnails | None = None,
    heading: Heading | None = None,
) -> Image.Image:
    """A page as a picture; `thumbnails` by cell key, by default read from the clips."""
    tiles = [[_tile(record, folder, style, thumbnails) for record in line] for line in page.cells]
    sizes = [tile.size for line in tiles for tile in line if tile is not None]
    width = max((size[0] for size in sizes), default=2 * style.height)
    height = max((size[1] for size in sizes), default=style.height)
    labels = _label_width(page.rows, height)
    left = _MARGIN + (labels + _GAP if labels else 0)
    # Under narrow pictures a caption needs two lines.
    told = (caption(cell) for line in page.cells for cell in line if cell is not None and cell.status == "done")
    small_print = _LINE * min(2, max((len(_wrapped(words, width)) for words in told), default=1))
    step_x, step_y = width + _GAP, height + small_print + _GAP
    above = _lines_above(page, heading)
    top = _MARGIN + sum(size + _GAP for _, _, size in above) + (_LINE + _PAD if any(page.columns) else 0)
    size = (left + step_x * len(page.columns) + _MARGIN - _GAP, top + step_y * len(page.rows) + _MARGIN - _GAP)
    drawn = Image.new("RGB", size, _BACKGROUND)
    pen = ImageDraw.Draw(drawn)
    y = _MARGIN
    for text, colour, letters in above:
        write_line(pen, (_MARGIN, y), text, letters, colour, size[0] - 2 * _MARGIN)
        y += letters + _GAP
    for column, name in enumerate(page.columns):
        write_line(pen, (left + column * step_x, top - _LINE - 2), name, _TEXT, _LABEL, width)
    for row, line in enumerate(page.cells):
        y = top + row * step_y
        _write_lines(pen, (_MARGIN, y), page.rows[row], _LABEL, labels, height)
        for column, record in enumerate(line):
            if record is not None or page.missing(row, column):
                _draw_cell(drawn, record, tiles[row][column], (left + column * step_x, y, width, height))
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
        parts.append(f"{axis} {per_second[axis]:+.1f}{_UNITS.get(axis, '')}/s")
    if isinstance(track.get("camera_error"), float):
        parts.append(f"camera off {track['camera_error']:.2f}%")
    parts += [f"{name} {track[name]:.2f}" for name in ("motion", "flicker") if isinstance(track.get(name), float)]
    return "  ".join(parts)


def frames_shown(record: Record, folder: Path, height: int, count: int) -> list[Image.Image]:
    """Frames of a finished clip; none of one that is not there, or was damaged since: a hole says it well enough."""
    if record.file is None:
        return []
    try:
        return frames_of(folder / record.file, height, count)
    except (FileFormatError, InputError):
        return []


def kept_file(record: Record, folder: Path, style: SheetStyle, *, moving: bool = False) -> Path | None:
    """The strip of a finished clip, or its looping picture, as it is kept.

    None of a clip as above, where nothing can be kept, and of looping pictures higher than they are kept.
    """
    if record.file is None or (moving and style.height > HEIGHT):
        return None
    clip = folder / record.file
    with suppress(SvdError):
        if moving:
            return thumbnail(clip, record.cell, folder)
        return kept_strip(clip, record.cell, folder, style.height, style.strip)
    return None


def _draw_cell(
    drawn: Image.Image, record: Record | None, tile: Image.Image | None, place: tuple[int, int, int, int]
) -> None:
    """A strip with its caption, a red field with the reason, or a hole."""
    x, y, width, height = place
    pen = ImageDraw.Draw(drawn)
    corners = (x, y, x + width - 1, y + height - 1)
    if tile is not None:
        drawn.paste(tile, (x, y))
        _write_lines(pen, (x, y + height + 2), caption(record), _CAPTION, width, 2 * _LINE)
    elif record is not None and record.status == "failed":
        pen.rectangle(corners, _FAILED)
        inner = (x + _PAD, y + _PAD)
        _write_lines(pen, inner, caption(record), _REASON, width - 2 * _PAD, height - 2 * _PAD)
        write_line(pen, (x, y + height + 2), "failed", _TEXT, _CAPTION, width)
    else:
        pen.rectangle(corners, _HOLE, _EDGE)
        told = caption(None) if record is None else GONE
        _write_lines(pen, (x + _PAD, y + _PAD), told, _CAPTION, width - 2 * _PAD, height - 2 * _PAD)


def _lines_above(page: Page, heading: Heading | None) -> list[tuple[str, tuple[int, int, int], int]]:
    heading = heading or Heading()
    lines = ((heading.title, _LABEL, _TITLE), (heading.told, _CAPTION, _TEXT), (page.title, _LABEL, _TEXT + 2))
    return [line for line in lines if line[0]]


def _label_width(labels: Sequence[str], height: int) -> int:
    """As wide as the longest line, and no wider than a label should be: what is longer goes on below."""
    lines = [line for label in labels for line in label.splitlines()]
    if not any(lines):
        return 0
    widest = max(round(length_of(line, _TEXT)) + 1 for line in lines)
    return max(_NARROWEST, min(widest, _WIDEST if height < 8 * _LINE else _WIDEST // 2))


def _write_lines(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    colour: tuple[int, int, int],
    width: int,
    height: int,
) -> None:
    """Lines broken between words to fit the width; where the height ends, the last one with an ellipsis."""
    lines = [part for line in text.splitlines() for part in _wrapped(line, width)]
    room = max(1, height // _LINE)
    if len(lines) > room:
        lines = [*lines[: room - 1], " ".join(lines[room - 1 :])]
    for number, line in enumerate(lines):
        write_line(pen, (at[0], at[1] + number * _LINE), line, _TEXT, colour, width)


def _wrapped(line: str, width: int) -> list[str]:
    words, lines = line.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and length_of(longer, _TEXT) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _tile(record: Record | None, folder: Path, style: SheetStyle, thumbnails: Thumbnails | None) -> Image.Image | None:
    if record is None:
        return None
    if thumbnails is not None:
        frames = thumbnails.get(record.cell, [])
        return strip(frames) if frames else None
    kept = kept_file(record, folder, style)
    with suppress(FileFormatError):
        if kept is not None:
            return opened(kept)
    frames = frames_shown(record, folder, style.height, style.strip)
    return strip(frames) if frames else None
