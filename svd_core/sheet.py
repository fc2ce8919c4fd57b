"""The contact sheet: one PNG on which many clips can be judged at a glance, one row of frames a clip."""

from __future__ import annotations

import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
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
# Of the usual systems, by what they have signs for; Pillow finds them by name wherever the system keeps them.
_SYSTEM_FONTS = {
    "linux": (
        *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "FreeSans.ttf"),
        *("NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "SourceHanSans-Regular.ttc", "DroidSansFallback.ttf"),
        *("DroidSansFallbackFull.ttf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "uming.ttc", "ipag.ttf", "ipagp.ttf"),
        *("TakaoGothic.ttf", "fonts-japanese-gothic.ttf", "NanumGothic.ttf", "NotoSansArabic-Regular.ttf"),
        *("NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf"),
        *("NotoEmoji-Regular.ttf", "Symbola.ttf", "unifont.ttf", "unifont.otf"),
    ),
    "win32": (
        *("segoeui.ttf", "arial.ttf", "msyh.ttc", "YuGothM.ttc", "meiryo.ttc", "msgothic.ttc", "simsun.ttc"),
        *("msjh.ttc", "malgun.ttf", "Nirmala.ttc", "Nirmala.ttf", "LeelawUI.ttf", "seguisym.ttf", "seguiemj.ttf"),
    ),
    "darwin": (
        *("Arial.ttf", "Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc"),
        *("AppleGothic.ttf", "GeezaPro.ttc", "Kohinoor.ttc", "Thonburi.ttc", "Apple Symbols.ttf"),
    ),
}
# Signs of our own sentences, for systems without fonts.
_PLAIN = {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2013": "-", "\u2014": "-", "\u00d7": "x"}
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


def line_for(text: str, size: int) -> tuple[str, Any]:
    """A line of text as it can be drawn, and the font for it.

    That is Pillow's own; for signs it has not (any accent, any other script) the first of the system that has most of
    them. What even that one lacks is written without its accents, or by its number: a box would tell nothing.
    """
    text = unicodedata.normalize("NFC", text)
    if text.isascii():
        return text, _fonts(size)[0]
    signs = {sign for sign in text if not sign.isascii()}
    best = max(range(len(_fonts(size))), key=lambda index: sum(_has(index, size, sign) for sign in signs))
    shown = "".join(sign if sign.isascii() or _has(best, size, sign) else _spelt(sign) for sign in text)
    return shown, _fonts(size)[best]


def length_of(text: str, size: int) -> float:
    """Of a line as it is drawn, in pixels."""
    shown, font = line_for(text, size)
    return font.getlength(shown)


def _spelt(sign: str) -> str:
    """A sign in letters every font has: `a` for one with an accent, the number of one that has no such letters."""
    parts = [part for part in unicodedata.normalize("NFKD", _PLAIN.get(sign, sign)) if not unicodedata.combining(part)]
    plain = "".join(parts)
    return plain if plain and plain.isascii() else f"\\u{ord(sign):04x}"


@lru_cache(maxsize=8192)
def _has(index: int, size: int, sign: str) -> bool:
    font = _fonts(size)[index]
    return bytes(font.getmask(sign)) != bytes(font.getmask(_NO_SIGN))


@cache
def _fonts(size: int) -> list[Any]:
    fonts: list[Any] = [ImageFont.load_default(size)]
    for name in _SYSTEM_FONTS.get(sys.platform, _SYSTEM_FONTS["linux"]):
        with suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return fonts


def write_line(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: tuple[int, int, int], room: int
) -> int:
    """Write one line into `room` pixels, cut with an ellipsis; returns where it ends."""
    text, font = line_for(text, size)
    shown = text
    if draw.textlength(text, font) > room:
        # How many signs may stay: long reasons of many failed cells must not be tried sign by sign.
        fitting = bisect_right(range(1, len(text)), room, key=lambda kept: draw.textlength(f"{text[:kept]}...", font))
        shown = f"{text[:fitting]}..." if fitting else ""
    draw.text(at, shown, fill=colour, font=font)
    return at[0] + round(draw.textlength(shown, font))
