"""The contact sheet: one PNG on which many clips can be judged at a glance, one row of frames a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .errors import InputError, explain
from .video_io import atomic_file, encode_rgb
from .video_io.metadata import png_info

_BACKGROUND = (24, 24, 27)
_LABEL = (244, 244, 245)
_CAPTION = (161, 161, 170)
_MARGIN = 16
_GAP = 4
_TITLE_SIZE = 22
_LABEL_SIZE = 15
_ROW_GAP = 14
# Of the usual systems; Pillow finds them by name wherever the system keeps them.
_SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "segoeui.ttf", "Arial Unicode.ttf"),
    *("Arial.ttf", "NotoSansCJK-Regular.ttc", "msyh.ttc", "YuGothM.ttc", "malgun.ttf", "Hiragino Sans GB.ttc"),
)
# A code that no sign has: every font draws its box for it.
_NO_SIGN = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One clip: a short name, a line of small print, and frames `T H W 3` in [0, 1]."""

    label: str
    caption: str
    frames: Tensor


def contact_sheet(
    rows: Sequence[SheetRow], *, title: str = "", columns: int = 7, cell_height: int = 128
) -> Image.Image:
    """Draw `columns` evenly spaced frames of every clip, the first and the last always among them.

    Frames are scaled to `cell_height` pixels, each clip at its own aspect; a clip shorter than `columns` shows
    every frame once. Text that is wider than the sheet is cut with an ellipsis.

    Raises:
        InputError: no rows, or fewer than one column.
    """
    if not rows or columns < 1:
        raise InputError(
            explain("at least one clip and one column", f"{len(rows)} clips, {columns} columns", "Add clips.")
        )
    strips = [_strip(row.frames, columns, cell_height) for row in rows]
    width = max(strip.width for strip in strips) + 2 * _MARGIN
    row_height = _LABEL_SIZE + _GAP * 2 + cell_height + _ROW_GAP
    top = _MARGIN + (_TITLE_SIZE + _ROW_GAP if title else 0)
    sheet = Image.new("RGB", (width, top + row_height * len(rows) - _ROW_GAP + _MARGIN), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    if title:
        write_line(draw, (_MARGIN, _MARGIN), title, _TITLE_SIZE, _LABEL, width - 2 * _MARGIN)
    for row, strip in zip(rows, strips, strict=True):
        _heading(draw, row, top, width)
        sheet.paste(strip, (_MARGIN, top + _LABEL_SIZE + _GAP * 2))
        top += row_height
    return sheet


def write_sheet(
    rows: Sequence[SheetRow], path: Path | str, *, title: str = "", metadata: Mapping[str, object] | None = None
) -> Path:
    """Draw `contact_sheet` into a PNG, whole or not at all, with `metadata` in its text chunk.

    Raises:
        InputError: nothing to draw, or a place that cannot be written.
        OutputError: the disk is full or failed.
    """
    sheet = contact_sheet(rows, title=title)
    with atomic_file(path) as temporary:
        sheet.save(temporary, format="PNG", pnginfo=png_info(metadata or {}))
    return Path(path)


def spaced(frames: int, columns: int) -> list[int]:
    """Indices of up to `columns` frames out of `frames`, evenly spaced from the first to the last."""
    if frames <= columns:
        return list(range(frames))
    if columns == 1:
        return [0]
    return [round(index * (frames - 1) / (columns - 1)) for index in range(columns)]


def _strip(frames: Tensor, columns: int, height: int) -> Image.Image:
    """The chosen frames side by side, with a thin gap between them."""
    picked = frames[torch.tensor(spaced(frames.shape[0], columns))]
    width = max(1, round(height * frames.shape[2] / frames.shape[1]))
    strip = Image.new("RGB", (len(picked) * (width + _GAP) - _GAP, height), _BACKGROUND)
    for index, frame in enumerate(picked):
        cell = Image.fromarray(encode_rgb(frame)).resize((width, height), Image.Resampling.LANCZOS)
        strip.paste(cell, (index * (width + _GAP), 0))
    return strip


def _heading(draw: ImageDraw.ImageDraw, row: SheetRow, top: int, width: int) -> None:
    right = write_line(draw, (_MARGIN, top), row.label, _LABEL_SIZE, _LABEL, width - 2 * _MARGIN)
    left = right + 3 * _GAP
    write_line(draw, (left, top), row.caption, _LABEL_SIZE, _CAPTION, width - _MARGIN - left)


def font_for(text: str, size: int) -> Any:  # noqa: ANN401 - Pillow has two kinds, with the same methods
    """Pillow's own font; for signs it has not (any accent, any other script) the first of the system that has most."""
    signs = {sign for sign in text if not sign.isascii()}
    fonts = _fonts(size)[: None if signs else 1]
    return max(fonts, key=lambda font: sum(_mask(font, sign) != _mask(font, _NO_SIGN) for sign in signs))


def _mask(font: Any, sign: str) -> bytes:  # noqa: ANN401 - as above
    return bytes(font.getmask(sign))


@cache
def _fonts(size: int) -> list[Any]:
    fonts: list[Any] = [ImageFont.load_default(size)]
    for name in _SYSTEM_FONTS:
        with suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return fonts


def write_line(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int], room: int
) -> int:
    """Write one line into `room` pixels, cut with an ellipsis; returns where it ends."""
    font = font_for(text, size)
    lengths = range(len(text), 0, -1)
    cuts = (text if kept == len(text) else text[:kept] + "..." for kept in lengths)
    shown = next((cut for cut in cuts if draw.textlength(cut, font) <= room), "")
    draw.text(at, shown, fill=colour, font=font)
    return at[0] + round(draw.textlength(shown, font))
