"""The verdict: what was asked beside what was measured, and the plot of both."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import torch

from svd_core.camera.meter import Track
from svd_core.camera.path import CameraMotion
from svd_core.camera.stack import CameraStack, Move, join
from svd_core.errors import InputError
from svd_core.metrics.asked import asked_motion
from svd_core.metrics.report import ClipReport
from svd_core.metrics.track_plot import track_plot
from svd_core.metrics.verdict import verdict

STEPS = 12
FPS = 8


def track(lost: int = 0, **steps: float | torch.Tensor) -> Track:
    values = {
        axis: torch.zeros(STEPS, dtype=torch.float64) + steps.get(axis, 0.0) for axis in ("pan", "tilt", "zoom", "roll")
    }
    confidence = torch.ones(STEPS)
    confidence[:lost] = 0.0
    return Track(**values, confidence=confidence, residual=torch.zeros(STEPS), height=64, width=64, fps=Fraction(FPS))


def report(camera: float = 0.0, subject: float = 0.2) -> ClipReport:
    return ClipReport(
        motion=camera + subject, camera_motion=camera, subject_motion=subject, flicker=0, colour_drift=0, sharpness=1
    )


def asked(*moves: Move) -> CameraMotion:
    motion, _ = asked_motion(CameraStack(moves), STEPS + 1, FPS)
    assert motion is not None
    return motion


@pytest.mark.parametrize(
    ("measured", "answer"), [(1.0, "yes"), (0.6, "yes"), (0.3, "weak"), (0.05, "no"), (-0.8, "no"), (2.0, "yes")]
)
def test_the_part_of_the_move_decides(measured: float, answer: str) -> None:
    found = verdict(track(pan=-measured), report(), asked(Move(preset="pan_left", amount=float(FPS))))
    assert found.answer == answer
    assert found.axes["pan"].part == pytest.approx(measured, abs=1e-6)
    assert found.axes["zoom"].answer == "not asked"
    assert "pan -8.0 % of width a second asked" in found.sentence


def test_a_move_is_judged_where_in_time_it_was_asked_for() -> None:
    stack = join(
        CameraStack((Move(preset="pan_right", amount=8.0),)), CameraStack((Move(preset="zoom_in", amount=8.0),))
    )
    motion, still = asked_motion(stack, STEPS + 1, FPS)
    assert motion is not None and not still
    right = verdict(track(pan=motion.pan, zoom=motion.zoom), report(), motion)
    assert right.answer == "yes" and right.axes["pan"].part == pytest.approx(1)
    swapped = verdict(track(pan=motion.pan.flip(0), zoom=motion.zoom.flip(0)), report(), motion)
    assert swapped.answer == "no", "the right amount at the wrong time is not the move"


def test_every_axis_that_was_asked_must_be_there() -> None:
    motion = asked(Move(preset="pan_right", amount=8.0), Move(preset="zoom_in", amount=8.0))
    assert verdict(track(pan=1.0), report(), motion).answer == "no"
    assert verdict(track(pan=1.0, zoom=0.3), report(), motion).answer == "weak"


@pytest.mark.parametrize(("camera", "answer"), [(0.1, "held"), (0.5, "moved")])
def test_a_held_camera_is_judged_by_its_motion(camera: float, answer: str) -> None:
    motion, still = asked_motion(CameraStack((Move(preset="static"),)), STEPS + 1, FPS)
    assert motion is None and still
    assert verdict(track(), report(camera), motion, still=still).answer == answer


def test_steps_the_meter_lost_do_not_count() -> None:
    motion = asked(Move(preset="pan_right", amount=8.0))
    steps = torch.ones(STEPS, dtype=torch.float64)
    steps[:4] = 0
    assert verdict(track(lost=4, pan=steps), report(), motion).axes["pan"].part == pytest.approx(1)
    assert "could not be measured" in verdict(track(lost=STEPS), report(), motion).sentence


def test_nothing_asked_is_not_judged_and_other_lengths_are_refused() -> None:
    assert asked_motion(CameraStack(), STEPS + 1, FPS) == (None, False)
    assert verdict(track(pan=1.0), report(1.0), None).answer == "not asked"
    motion, _ = asked_motion(CameraStack((Move(preset="pan_right"),)), STEPS, FPS)
    with pytest.raises(InputError, match="frames"):
        verdict(track(), report(), motion)


def test_the_plot_draws_both_curves_and_the_json_holds_every_axis() -> None:
    motion = asked(Move(preset="pan_right", amount=8.0))
    found = verdict(track(pan=0.7), report(), motion)
    with_asked, without = (
        track_plot(track(pan=0.7), motion, found.sentence),
        track_plot(track(pan=0.7), None, found.sentence),
    )
    assert with_asked.size == without.size and with_asked.tobytes() != without.tobytes()
    facts = json.loads(json.dumps(found.to_json()))
    assert facts["answer"] == "yes" and facts["axes"]["pan"]["asked_per_second"] == pytest.approx(8.0)
    assert set(facts["axes"]) == {"pan", "tilt", "zoom", "roll"}
