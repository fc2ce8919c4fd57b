"""Presets: names, signs, totals under every ease, opposites and stand-ins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from svd_core.camera.curves import EASES, EaseName
from svd_core.camera.moves import AXES
from svd_core.camera.path import CameraMotion
from svd_core.camera.presets import CHANNELS, PRESETS, find_preset
from svd_core.camera.stack import CameraStack, Move, resolve
from svd_core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PLANAR = [name for name, preset in PRESETS.items() if preset.channel in AXES]


def motion_of(*moves: Move, frames: int = 15, fps: float = 7.0) -> CameraMotion:
    planar = resolve(CameraStack(moves), frames, fps, None).planar
    assert planar is not None
    return planar


def test_every_move_the_issue_names_is_there() -> None:
    both = {"pan": "left right", "tilt": "up down", "zoom": "in out", "roll": "cw ccw", "truck": "left right"}
    both |= {"pedestal": "up down", "dolly": "in out", "orbit": "left right"}
    expected = {f"{name}_{end}" for name, ends in both.items() for end in ends.split()} | {"static", "handheld"}
    assert set(PRESETS) == expected
    assert {preset.channel for preset in PRESETS.values()} == {*CHANNELS, None}


@pytest.mark.parametrize("name", PLANAR)
@pytest.mark.parametrize("ease", EASES)
def test_a_move_covers_its_amount_on_its_axis_only(name: str, ease: EaseName) -> None:
    motion, preset = motion_of(Move(preset=name, amount=8.0, ease=ease)), PRESETS[name]
    for axis in AXES:
        # 14 steps at 7 frames a second are 2 seconds.
        expected = preset.sign * 16.0 if axis == preset.channel else 0.0
        assert float(getattr(motion, axis).sum()) == pytest.approx(expected), f"{name} on {axis}"


def test_signs_are_the_camera_s() -> None:
    for name, axis in (("pan_right", "pan"), ("tilt_up", "tilt"), ("zoom_in", "zoom"), ("roll_cw", "roll")):
        assert float(getattr(motion_of(Move(preset=name)), axis)[0]) > 0, name


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.sign])
def test_opposite_names_and_amounts_cancel(name: str) -> None:
    preset = PRESETS[name]
    assert preset.opposite is not None and PRESETS[preset.opposite].opposite == name
    for other in (Move(preset=preset.opposite, amount=3.0), Move(preset=name, amount=-3.0)):
        motion = motion_of(Move(preset=name, amount=3.0), other, frames=8)
        assert all(float(getattr(motion, axis).abs().max()) == 0 for axis in AXES)


def test_a_move_that_needs_depth_has_a_stand_in_that_does_not() -> None:
    for name, preset in PRESETS.items():
        assert (preset.planar is not None) == (preset.channel in CHANNELS[4:]), name
        if preset.planar is not None:
            assert PRESETS[preset.planar].channel in AXES, name


def test_a_range_limits_a_move_and_moves_add_up() -> None:
    moves = (
        Move(preset="zoom_in", amount=6.0, frames=(2, 5)),
        Move(preset="zoom_out", amount=2.0),
        Move(preset="roll_cw", amount=-4.0),
    )
    motion = motion_of(*moves, frames=8, fps=2)
    assert motion.zoom.tolist() == pytest.approx([-1, -1, 2, 2, 2, -1, -1])
    assert motion.roll.tolist() == pytest.approx([-2] * 7)


def test_unknown_names_list_the_valid_ones() -> None:
    for name in ("dolly", "", "PAN_LEFT"):
        with pytest.raises(InputError, match=r"static.*pan_left.*handheld"):
            find_preset(name)


def test_the_page_has_a_picture_for_every_move() -> None:
    script = (ROOT / "web" / "camera_move.js").read_text(encoding="utf-8")
    table = script[script.index("const MOVES") : script.index("const NEGATIVE")]
    assert set(re.findall(r"^  (\w+): ", table, re.MULTILINE)) == set(CHANNELS)
    (negative,) = re.findall(r"NEGATIVE = new Set\((.*)\)", script)
    ends = {name.rpartition("_")[2] for name, preset in PRESETS.items() if preset.sign < 0}
    assert set(re.findall(r'"(\w+)"', negative)) == ends
    assert all(f'preset === "{name}"' in script for name in ("static", "handheld"))
