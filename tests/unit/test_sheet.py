"""The contact sheet shows the right frames in the right places, and its words fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from svd_core import sheet as sheet_module
from svd_core.errors import InputError
from svd_core.sheet import SheetRow, contact_sheet, length_of, line_for, spaced, write_line, write_sheet
from svd_core.video_io import read_metadata


def grey_clip(frames: int, height: int = 32, width: int = 48) -> torch.Tensor:
    """Frame t is grey of value t / (frames - 1)."""
    return torch.linspace(0, 1, frames)[:, None, None, None].expand(frames, height, width, 3).clone()


def test_first_and_last_frame_are_always_shown() -> None:
    for frames in range(1, 40):
        for columns in range(1, 12):
            indices = spaced(frames, columns)
            assert indices[0] == 0 and len(set(indices)) == len(indices) == min(frames, columns)
            assert columns == 1 or indices[-1] == frames - 1


def test_cells_hold_the_frames_in_order() -> None:
    sheet = np.asarray(contact_sheet([SheetRow("grey", "", grey_clip(13))], columns=7, cell_height=64))
    width = 96
    # 16 pixels of margin, 4 between cells; the bottom margin is 16 as well.
    middle = sheet.shape[0] - 16 - 32
    found = [int(sheet[middle, 16 + index * (width + 4) + width // 2, 0]) for index in range(7)]
    expected = [round(255 * index / 6) for index in range(7)]
    assert np.abs(np.subtract(found, expected)).max() <= 1, f"{found} instead of {expected}"


def test_clips_of_different_shapes_share_a_sheet() -> None:
    rows = [SheetRow("wide", "a", grey_clip(5, 32, 64)), SheetRow("tall", "b", grey_clip(9, 64, 32))]
    sheet = contact_sheet(rows, title="Two", columns=7, cell_height=64)
    assert sheet.width == max(5 * (128 + 4), 7 * (32 + 4)) - 4 + 32


def test_long_words_are_cut_to_the_sheet() -> None:
    short = contact_sheet([SheetRow("a", "b", grey_clip(2))])
    long = contact_sheet([SheetRow("a" * 500, "b" * 500, grey_clip(2))], title="t" * 500)
    assert long.width == short.width
    border = np.asarray(long)[:, -8:]
    assert (border == border[0, 0]).all(), "text runs into the margin"


def test_empty_sheet_is_refused() -> None:
    with pytest.raises(InputError, match="0 clips"):
        contact_sheet([])


def test_sheet_file_carries_its_metadata(tmp_path: Path) -> None:
    path = write_sheet([SheetRow("a", "b", grey_clip(3))], tmp_path / "sheet.png", title="t", metadata={"seed": 4})
    assert read_metadata(path) == {"seed": 4}
    assert Image.open(path).size[1] > 128


@pytest.fixture
def without_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system on which Pillow's own font is all there is."""
    only = [ImageFont.load_default(13)]
    monkeypatch.setattr(sheet_module, "_fonts", lambda size: only)
    monkeypatch.setattr(sheet_module, "_has", sheet_module._has.__wrapped__)


def test_labels_in_any_script_are_drawn_where_the_system_has_letters_for_them() -> None:
    plain, accented = line_for("seed 3", 13)[1], line_for("S\u00e3o", 13)[1]
    assert plain is line_for("hills", 13)[1] and plain is line_for("\U0010fffe", 13)[1]
    if accented is plain:
        pytest.skip("no font with accents on this system")
    assert len({bytes(accented.getmask(sign)) for sign in "\u00e3\u00e9\u00fc"}) == 3
    assert line_for("S\u00e3o", 13)[0] == "S\u00e3o" == line_for("Sa\u0303o", 13)[0], "as some systems write names"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u6771\u4eac seed 3", "\\u6771\\u4eac seed 3"),
        ("S\u00e3o Paulo \u2013 Z\u00fcrich", "Sao Paulo - Zurich"),
        ("\U0001f3ac\u202e", "\\u1f3ac\\u202e"),
        ("\u00bd", "\\u00bd"),
        ("\uff21\uff11", "A1"),
        ("plain", "plain"),
    ],
)
def test_signs_no_font_has_are_spelt_and_not_boxes(text: str, shown: str, without_fonts: None) -> None:
    told, font = line_for(text, 13)
    assert told == shown and length_of(text, 13) == font.getlength(shown)
    pens = [ImageDraw.Draw(Image.new("RGB", (300, 20))) for _ in range(2)]
    ends = [
        write_line(pen, (0, 0), line, 13, (255, 255, 255), 300) for pen, line in zip(pens, (text, shown), strict=True)
    ]
    assert ends[0] == ends[1]


def test_a_font_that_covers_the_text_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several fonts with some of the signs, the one with the most; what it lacks is spelt."""
    fonts = [ImageFont.load_default(13), ImageFont.load_default(13), ImageFont.load_default(13)]
    known = {1: "\u6771", 2: "\u6771\u4eac"}
    monkeypatch.setattr(sheet_module, "_fonts", lambda size: fonts)
    monkeypatch.setattr(sheet_module, "_has", lambda index, size, sign: sign in known.get(index, ""))
    assert line_for("\u6771\u4eac\u5e02", 13) == ("\u6771\u4eac\\u5e02", fonts[2])


@pytest.mark.parametrize("room", [0, 20, 57, 200, 10_000])
def test_a_line_that_is_too_long_keeps_all_that_fits(room: int) -> None:
    pen, text = ImageDraw.Draw(Image.new("RGB", (400, 20))), "reasons " * 40
    font = line_for(text, 13)[1]
    kept = [count for count in range(1, len(text)) if pen.textlength(f"{text[:count]}...", font) <= room]
    wanted = text if pen.textlength(text, font) <= room else f"{text[: kept[-1]]}..." if kept else ""
    assert write_line(pen, (5, 0), text, 13, (255, 255, 255), room) == 5 + round(pen.textlength(wanted, font))
