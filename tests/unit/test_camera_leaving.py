"""A camera that leaves what the first frame shows is told of, wherever it goes and however fast."""

from __future__ import annotations

import pytest

from svd_core.camera.lora import Calibration, CameraLora
from svd_core.camera.stack import Plan, resolve
from svd_core.camera.stack_text import parse_moves

FPS = 8.0


def plan(*words: str, frames: int = 25, depth: bool = False, judged: int | None = None) -> Plan:
    return resolve(parse_moves(list(words)), frames, FPS, None, depth=depth, judged=judged)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # 3 seconds in all: a third of a view is left after 67 % of a side.
        (["pan_left:500"], "found 0%, and less than a third from frame 2 on"),
        (["pan_right:23"], "found 29%, and less than a third from frame 24 on"),
        (["tilt_up:-40"], "less than a third from frame 14 on"),
        (["zoom_out:30"], "less than a third"),
        (["zoom_in:500"], "more than 4 from frame 3 on. So small a part of it has no detail"),
        (["zoom_out:1e9"], "found 0%"),
        (["zoom_in:1e9"], "found inf times"),
        (["pan_left:20", "tilt_up:20"], "less than a third"),
        (["truck_left:30"], "less than a third"),
        (["orbit_right:12"], "less than a third"),
        (["pan_left:60", "pan_right:60:10-"], "less than a third"),
        (["handheld:5000"], "less than a third"),
    ],
)
@pytest.mark.parametrize("depth", [False, True])
def test_a_way_out_of_the_first_frame_is_told(words: list[str], said: str, depth: bool) -> None:
    found = plan(*words, depth=depth)
    assert found.caution is not None and found.notes[-1] == found.caution
    assert said in found.caution and found.caution.startswith("Expected a camera ")
    assert found.caution.endswith("Ask for less, make the clip shorter, or use a camera LoRA.")


@pytest.mark.parametrize(
    "words",
    [
        ["pan_left:20"],
        ["pan_left"],
        ["zoom_in"],
        ["zoom_out"],
        ["roll_cw:90"],
        ["static"],
        ["handheld"],
        ["pan_left:40", "pan_right:40"],
        ["zoom_in:40", "pan_left:15"],
        ["truck_right:10", "orbit_right:4"],
    ],
)
def test_a_way_within_it_is_not(words: list[str]) -> None:
    assert plan(*words).caution is None and len(plan(*words).notes) == len(words)


def test_only_what_a_clip_has_frames_for_is_looked_at() -> None:
    assert plan("pan_left:12").caution is None
    assert plan("pan_left:12", frames=60).caution is not None
    assert plan("pan_left:12", frames=2048, judged=25).caution is None
    assert plan("pan_left:500", frames=2048, judged=25).caution is not None


def test_what_loras_carry_they_invent() -> None:
    """A LoRA's network paints what comes into view; a mixed camera starts from the moved first frame again."""
    table = Calibration(((0.0, 0.0), (1.0, 600.0)), FPS)
    mine = CameraLora(
        name="mine", deltas={}, dialect="ours", rank=1, alpha=None, total=0, no_effect=0, calibration=table
    )

    def find(preset: str, base: str | None) -> CameraLora | None:
        return mine if preset == "pan_left" else None

    carried = resolve(parse_moves(["pan_left:500"]), 25, FPS, "base", find)
    assert carried.caution is None and not carried.approximate
    mixed = resolve(parse_moves(["pan_left:500", "zoom_in:3"]), 25, FPS, "base", find)
    assert mixed.caution is not None
