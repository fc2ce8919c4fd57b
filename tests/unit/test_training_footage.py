"""Films to clips: cut, measured, kept or left out for a stated reason."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from einops import rearrange
from torch import Tensor

from svd_core.camera.meter import measure
from svd_core.errors import InputError
from svd_core.training.camera_clips import ClipSize
from svd_core.training.camera_moves import target_of
from svd_core.training.camera_sources import SourceChoice, open_source
from svd_core.training.footage import read_footage
from svd_core.training.worlds import TRAINING, WorldSize, draw_clips
from svd_core.types import Frames
from svd_core.video_io import write_clip

SIZE = ClipSize(frames=6, height=64, width=64)
FPS = 8


def film(move: str, speed: float, index: int = 2, length: int = 14) -> Tensor:
    size = WorldSize(frames=length, height=64, width=64)
    clips = draw_clips(9, TRAINING, range(index, index + 1), size, move=move, speed=speed)
    return (rearrange(clips.pixels[0], "t c h w -> t h w c") + 1) / 2


def write(folder: Path, name: str, pixels: Tensor, fps: int = FPS) -> None:
    write_clip(Frames(pixels, Fraction(fps)), folder / name)


def speed_of(pixels: Tensor) -> float:
    """Pan a frame, as the meter reads it on the film itself: near layers move farther than the camera alone says."""
    return measure(pixels).mean["pan"]


def test_pieces_are_labelled_by_the_meter_and_never_cross_a_cut(tmp_path: Path) -> None:
    left, right = film("pan_left", 0.012), film("pan_right", 0.008, 5)
    write(tmp_path, "one.mp4", torch.cat([left, right]))
    footage = read_footage(tmp_path, target_of("pan_left", FPS), SIZE)
    assert len(footage.clips) == 4
    strengths = sorted(float(clip.strength.mean()) for clip in footage.clips)
    # Strength 1 is 12 % a second to the left, 1.5 % a frame at 8 fps.
    assert strengths[0] == pytest.approx(-speed_of(right) / 1.5, abs=0.1)
    assert strengths[-1] == pytest.approx(-speed_of(left) / 1.5, abs=0.1)
    for piece in footage.pieces:
        assert piece.last < 14 or piece.first >= 14, f"{piece.label} crosses the cut"
    assert all(clip.pixels.shape == (6, 3, 64, 64) for clip in footage.clips)


def test_every_piece_that_is_left_out_says_why(tmp_path: Path) -> None:
    write(tmp_path, "a_pan.mp4", film("pan_right", 0.012))
    write(tmp_path, "b_zoom.mp4", film("zoom_in", 0.012))
    write(tmp_path, "c_still.mp4", film("pan_left", 0.0))
    (tmp_path / "d_broken.mp4").write_bytes(b"no film")
    write(tmp_path, "e_short.mp4", film("pan_left", 0.012, length=4))
    footage = read_footage(tmp_path, target_of("pan_left", FPS), SIZE)
    reasons = {piece.file.name: piece.reason for piece in footage.pieces if not piece.kept}
    assert "something else (mostly zoom)" in reasons["b_zoom.mp4"]
    assert "nearly still" in reasons["c_still.mp4"]
    notes = " ".join(footage.notes)
    assert "d_broken.mp4" in notes and "e_short.mp4" in notes and "at least 6 frames" in notes


def test_faster_films_are_read_at_the_rate_of_the_clips(tmp_path: Path) -> None:
    fast = film("pan_right", 0.006, length=24)
    write(tmp_path, "fast.mp4", fast, fps=2 * FPS)
    footage = read_footage(tmp_path, target_of("pan_right", FPS), SIZE)
    assert {piece.stride for piece in footage.pieces} == {2}
    assert float(footage.clips[0].strength.mean()) == pytest.approx(2 * speed_of(fast) / 1.5, abs=0.1)
    assert footage.clips[0].fps == FPS


def test_static_wants_a_still_camera_and_a_moving_subject(tmp_path: Path) -> None:
    still = film("static", 0.02, index=3)
    write(tmp_path, "dead.mp4", still[:1].expand(8, -1, -1, -1))
    write(tmp_path, "pan.mp4", film("pan_left", 0.02))
    with pytest.raises(InputError, match=r"nothing moves.*|the camera moves"):
        read_footage(tmp_path, target_of("static", FPS), SIZE)


def test_nothing_usable_is_one_sentence_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        read_footage(tmp_path / "none", target_of("pan_left", FPS), SIZE)
    with pytest.raises(InputError, match="no video files"):
        read_footage(tmp_path, target_of("pan_left", FPS), SIZE)
    write(tmp_path, "zoom.mp4", film("zoom_in", 0.012))
    with pytest.raises(InputError, match=r"2 x the camera does something else.*--images"):
        read_footage(tmp_path, target_of("pan_left", FPS), SIZE)


def test_the_sheet_shows_what_was_kept_and_why(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write(films, "pan.mp4", film("pan_left", 0.012))
    choice = SourceChoice(clips=films)
    source, notes = open_source(choice, target_of("pan_left", FPS), SIZE, 0, tmp_path)
    assert (tmp_path / "clips.png").is_file() and notes == ()
    assert source.groups == 2 and source.stills(3).shape == (3, 3, 64, 64)
    with pytest.raises(InputError, match="not both"):
        open_source(SourceChoice(clips=films, images=films), target_of("pan_left", FPS), SIZE, 0, tmp_path)
