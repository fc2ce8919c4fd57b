"""Small pictures of clips are made once; sheets are drawn from them, and from the clips where there are none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svd_core.errors import FileFormatError, InputError, SvdError
from svd_core.sweep import thumbnails
from svd_core.sweep.drawing import GONE, SheetStyle
from svd_core.sweep.sheet_files import draw
from svd_core.sweep.sheets import read_sheet, write_png
from svd_core.sweep.thumbnails import kept_strip, opened, thumbnail
from svd_core.types import Frames
from svd_core.video_io import iter_frames, write_clip
from tests.sweep_folders import sweep_folder

STYLE = SheetStyle(height=32)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips whose frames were read."""
    clips: list[str] = []

    def counted(clip: Path) -> Iterator[torch.Tensor]:
        clips.append(clip.name)
        return iter_frames(clip)

    monkeypatch.setattr(thumbnails, "iter_frames", counted)
    return clips


def shown(page: Path) -> np.ndarray:
    with Image.open(page) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def test_a_sheet_drawn_again_reads_no_clip(tmp_path: Path, read: list[str]) -> None:
    folder = sweep_folder(tmp_path / "s")
    draw(folder, style=STYLE, moving=True)
    first, page = shown(folder / "sheet.png"), (folder / "sheet.html").read_text(encoding="utf-8")
    assert set(read) == {"0.webp", "1.webp", "2.webp", "4.webp"}
    read.clear()
    draw(folder, style=STYLE)
    assert not read
    assert (shown(folder / "sheet.png") == first).all() and (folder / "sheet.html").read_text() == page


def test_the_pictures_of_a_server_serve_sheets(tmp_path: Path, read: list[str]) -> None:
    """A server makes the looping picture of every clip; what a sheet shows of it is what it shows of the clip."""
    folder = sweep_folder(tmp_path / "s")
    write_png(read_sheet(folder), folder / "from_clips.png", STYLE)
    shutil.rmtree(folder / "thumbnails")
    for name in ("0", "1", "2", "4"):
        thumbnail(folder / f"cells/{name}.webp", name, folder)
    read.clear()
    write_png(read_sheet(folder), folder / "sheet.png", STYLE)
    assert not read
    assert np.abs(shown(folder / "sheet.png") - shown(folder / "from_clips.png")).mean() <= 0.5


def test_a_clip_made_again_is_drawn_again(tmp_path: Path, read: list[str]) -> None:
    folder = sweep_folder(tmp_path / "s")
    clip = folder / "cells/0.webp"
    before = opened(kept_strip(clip, "0", folder, 32, 3)).getpixel((5, 5))
    write_clip(Frames(torch.full((4, 24, 32, 3), 0.95), Fraction(8)), clip)
    later = (folder / "thumbnails/0-3x32.webp").stat().st_mtime + 10
    os.utime(clip, (later, later))
    after = opened(kept_strip(clip, "0", folder, 32, 3)).getpixel((5, 5))
    assert isinstance(before, tuple) and isinstance(after, tuple) and before[0] < 80 and after[0] > 220


@pytest.mark.parametrize("frames", [2, 3, 16, 25])
def test_a_strip_of_a_looping_picture_shows_the_same_moments(frames: int, tmp_path: Path) -> None:
    levels = torch.linspace(0, 1, frames)[:, None, None, None].expand(frames, 24, 32, 3)
    clip = write_clip(Frames(levels.clone(), Fraction(8)), tmp_path / "a.webp")
    direct = opened(kept_strip(clip, "direct", tmp_path, 24, 3))
    thumbnail(clip, "looping", tmp_path)
    kept = opened(kept_strip(clip, "looping", tmp_path, 24, 3))
    assert kept.size == direct.size
    # Of 25 frames a looping picture holds 16, so its middle is within a frame of the clip's.
    assert np.abs(np.asarray(kept, dtype=int) - np.asarray(direct, dtype=int)).max() <= 255 / (frames - 1) + 8


def test_where_nothing_can_be_kept_sheets_are_drawn_all_the_same(tmp_path: Path, read: list[str]) -> None:
    folder = sweep_folder(tmp_path / "s")
    write_png(read_sheet(folder), folder / "kept.png", STYLE)
    shutil.rmtree(folder / "thumbnails")
    (folder / "thumbnails").write_text("a file in the way", encoding="utf-8")
    draw(folder, style=STYLE)
    assert np.abs(shown(folder / "sheet.png") - shown(folder / "kept.png")).mean() <= 0.5
    assert (folder / "sheet.html").read_text(encoding="utf-8").count("data:image/webp") == 4


@pytest.mark.parametrize("moving", [True, False])
def test_damaged_and_absent_clips_are_holes(moving: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not moving:
        monkeypatch.setattr("svd_core.sweep.web_page._MOST_MOVING", 0)
    folder = sweep_folder(tmp_path / "s")
    draw(folder, style=STYLE)
    (folder / "cells/0.webp").unlink()
    (folder / "cells/1.webp").write_bytes(b"RIFF")
    later = (folder / "thumbnails/2-3x32.webp").stat().st_mtime + 10
    os.utime(folder / "cells/1.webp", (later, later))
    (folder / "thumbnails/2-3x32.webp").write_bytes(b"RIFF")
    draw(folder, style=STYLE)
    page = (folder / "sheet.html").read_text(encoding="utf-8")
    assert page.count(GONE) == 2


def test_a_key_leads_nowhere(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    clip = folder / "cells/0.webp"
    for key in ("../../out", "a/b", "", "a" * 200, "C:x"):
        with pytest.raises(InputError, match="plain key"):
            thumbnail(clip, key, folder)
        with pytest.raises(InputError, match="plain key"):
            kept_strip(clip, key, folder, 32, 3)
    assert not list(tmp_path.rglob("*out*"))


def test_a_deleted_sweep_gets_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder may go while a clip of it is read."""
    folder = sweep_folder(tmp_path / "s")
    frames = thumbnails.frames_of(folder / "cells/0.webp", 32, 3)

    def read_and_gone(*_: object) -> list[Image.Image]:
        shutil.rmtree(folder)
        return frames

    monkeypatch.setattr(thumbnails, "frames_of", read_and_gone)
    with pytest.raises(SvdError):
        thumbnail(folder / "cells/0.webp", "0", folder)
    assert not folder.exists()


def test_a_damaged_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(b"RIFF")
    with pytest.raises(FileFormatError, match="a picture at"):
        opened(tmp_path / "a.webp")
