"""Cameras: words and files and back, mixes and joins, and what a plan makes of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from svd_core.camera.curves import EASES, mean_speeds, parse_ease, presence, progress, speeds
from svd_core.camera.lora import Calibration, CameraLora
from svd_core.camera.presets import PRESETS
from svd_core.camera.stack import CameraStack, Move, find_nothing, join, mix, resolve
from svd_core.camera.stack_text import from_json, move_text, parse_move, parse_moves, to_json
from svd_core.errors import FileFormatError, InputError

FPS = 8.0


def lora(name: str, preset: str | None = None, table: tuple[tuple[float, float], ...] = ()) -> CameraLora:
    calibration = Calibration(table, fps=FPS) if table else None
    return CameraLora(
        name=name,
        deltas={},
        dialect="ours",
        rank=1,
        alpha=None,
        total=0,
        no_effect=0,
        preset=preset,
        calibration=calibration,
    )


def shelf(*loras: CameraLora):
    """A finder that knows these for the base "mine"."""
    known = {one.preset: one for one in loras}
    return lambda preset, base: known.get(preset) if base == "mine" else None


def strength(move: Move, frames: int = 9, *loras: CameraLora) -> Tensor:
    plan = resolve(CameraStack((move,)), frames, FPS, "mine", shelf(*loras))
    return torch.as_tensor(plan.placed[0].strength).expand(frames)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(list(PRESETS)),
    st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 3)),
    st.one_of(st.none(), st.tuples(st.integers(0, 5), st.integers(6, 13)), st.just((3, -1))),
    st.sampled_from([*EASES, parse_ease("0:0, 0.5:0.2, 1:1")]),
)
def test_words_and_files_give_the_same_move_back(name, amount, frames, ease) -> None:
    move = Move(preset=name, amount=amount, frames=frames, ease=ease)
    assert parse_move(move_text(move)) == move
    assert from_json(to_json(CameraStack((move,)))).moves == (move,)


def test_a_joined_camera_with_a_lora_survives_its_file() -> None:
    mine = lora("mine")
    stack = join(
        mix(parse_moves(["pan_left:10:0-4:in-out"]), CameraStack((Move(lora=mine, amount=0.5, steps=(0.2, 0.8)),))),
        CameraStack((Move(preset="handheld", amount=2.0, seed=7),)),
        crossfade=4,
        starts=[6],
    )
    assert from_json(to_json(stack), lambda name: {"mine": mine}[name]) == stack


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pan", "pan_left"),
        ("pan_left:nan", "number"),
        ("pan_left:1e999", "number"),
        ("pan_left:8:4", "first-last"),
        ("pan_left:8:4-2-1", "first-last"),
        ("pan_left:8:0-4:bounce", "in-out"),
        ("pan_left:8:0-4:1:0,0:1", "ascending"),
    ],
)
def test_words_that_make_no_sense_are_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_move(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "moves": []}',
        '{"version": 1}',
        '{"version": 1, "moves": {}}',
        '{"version": 1, "moves": [3]}',
        '{"version": 1, "moves": [{"preset": "pan_left", "speed": 2}]}',
        '{"version": 1, "moves": [{"preset": 3}]}',
        '{"version": 1, "moves": [{"preset": "pan_left", "frames": [1]}]}',
        '{"version": 1, "moves": [{"preset": "pan_left", "parts": [4]}]}',
        "[" * 100_000,
    ],
)
def test_other_files_are_no_cameras(text: str) -> None:
    with pytest.raises(FileFormatError, match="camera file"):
        from_json(text)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"preset": "sideways"},
        {"preset": "pan_left", "amount": "fast"},
        {"preset": "pan_left", "amount": True},
        {"preset": "pan_left", "amount": math.inf},
        {"preset": "pan_left", "frames": [0.5, 3]},
        {"preset": "pan_left", "frames": [-2, 3]},
        {"preset": "pan_left", "steps": [0.5, 0.5]},
        {"preset": "pan_left", "steps": [0, 2]},
        {"preset": "pan_left", "parts": [{"index": 2, "count": 2}]},
        {"preset": "pan_left", "parts": [{"index": 0, "count": 3, "starts": [4]}]},
        {"lora": "somewhere"},
    ],
)
def test_values_in_files_are_checked(entry: dict[str, object]) -> None:
    with pytest.raises(InputError):
        from_json(json.dumps({"version": 1, "moves": [entry]}))


@pytest.mark.parametrize("ease", EASES)
def test_eases_cover_the_whole_way_and_never_turn_back(ease) -> None:
    way = progress(ease, 10)
    assert (float(way[0]), float(way[-1])) == (0, 1) and bool((way.diff() >= 0).all())


def test_points_may_go_there_and_back() -> None:
    steps = speeds(9, None, parse_ease("0:0, 0.5:1, 1:0"))
    assert steps.tolist() == [2] * 4 + [-2] * 4


def test_a_finished_move_stays_where_it_is() -> None:
    pace = mean_speeds(speeds(13, (2, 6), "linear"))
    position = pace * torch.arange(13)
    assert position.tolist() == pytest.approx([0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4])
    assert bool((pace >= 0).all()) and float(pace.max()) < 1


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 6), st.integers(0, 6), st.integers(12, 40))
def test_joined_parts_share_the_speed_at_every_step(count: int, crossfade: int, frames: int) -> None:
    stacks = [parse_moves(["pan_right:8"])] * count
    plan = resolve(join(*stacks, crossfade=crossfade), frames, FPS, None, find_nothing)
    assert plan.planar is not None
    assert torch.allclose(plan.planar.pan, torch.ones(frames - 1, dtype=torch.float64))


def test_a_cross_fade_slows_one_part_while_the_next_gets_going() -> None:
    plan = resolve(join(parse_moves(["pan_left:8"]), parse_moves(["zoom_in:8"]), crossfade=4), 17, FPS, None)
    assert plan.planar is not None
    pan, zoom = -plan.planar.pan, plan.planar.zoom
    assert pan[:6].tolist() == pytest.approx([1] * 6) and pan[10:].tolist() == [0] * 6
    assert zoom[:6].tolist() == [0] * 6 and zoom[10:].tolist() == pytest.approx([1] * 6)
    assert bool((pan[5:11].diff() < 0).any()) and torch.allclose(pan + zoom, torch.ones_like(pan))
    hard = resolve(join(parse_moves(["pan_left:8"]), parse_moves(["zoom_in:8"]), starts=[5]), 17, FPS, None).planar
    assert hard is not None and hard.pan.tolist() == pytest.approx([-1] * 5 + [0] * 11)


def test_ranges_in_a_joined_part_count_from_its_own_start() -> None:
    plan = resolve(join(parse_moves(["zoom_in:8"]), parse_moves(["pan_right:8:2-4"]), starts=[8]), 17, FPS, None)
    assert plan.planar is not None and plan.planar.pan.nonzero().flatten().tolist() == [10, 11]


@pytest.mark.parametrize("stack", [parse_moves(["pan_left:8:3-9"]), parse_moves(["pan_left:8:5-5"])])
def test_ranges_outside_the_clip_are_refused(stack: CameraStack) -> None:
    with pytest.raises(InputError, match="0-8"):
        resolve(stack, 9, FPS, None)


def test_joins_that_do_not_fit_are_refused() -> None:
    two = parse_moves(["pan_left"]), parse_moves(["zoom_in"])
    with pytest.raises(InputError, match="0-8"):
        resolve(join(*two, starts=[8]), 9, FPS, None)
    with pytest.raises(InputError, match="starts"):
        join(*two, starts=[3, 5])
    with pytest.raises(InputError, match="crossfade"):
        join(*two, crossfade=-1)
    with pytest.raises(InputError, match="fewer cameras"):
        resolve(join(*two * 4), 4, FPS, None)
    assert join() == CameraStack() and join(two[0], CameraStack()) == two[0]


@pytest.mark.parametrize(("frames", "fps"), [(1, 8.0), (9, 0.0), (9, math.nan)])
def test_clips_that_are_none_are_refused(frames: int, fps: float) -> None:
    with pytest.raises(InputError, match="at least 2 frames"):
        resolve(parse_moves(["pan_left"]), frames, fps, None)


def test_a_lora_gets_no_stronger_than_it_was_measured() -> None:
    table = Calibration(((-1.0, -3.0), (0.0, 0.0), (0.5, 2.0), (1.5, 4.0)), FPS)
    assert table.reach == (-3.0, 4.0)
    assert [table.strength_for(amount) for amount in (1.0, 3.0, 4.0, 99.0, -3.0, -99.0)] == [0.25, 1, 1.5, 1.5, -1, -1]
    one_way = Calibration(((0.0, 0.0), (1.0, 8.0)), FPS)
    assert one_way.reach == (-8.0, 8.0) and one_way.strength_for(-4.0) == -0.5 and one_way.strength_for(-20.0) == -1
    carried = lora("pan", "pan_left", ((0.0, 0.0), (1.0, 8.0)))
    fast = resolve(CameraStack((Move(lora=carried, preset="pan_left", amount=20.0),)), 9, FPS, None)
    said = "Expected -8 to 8 a second, as far as pan was measured; found 20. It gets no stronger"
    assert said in fast.notes[0] and fast.placed[0].strength == 1.0
    slow = resolve(CameraStack((Move(lora=carried, preset="pan_left", amount=7.0),)), 9, FPS, None)
    assert "Expected" not in slow.notes[0]
    back = resolve(CameraStack((Move(lora=carried, preset="pan_left", amount=-500.0),)), 9, FPS, None)
    assert "found -500." in back.notes[0]


def test_a_lora_without_a_table_is_trusted_twice_as_far_as_it_was_trained() -> None:
    raw = lora("raw", "pan_left")
    for amount, doubted in ((24.0, False), (25.0, True), (-24.0, False), (-500.0, True)):
        (note,) = resolve(CameraStack((Move(preset="pan_left", lora=raw, amount=amount),)), 9, FPS, None).notes
        assert ("Expected at most 24 a second of a LoRA whose strengths nobody measured" in note) == doubted


def test_amounts_become_strengths_by_calibration_and_rate() -> None:
    pan = lora("pan", "pan_left", ((0.0, 0.0), (1.0, 10.0), (2.0, 16.0)))
    assert strength(Move(preset="pan_left", amount=13.0), 9, pan).tolist() == [1.5] * 9
    # Half the rate needs twice the way a frame.
    plan = resolve(parse_moves(["pan_left:5"]), 9, FPS / 2, "mine", shelf(pan))
    assert plan.placed[0].strength == pytest.approx(1.0)
    assert "calibration" in plan.notes[0] and plan.planar is None
    uncalibrated = strength(Move(preset="pan_left", amount=2 * PRESETS["pan_left"].usual), 9, lora("raw", "pan_left"))
    assert uncalibrated.tolist() == [2.0] * 9


def test_a_lora_alone_takes_its_plain_strength() -> None:
    mine = lora("mine", table=((0.0, 0.0), (1.0, 10.0)))
    assert strength(Move(lora=mine, amount=0.4)).tolist() == pytest.approx([0.4] * 9)
    ranged = strength(Move(lora=mine, amount=-0.4, frames=(4, 8)))
    assert ranged[:5].tolist() == [0] * 5 and float(ranged[8]) == pytest.approx(-0.2)


def test_static_is_there_or_not() -> None:
    held = strength(Move(preset="static", frames=(2, 5)), 9, lora("still", "static"))
    assert held.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert presence(5, None).tolist() == [1] * 5


def test_the_opposite_lora_serves_a_move_turned_round() -> None:
    table = ((0.0, 0.0), (1.0, 10.0))
    left, right = lora("left", "pan_left", table), lora("right", "pan_right", table)
    for found, preset, amount, name, wanted in (
        ((left, right), "pan_left", 5.0, "left", 0.5),
        ((left, right), "pan_left", -5.0, "right", 0.5),
        ((left,), "pan_left", -5.0, "left", -0.5),
        ((right,), "pan_left", 5.0, "right", -0.5),
    ):
        placed = resolve(CameraStack((Move(preset=preset, amount=amount),)), 9, FPS, "mine", shelf(*found)).placed[0]
        assert (placed.lora.name, placed.strength) == (name, pytest.approx(wanted)), (preset, amount)


def test_who_carries_a_move_is_said_in_order() -> None:
    pan = lora("pan", "pan_left")
    brought = Move(preset="pan_left", lora=lora("brought"))
    assert resolve(CameraStack((brought,)), 9, FPS, "mine", shelf(pan)).placed[0].lora.name == "brought"
    tagged = resolve(parse_moves(["pan_left"]), 9, FPS, "mine", shelf(pan))
    assert not tagged.approximate and "LoRA pan" in tagged.notes[0]
    stranger = resolve(parse_moves(["pan_left"]), 9, FPS, "other", shelf(pan))
    assert stranger.approximate and "approximate" in stranger.notes[0] and not stranger.placed


def test_parallax_moves_are_planar_aliases_without_depth() -> None:
    plain = resolve(parse_moves(["truck_left:8", "orbit_right:9"]), 9, FPS, None)
    assert plain.planar is not None and plain.travel is None
    assert float(plain.planar.pan[0]) == pytest.approx(-1 - 9 / FPS * 100 / 45)
    assert all("planar" in note and "depth" in note for note in plain.notes)
    aliased = resolve(parse_moves(["truck_left"]), 9, FPS, "mine", shelf(lora("pan", "pan_left")))
    assert aliased.placed[0].lora.name == "pan" and "planar" in aliased.notes[0]
    deep = resolve(parse_moves(["truck_left:8", "orbit_right:9"]), 9, FPS, None, depth=True)
    assert deep.travel is not None and deep.planar is not None and not bool(deep.planar.pan.any())
    assert float(deep.travel.truck[0]) == -1 and float(deep.travel.orbit[0]) == pytest.approx(9 / FPS)


def test_one_move_without_a_lora_puts_all_motion_into_the_start() -> None:
    plan = resolve(parse_moves(["pan_left:8", "zoom_in:8"]), 9, FPS, "mine", shelf(lora("pan", "pan_left")))
    assert len(plan.placed) == 1 and plan.planar is not None
    assert float(plan.planar.pan[0]) == -1 and float(plan.planar.zoom[0]) == 1


def test_a_hand_sways_by_its_seed_and_at_any_rate() -> None:
    def sway(seed: int, frames: int, fps: float, amount: float = 20.0) -> Tensor:
        plan = resolve(CameraStack((Move(preset="handheld", seed=seed, amount=amount),)), frames, fps, None)
        assert plan.planar is not None
        return plan.planar.pan.cumsum(0)

    assert torch.equal(sway(1, 17, 8), sway(1, 17, 8)) and not torch.allclose(sway(1, 17, 8), sway(2, 17, 8))
    assert torch.allclose(sway(1, 33, 16)[1::2], sway(1, 17, 8), atol=1e-9)
    long = torch.stack([sway(seed, 800, 8.0) for seed in range(8)])
    assert float((long - long.mean(1, keepdim=True)).square().mean().sqrt()) == pytest.approx(2.0, rel=0.15)


def test_notes_tell_what_is_doubtful_about_a_lora() -> None:
    doubtful = replace(lora("half", "pan_left"), warnings=("8 of 11 layers matched",))
    for move in (Move(lora=doubtful), Move(preset="pan_left")):
        (note,) = resolve(CameraStack((move,)), 9, FPS, "mine", shelf(doubtful)).notes
        assert note.endswith("Warning: 8 of 11 layers matched.")


def test_points_that_make_no_ease_are_answered_with_an_ease() -> None:
    with pytest.raises(InputError, match=r"for example 0:0, 0\.5:0\.2, 1:1"):
        parse_move("pan_left:8:0-4:0:0,1")
