"""The rows of the table: which clips they take, what each sees, when floor and goal are met."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from svd_core.config import SamplingDefaults
from svd_core.training.scores_measures import camera_measures, clip_measures
from svd_core.training.scores_rows import Bound, Clip, Measure, Row, filled
from svd_core.training.scores_sampling import PICTURE, buckets_of, case_name
from svd_core.training.scores_sets import SETS
from tests.models import SMALL
from tests.scored import USUAL, lora


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
