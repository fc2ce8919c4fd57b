"""The contact sheet shows the right frames in the right places, and its words fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svd_core.errors import InputError
from svd_core.sheet import SheetRow, contact_sheet, spaced, write_sheet
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
