"""What clips are made of: every move with the right sign and speed, from photographs and from worlds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from svd_core.camera.meter import measure
from svd_core.errors import InputError
from svd_core.training import camera_worlds
from svd_core.training.camera_clips import CameraClip, ClipSize, ClipSource
from svd_core.training.camera_moves import STRENGTHS, draw_lesson, target_of
from svd_core.training.camera_names import trainable
from svd_core.training.camera_worlds import WorldSource
from svd_core.training.photos import PhotoSource, read_photos
from svd_core.training.worlds import draw_world
from svd_core.video_io import encode_rgb

SIZE = ClipSize(frames=6, height=64, width=64)
MOVING = ("pan_left", "pan_right", "tilt_up", "tilt_down", "zoom_in", "zoom_out", "roll_cw", "roll_ccw")


def photos(count: int = 4, width: int = 260, height: int = 200) -> list[torch.Tensor]:
    """Smooth random pictures `3 H W` uint8."""
    noise = torch.rand(count, 3, 14, 18, generator=torch.Generator().manual_seed(3))
    smooth = F.interpolate(noise, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)
    return [(picture * 255).round().to(torch.uint8) for picture in smooth]


def photo_source(preset: str, **changes: object) -> PhotoSource:
    settings = {"groups": 3, "per_group": 2, "seed": 5} | changes
    target = target_of(preset, 8)
    return PhotoSource(photos=photos(), target=target, size=SIZE, fps=8, **settings)  # type: ignore[arg-type]


def world_source(preset: str) -> WorldSource:
    return WorldSource(target=target_of(preset, 8), size=SIZE, seed=5, groups=3, per_group=2)


def measured(clip: CameraClip) -> dict[str, float]:
    """Mean motion a frame."""
    return dict(measure((rearrange(clip.pixels, "t c h w -> t h w c") + 1) / 2, Fraction(8)).mean)


@pytest.mark.parametrize("preset", MOVING)
@pytest.mark.parametrize("make", [photo_source, world_source], ids=["photos", "worlds"])
def test_clips_move_as_far_as_their_strength_says(preset: str, make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    # The meter would also see what is nearer or moves by itself; the camera is what is tested here.
    monkeypatch.setattr(camera_worlds, "draw_world", lambda *drawn: replace(draw_world(*drawn), foreground=None))
    monkeypatch.setattr(camera_worlds, "_subjects", lambda *_: ())
    target = target_of(preset, 8)
    assert target.axis is not None
    source: ClipSource = make(preset)  # type: ignore[operator]
    errors: list[float] = []
    for index in range(source.groups):
        for clip in source.group(index):
            # The last frame's strength is the mean speed of the whole way.
            asked = float(clip.strength[-1]) * target.step
            errors.append(measured(clip)[target.axis] / asked - 1)
    assert sorted(map(abs, errors))[len(errors) // 2] < 0.1, f"{preset}: {errors}"


@pytest.mark.parametrize("make", [photo_source, world_source], ids=["photos", "worlds"])
def test_static_clips_hold_the_camera_while_something_moves(make: object) -> None:
    source: ClipSource = make("static")  # type: ignore[operator]
    clip = source.group(0)[0]
    assert max(map(abs, measured(clip).values())) < 0.3
    assert float((clip.pixels[1:] - clip.pixels[:-1]).abs().mean()) > 1e-4, "nothing moves at all"


def test_under_a_held_camera_the_bucket_tells_how_fast_the_subjects_are() -> None:
    source = world_source("static")
    clips = [clip for index in range(12) for clip in source.group(index)]
    buckets = torch.tensor([clip.motion_bucket or 0.0 for clip in clips])
    moved = torch.tensor([float((clip.pixels[1:] - clip.pixels[:-1]).abs().mean()) * clip.fps for clip in clips])
    assert float(buckets.min()) > 0 and float(buckets.max()) <= 255 and float(buckets.std()) > 20
    assert float(torch.corrcoef(torch.stack((buckets, moved)))[0, 1]) > 0.5
    assert all(clip.motion_bucket is None for clip in world_source("pan_left").group(0))


def test_both_directions_and_all_speeds_are_drawn() -> None:
    target = target_of("pan_left", 8)
    drawn = [float(draw_lesson(torch.Generator().manual_seed(seed), target, 8).curve[-1]) for seed in range(200)]
    assert 0.35 < sum(value < 0 for value in drawn) / len(drawn) < 0.65
    assert min(map(abs, drawn)) >= STRENGTHS[0] - 1e-6 and max(map(abs, drawn)) <= STRENGTHS[1] + 1e-6


def test_the_same_source_gives_the_same_clips_and_another_seed_others() -> None:
    first, again, other = (photo_source("pan_left", seed=seed).group(1)[0] for seed in (1, 1, 2))
    assert torch.equal(first.pixels, again.pixels) and first.fps == again.fps
    assert not torch.equal(first.pixels, other.pixels)
    assert photo_source("pan_left", seed=1).key != photo_source("pan_left", seed=2).key


def test_a_photograph_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    from PIL import Image

    for index, picture in enumerate(photos(2)):
        Image.fromarray(encode_rgb(rearrange(picture.float() / 255, "c h w -> h w c"))).save(tmp_path / f"{index}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    found, notes = read_photos(tmp_path, SIZE)
    assert len(found) == 2 and all(photo.dtype == torch.uint8 for photo in found)
    assert len(notes) == 1 and "broken.jpg" in notes[0]


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        read_photos(tmp_path / "none", SIZE)
    with pytest.raises(InputError, match="photographs"):
        read_photos(tmp_path, SIZE)
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"none of them usable: \w+\.\w+"):
        read_photos(tmp_path, SIZE)


def test_unknown_presets_and_speeds_are_refused() -> None:
    with pytest.raises(InputError, match="pan_left"):
        target_of("pan_sideways", 8)
    with pytest.raises(InputError, match="preset"):
        target_of("handheld", 8)
    with pytest.raises(InputError, match="speed"):
        target_of("pan_left", 8, reference=-1.0)


def test_moves_of_depth_are_trained_as_their_planar_stand_ins() -> None:
    assert "truck_left" in trainable()
    truck, pan = target_of("truck_left", 8), target_of("pan_left", 8)
    assert (truck.axis, truck.sign, truck.step) == (pan.axis, pan.sign, pan.step)
