"""The procedural world: seeds, signs, labels."""

from __future__ import annotations

import pytest
import torch

from svd_core.camera.meter import measure
from svd_core.training.scores_clip import mean_flow
from svd_core.training.worlds import (
    HELD_OUT,
    TRAINING,
    WorldSize,
    clip_generator,
    draw_clips,
    draw_world,
    motion_bucket,
    render,
    requested_flow,
)

SIZE = WorldSize(frames=5)
_SPEED = 1.5 / 64


def test_a_clip_follows_from_seed_split_and_index_alone() -> None:
    alone = draw_clips(3, TRAINING, range(2, 3), SIZE)
    among = draw_clips(3, TRAINING, range(0, 3), SIZE)
    assert torch.equal(alone.pixels[0], among.pixels[2])
    assert alone.motion_bucket[0] == among.motion_bucket[2]


def test_splits_and_seeds_differ() -> None:
    first = draw_clips(3, TRAINING, range(1), SIZE).pixels
    assert not torch.equal(first, draw_clips(3, HELD_OUT, range(1), SIZE).pixels)
    assert not torch.equal(first, draw_clips(4, TRAINING, range(1), SIZE).pixels)


def test_shapes_and_range_of_any_size() -> None:
    clips = draw_clips(0, TRAINING, range(2), WorldSize(frames=3, height=48, width=80))
    assert clips.pixels.shape == (2, 3, 3, 48, 80)
    assert clips.pixels.abs().max() <= 1
    assert ((clips.motion_bucket >= 0) & (clips.motion_bucket <= 255)).all()


@pytest.mark.parametrize(
    ("move", "axis", "sign"),
    [
        ("pan_right", "pan", 1),
        ("pan_left", "pan", -1),
        ("tilt_up", "tilt", 1),
        ("tilt_down", "tilt", -1),
        ("zoom_in", "zoom", 1),
        ("zoom_out", "zoom", -1),
        ("roll_clockwise", "roll", 1),
        ("roll_counterclockwise", "roll", -1),
    ],
)
def test_moves_have_the_contract_s_signs(move: str, axis: str, sign: int) -> None:
    clips = draw_clips(1, TRAINING, range(2), SIZE, move=move, speed=_SPEED)
    for clip in clips.pixels:
        measured = measure((clip.permute(0, 2, 3, 1) + 1) / 2).mean[axis]
        assert measured * sign > 0.5, f"{move}: measured {axis} {measured:+.2f}, wanted the sign of {sign}"


def test_the_flow_label_is_what_the_meter_sees() -> None:
    for move in ("pan_right", "zoom_in", "roll_clockwise"):
        clips = draw_clips(3, TRAINING, range(2), WorldSize(), move=move, speed=_SPEED)
        for label, clip in zip(clips.flow.tolist(), clips.pixels, strict=True):
            seen = mean_flow(clip)
            assert seen == pytest.approx(label, rel=0.15), f"{move}: label {label:.3f}, measured {seen:.3f} px"


def test_a_still_world_stands_still() -> None:
    clips = draw_clips(5, TRAINING, range(2), SIZE, move="static", speed=0.0)
    assert clips.flow.max() < 1e-4, f"flow label {clips.flow.max():.1e}"
    assert torch.allclose(clips.pixels[:, 0], clips.pixels[:, -1], atol=1e-4)


def test_subjects_change_the_label_where_they_cover() -> None:
    world = draw_world(clip_generator(11, TRAINING, 0), WorldSize(), "static", 3 / 64)
    index = 0
    while not world.subjects or world.foreground is not None:
        index += 1
        world = draw_world(clip_generator(11, TRAINING, index), WorldSize(), "static", 3 / 64)
    assert render(world, WorldSize())[1] > 1e-3


def test_bucket_is_speed_a_second() -> None:
    assert motion_bucket(1.0, 8, 64) == pytest.approx(2 * motion_bucket(0.5, 8, 64))
    assert motion_bucket(0.5, 16, 64) == pytest.approx(2 * motion_bucket(0.5, 8, 64))
    assert requested_flow(motion_bucket(1.3, 9, 128), 9, 128) == pytest.approx(1.3)
    assert motion_bucket(100.0, 15, 64) == 255


@pytest.mark.parametrize("subjects", [True, False])
def test_haste_makes_worlds_faster_and_nothing_else(subjects: bool) -> None:
    usual, hasty = (
        [draw_world(clip_generator(3, TRAINING, index), SIZE, subjects=subjects, haste=haste) for index in range(40)]
        for haste in (1.0, 2.0)
    )
    for slow, fast in zip(usual, hasty, strict=True):
        assert (slow.fps, slow.move.name, slow.start) == (fast.fps, fast.move.name, fast.start)
        assert torch.equal(slow.background, fast.background)
        assert all(abs(b) >= abs(a) - 1e-9 for a, b in zip(slow.move.rates, fast.move.rates, strict=True))
    ways = [sum(abs(rate) for world in worlds for rate in world.move.rates) for worlds in (usual, hasty)]
    assert ways[1] > 1.1 * ways[0], f"{ways[1]:.3f} against {ways[0]:.3f}"


def test_without_subjects_only_the_camera_moves() -> None:
    clips = draw_clips(3, TRAINING, range(12), SIZE, subjects=False)
    for index in range(12):
        world = draw_world(clip_generator(3, TRAINING, index), SIZE, subjects=False)
        assert not world.subjects and world.foreground is None
        if world.move.name != "static":
            assert clips.motion_bucket[index] > 40, f"{world.move.name} at bucket {clips.motion_bucket[index]:.0f}"
