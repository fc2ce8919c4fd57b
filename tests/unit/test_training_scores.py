"""What a model is judged by: the arithmetic, the real clip of equal motion, the record, and the rows."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from svd_core.camera.lora import CameraLora, LowRank
from svd_core.camera.path import CameraMotion
from svd_core.config import SamplingDefaults
from svd_core.errors import InputError, OutputError
from svd_core.training import evaluation, scores_sets
from svd_core.training.scores_arithmetic import decibels_of, slope, spearman, standard_error
from svd_core.training.scores_clip import coherent_flow, step_error, tracked
from svd_core.training.scores_matched import filmed_again, matched
from svd_core.training.scores_measures import camera_measures, clip_measures
from svd_core.training.scores_record import Record
from svd_core.training.scores_rows import Bound, Clip, Measure, Row, clips_of, filled
from svd_core.training.scores_sampling import (
    PICTURE,
    Sampling,
    Shot,
    bucket_shots,
    buckets_of,
    camera_shots,
    case_name,
    take,
)
from svd_core.training.scores_sets import SETS, Scene, scene
from svd_core.training.worlds import WorldSize
from svd_core.weights.build import SvdModel
from tests.models import SMALL, random_model

SIZE = WorldSize(frames=8)
USUAL = f"bucket {SMALL.sampling.motion_bucket}"


def still() -> CameraMotion:
    return CameraMotion(**{axis: torch.zeros(1) for axis in ("pan", "tilt", "zoom", "roll")})


def model() -> SvdModel:
    return random_model(SMALL)  # type: ignore[return-value]


def say_nothing(done: int, total: int) -> None:
    assert 0 < done <= total


# arithmetic


def test_equal_values_have_no_order() -> None:
    order = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert spearman(order, torch.zeros(4)) == 0, "a model that never moves must not rank perfectly"
    assert spearman(order, torch.tensor([0.0, 0.0, 1.0, 1.0])) == pytest.approx(2 / math.sqrt(5))


def test_the_slope_starts_at_the_lowest_bucket() -> None:
    assert slope([0.1, 0.5, 1.1], [0.3, 0.5, 0.8]) == pytest.approx(0.5), "what moves unasked is no answer"


def test_the_standard_error_of_a_mean() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).tolist()
    assert standard_error(values, lambda some: sum(some) / len(some)) == pytest.approx(1 / 20, rel=0.2)


# a real clip of equal motion


@pytest.mark.parametrize("index", range(3))
def test_a_world_filmed_again_begins_with_the_same_frame(index: int) -> None:
    real = scene("worlds", 3, index, SIZE)
    again = filmed_again(real.world, SIZE, still(), 0.0)
    assert torch.allclose(again, real.pixels[:1].expand_as(again), atol=1e-4), "nothing may move"
    step = CameraMotion(pan=torch.tensor([1.0]), tilt=torch.zeros(1), zoom=torch.zeros(1), roll=torch.zeros(1))
    moving = filmed_again(real.world, SIZE, step, 1.0)
    assert torch.allclose(moving[0], real.pixels[0], atol=1e-4)
    assert step_error(moving) > 1e-6


def test_subjects_keep_their_share_of_the_motion() -> None:
    real = next(
        one for index in range(40) if (one := scene("worlds", 4, index, SIZE)).world.subjects and one.flow > 0.3
    )
    slow, fast = (filmed_again(real.world, SIZE, still(), pace) for pace in (0.3, 1.0))
    assert 0 < step_error(slow) < step_error(fast)


def textured(count: int) -> list[Scene]:
    """Worlds the meter reads well and that move."""
    found = (scene("worlds", 5, index, SIZE) for index in range(60))
    good = [one for one in found if one.flow > 0.4 and abs(coherent_flow(one.pixels) / one.flow - 1) < 0.2]
    return good[:count]


def test_only_what_moves_as_real_things_do_ties_with_a_real_clip() -> None:
    noise = 0.04 * torch.randn((SIZE.frames, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    ahead: dict[str, list[tuple[float, float]]] = {"clean": [], "flickering": [], "still": []}
    for real in textured(2):
        slow = filmed_again(real.world, SIZE, _half(real), 0.5)
        for name, made in (
            ("clean", slow),
            ("flickering", (slow + noise).clamp(-1, 1)),
            ("still", (real.pixels[:1] + noise / 4).clamp(-1, 1)),
        ):
            beside = matched(real, SIZE, tracked(made))
            ahead[name].append((step_error(made), step_error(beside.pixels)))
            if name == "clean":
                assert beside.flow == pytest.approx(coherent_flow(made), rel=0.15)
    gaps = {
        name: decibels_of([a for a, _ in pairs]) - decibels_of([b for _, b in pairs]) for name, pairs in ahead.items()
    }
    assert abs(gaps["clean"]) < 1, gaps
    assert gaps["flickering"] < -1.5, gaps
    assert gaps["still"] < -2, f"a clip that stands still and flickers must not win: {gaps}"


def _half(real: Scene) -> CameraMotion:
    track = tracked(real.pixels)
    return CameraMotion(**{axis: getattr(track, axis).mean()[None] / 2 for axis in ("pan", "tilt", "zoom", "roll")})


# the record


def test_a_record_goes_on_after_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.jsonl"
    record = Record.opened(path, "m", None, lambda: 12)
    record.add([{"kind": "clip", "n": 1}, {"kind": "clip", "n": 2}])
    path.write_text(path.read_text()[:-8])
    again = Record.opened(path, "m", None, lambda: 99)
    assert (again.seed, [line["n"] for line in again.lines]) == (12, [1])
    again.add([{"kind": "clip", "n": 3}])
    assert [line["n"] for line in Record.opened(path, "m", 12, lambda: 0).lines] == [1, 3]


@pytest.mark.parametrize(("name", "seed", "words"), [("other", None, "this model"), ("m", 13, "seed 13")])
def test_a_record_of_something_else_is_refused(tmp_path: Path, name: str, seed: int | None, words: str) -> None:
    path = tmp_path / "model.jsonl"
    Record.opened(path, "m", 12, lambda: 0)
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        Record.opened(path, name, seed, lambda: 0)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "base", "clip": 0}\n',
        '{"kind": "bench", "seed": 3}\n',
        '{"kind": "bench", "seed": 3, "model": "m"}\n{"clip": 0}\n',
        "Notes of mine,\nnot to be lost.\n",
    ],
    ids=["other lines", "no model", "other lines later", "prose"],
)
def test_another_file_is_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="--out"):
        Record.opened(path, "m", None, lambda: 0)
    assert path.read_text() == text


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no full device here")
    record = Record(full, 1)
    with pytest.raises(OutputError, match="full"):
        record.add([{"kind": "clip"}])
    assert record.lines == []


# samples


def lora(seed: int = 0) -> CameraLora:
    generator = torch.Generator().manual_seed(seed)
    networks = random_model(SMALL)
    path = next(name for name, _ in networks.unet.named_modules() if name.endswith("time_stack.0.attn1.to_q"))
    width = networks.unet.get_submodule(path).in_features
    down, up = (0.5 * torch.randn(shape, generator=generator) for shape in ((2, width), (width, 2)))
    return CameraLora(
        name="pan_left",
        deltas={path: LowRank(down, up, 1.0)},
        dialect="ours",
        rank=2,
        alpha=2,
        total=1,
        no_effect=0,
        preset="pan_left",
    )


def plan(clips: int, shots: list[Shot] | None = None, **more: object) -> Sampling:
    chosen = bucket_shots(SMALL.sampling)[:2] if shots is None else shots
    return Sampling(sets=("worlds",), clips=clips, shots=chosen, **more)  # type: ignore[arg-type]


def test_a_stopped_run_goes_on_to_the_same_lines(tmp_path: Path) -> None:
    whole = Record.opened(tmp_path / "whole.jsonl", "m", 5, lambda: 0)
    take(model(), plan(10), whole, say_nothing)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "parts.jsonl"
    with pytest.raises(KeyboardInterrupt):
        take(model(), plan(3), Record.opened(path, "m", 5, lambda: 0), stop)
    grown = Record.opened(path, "m", None, lambda: 0)
    assert grown.lines, "a finished batch must be on the disk"
    take(model(), plan(10), grown, say_nothing)
    first, second = (
        {(line["clip"], line["name"]): line for line in Record.opened(file, "m", None, lambda: 0).lines}
        for file in (whole.path, path)
    )
    assert len(grown.lines) == len(second) == 10 * 3, "no clip may be read twice"
    assert first.keys() == second.keys()
    for key, line in first.items():
        assert flat(second[key]) == pytest.approx(flat(line), rel=1e-2, abs=1e-4), key


def flat(line: dict[str, object]) -> list[float]:
    return [value for value in line.values() if isinstance(value, float)]


def test_the_seed_reaches_worlds_and_noise(tmp_path: Path) -> None:
    def lines(seed: int, name: str) -> list[dict[str, object]]:
        record = Record.opened(tmp_path / name, "m", seed, lambda: 0)
        take(model(), plan(2), record, say_nothing)
        return [dict(line) for line in record.lines]

    one, again, other = lines(1, "a"), lines(1, "b"), lines(2, "c")
    assert one == again
    for before, after in zip(one, other, strict=True):
        assert before["name"] == after["name"]
        assert before["name"] not in (PICTURE, USUAL) or flat(before) != flat(after)
    made: list[list[int]] = []
    original = evaluation.generate
    try:
        evaluation.generate = lambda m, r, s: (made.append(list(r.seeds)), original(m, r, s))[1]
        lines(1, "d")
        lines(2, "e")
    finally:
        evaluation.generate = original
    assert made[0] == made[1] and made[2] == made[3], "all buckets of a clip share its noise"
    assert not set(made[0]) & set(made[2])


def test_the_sets_are_different_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = torch.rand((3, 90, 120), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(scores_sets, "_photographs", lambda side: (photo,))
    pictures = [scene(name, 1, 0, WorldSize(frames=2)).pixels[0] for name in scores_sets.available(64)]
    assert len(pictures) == 3
    for index, one in enumerate(pictures):
        assert all(not torch.equal(one, other) for other in pictures[index + 1 :])


def test_without_photographs_there_are_the_drawn_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(side: int) -> None:
        raise InputError("none")

    monkeypatch.setattr(scores_sets, "_photographs", none)
    assert scores_sets.available(64) == ["worlds", "kinds"]


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(InputError, match="worlds"):
        scene("nowhere", 1, 0, SIZE)


def test_a_lora_is_tried_on_the_same_clips_and_another_training_of_it_again(tmp_path: Path) -> None:
    record = Record.opened(tmp_path / "r.jsonl", "m", 5, lambda: 0)
    plain = [shot for shot in bucket_shots(SMALL.sampling) if shot.full]
    for one in (lora(0), lora(1)):
        take(model(), plan(2, [*plain, *camera_shots([one], SMALL.sampling)]), record, say_nothing)
    names = [line["name"] for line in record.lines]
    assert names.count(USUAL) == 2
    assert len(set(names)) == 2 + 4
    measures = camera_measures(lora(1), SMALL.sampling)
    rows = [filled(measure, clips_of(record.lines), ("worlds",)) for measure in measures]
    assert [row.clips for row in rows] == [2, 2, 2]


def test_a_camera_row_counts_the_clips_that_go_its_way() -> None:
    half, whole = (case_name(lora(), strength) for strength in (0.5, 1.0))

    def clip(index: int, *pans: float) -> Clip:
        read = [{"columns": [pan, 0.0, 0.0, 0.0, abs(pan), 0.2]} for pan in pans]
        return Clip(set="worlds", index=index, lines=dict(zip((USUAL, half, whole), read, strict=True)))

    clips = [clip(0, 0.5, -1, -3), clip(1, 0.5, 1, 0.2), clip(2, -1, -0.5, -0.4), clip(3, 0, -2, -4)]
    right, pushed, monotone = (
        filled(measure, clips, ("worlds",)).value for measure in camera_measures(lora(), SMALL.sampling)
    )
    assert (right, pushed, monotone) == (75, 75, 50), "pan_left looks left: pan below 0, and below that at strength 0"


def test_a_held_camera_must_not_hold_the_subject() -> None:
    held = replace(lora(), preset="static")

    def clip(camera: float, subject: float) -> Clip:
        before, after = ({"columns": [0.0, 0.0, 0.0, 0.0, *read]} for read in ((0.5, 0.4), (camera, subject)))
        return Clip(set="worlds", index=0, lines={USUAL: before, case_name(held, 1.0): after})

    def verdicts(one: Clip) -> list[str]:
        return [filled(measure, [one], ("worlds",)).verdict for measure in camera_measures(held, SMALL.sampling)]

    assert verdicts(clip(0.1, 0.3)) == ["goal met", "goal met"]
    assert verdicts(clip(0.2, 0.1)) == ["floor met", "not met"]
    assert verdicts(clip(0.4, 0.4)) == ["not met", "goal met"]


def test_sheets_show_the_input_and_seven_frames(tmp_path: Path) -> None:
    record = Record.opened(tmp_path / "r.jsonl", "m", 5, lambda: 0)
    take(model(), plan(2), record, say_nothing)
    count = len(record.lines)
    take(model(), plan(2, sheets=tmp_path / "sheets"), record, say_nothing)
    assert len(record.lines) == count, "a sheet is drawn later without measuring again"
    sizes = {path.name: Image.open(path).size for path in (tmp_path / "sheets").iterdir()}
    assert sizes == {f"bucket-{n}-worlds.png": (8 * 34 * 2, 2 * 26 * 2) for n in (1, 80)}


# rows


def test_buckets_hold_lowest_default_and_highest() -> None:
    assert buckets_of(SMALL.sampling) == (1, 80, 168, 255)
    assert buckets_of(_with_bucket(255)) == (1, 128, 255)
    assert buckets_of(_with_bucket(200)) == (1, 100, 200, 255)


def _with_bucket(bucket: int) -> SamplingDefaults:
    return replace(SMALL.sampling, motion_bucket=bucket)


def sampled(index: int, name: str = "worlds", **changes: object) -> Clip:
    """A clip that does all it should: flow as asked, steady, no drift."""
    sampling = SMALL.sampling
    ends = {"energy": [1.0, 1.0], "mean": [[0.5, 0.4, 0.3]] * 2, "deviation": [[0.1, 0.1, 0.1]] * 2}
    lines: dict[str, dict[str, object]] = {
        PICTURE: {"reconstruction": 1e-3, "label": 1.0, "flow": 0.9, "coherent": 0.9}
    }
    for bucket in buckets_of(sampling):
        flow = bucket / 255 * 0.1875 * sampling.width / sampling.fps
        lines[f"bucket {bucket:g}"] = {"flow": flow, "coherent": flow, "trusted": 1.0}
    lines[USUAL] |= {
        "first": 1.1e-3,
        "first own": 1e-4,
        "steps": 1e-3,
        "ends": ends,
        "real flow": 0.2,
        "real steps": 1e-3,
        "real steps again": 1e-3,
        "real ends": ends,
    }
    lines[USUAL] |= changes
    return Clip(set=name, index=index, lines=lines)


def rows(clips: list[Clip]) -> dict[str, Row]:
    return {measure.name: filled(measure, clips, tuple(SETS), "why") for measure in clip_measures(SMALL.sampling)}


def test_a_model_that_does_all_it_should_meets_every_goal() -> None:
    found = rows([sampled(0), sampled(1), sampled(2, "photographs")])
    assert {row.verdict for row in found.values()} == {"goal met"}, found
    slopes = [row for name, row in found.items() if "slope" in name]
    assert [row.value for row in slopes] == pytest.approx([1.0, 1.0])
    assert found["reconstruction, dB"].value == pytest.approx(30)
    assert set(found["reconstruction, dB"].sets) == {"worlds", "photographs"}
    assert found["reconstruction, dB"].clips == 3


@pytest.mark.parametrize(
    ("changes", "row", "verdict"),
    [
        ({"first": 2.9e-3}, "first frame against the input, dB", "not met"),
        ({"first": 2e-3}, "first frame against the input, dB", "floor met"),
        ({"first": 1.4e-3}, "first frame below reconstruction, dB", "not met"),
        ({"flow": 0.0}, "flow / requested, single steps: bucket 80", "not met"),
        ({"steps": 1.4e-3}, "neighbouring frames, dB above a real clip's of the same flow", "floor met"),
        ({"steps": 2e-3}, "neighbouring frames, dB above a real clip's of the same flow", "not met"),
        ({"steps": 1e-5}, "neighbouring frames, dB above a real clip's of the same flow", "not met"),
    ],
)
def test_each_row_sees_its_fault(changes: dict[str, object], row: str, verdict: str) -> None:
    assert rows([sampled(0, **changes), sampled(1, **changes)])[row].verdict == verdict


def test_drifts_that_cancel_over_the_clips_are_seen() -> None:
    def drifting(by: float) -> dict[str, object]:
        return {"energy": [1.0, 1.0], "mean": [[0.5] * 3, [0.5 + by] * 3], "deviation": [[0.1] * 3] * 2}

    found = rows([sampled(0, ends=drifting(0.1)), sampled(1, ends=drifting(-0.1))])
    assert found["last frame / first: colour, mean of the worst channel"].verdict == "goal met"
    own = found["last frame / first: colour, change of a clip's own mean, %"]
    assert own.value == pytest.approx(20)
    assert own.verdict == "not met"


def test_what_was_not_measured_is_said() -> None:
    found = rows([])
    assert {(row.value, row.verdict, row.beside) for row in found.values()} == {(None, "not measured", "why")}
    assert json.dumps([row.to_json() for row in found.values()])


def test_a_row_takes_only_clips_that_have_all_it_needs() -> None:
    half = Clip(set="worlds", index=0, lines={PICTURE: {"reconstruction": 1.0}})
    measure = Measure(name="n", needs=(PICTURE, "more"), figure=len, floor=Bound(1), goal=Bound(1))
    assert filled(measure, [half], ("worlds",)).value is None
    assert filled(measure, [half, sampled(1)], ("worlds",)).value is None


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (Bound(27, unit=" dB"), ">= 27 dB"),
        (Bound(high=1.2), "<= 1.2"),
        (Bound(-2, 2), "+- 2"),
        (Bound(0.5, 1.3), "0.5 .. 1.3"),
    ],
)
def test_bounds_are_told_as_people_write_them(bound: Bound, text: str) -> None:
    assert str(bound) == text
