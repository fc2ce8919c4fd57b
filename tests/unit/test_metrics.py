"""The clip report against closed forms."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from svd_core.camera.meter import Track, measure
from svd_core.camera.moves import AXES
from svd_core.camera.path import CameraMotion, integrate
from svd_core.camera.virtual import render
from svd_core.errors import InputError
from svd_core.metrics import clip_report
from svd_core.metrics.colour import to_lab
from svd_core.types import Frames
from tests.bench.meter_scenes import texture


def at_rest(frames: int, size: int = 64) -> Track:
    zeros = torch.zeros(frames - 1, dtype=torch.float64)
    return Track(
        pan=zeros, tilt=zeros, zoom=zeros, roll=zeros, confidence=zeros + 1, residual=zeros,
        height=size, width=size, fps=Fraction(8),
    )  # fmt: skip


def clip(frames: list[Tensor]) -> Frames:
    return Frames(torch.stack(frames), Fraction(8))


def picture(size: int = 64, seed: int = 0) -> Tensor:
    return 0.2 + 0.5 * torch.from_numpy(texture("mixed", size, np.random.default_rng(seed)))


def moving(steps: dict[str, float], size: int = 96) -> tuple[Frames, CameraMotion]:
    motion = CameraMotion(**{axis: torch.full((4,), steps.get(axis, 0.0)) for axis in AXES})
    image = torch.from_numpy(texture("mixed", 600, np.random.default_rng(3))).permute(2, 0, 1)
    views = render(image, integrate(motion, size, size), (size, size))[0].permute(0, 2, 3, 1)
    return Frames(views, Fraction(8)), motion


def test_a_clip_that_never_changes_scores_zero() -> None:
    report = clip_report(clip([picture()] * 4), at_rest(4))
    for name in ("motion", "camera_motion", "flicker", "colour_drift"):
        assert report.to_json()[name] == pytest.approx(0, abs=1e-3), name
    assert report.sharpness == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("step", [0.02, 0.1])
def test_alternating_brightness_is_flicker_and_a_fade_is_not(step: float) -> None:
    image = picture()
    turns = clip([image + step * (index % 2) for index in range(6)])
    fade = clip([image + step / 5 * index for index in range(6)])
    assert clip_report(turns, at_rest(6)).flicker == pytest.approx(100 * step, rel=1e-3)
    assert clip_report(fade, at_rest(6)).flicker == pytest.approx(0, abs=1e-3)


def test_flicker_in_one_quarter_counts_a_quarter() -> None:
    image = picture()
    patch = F.pad(torch.ones(32, 32), (0, 32, 0, 32))[..., None]
    frames = clip([image + 0.08 * (index % 2) * patch for index in range(6)])
    assert clip_report(frames, at_rest(6)).flicker == pytest.approx(2.0, rel=0.02)


def test_colour_drift_is_the_lab_difference_of_first_and_last() -> None:
    greys = [0.5, 0.52, 0.47, 0.6]
    frames = clip([torch.full((64, 64, 3), grey) for grey in greys])
    linear = [((grey + 0.055) / 1.055) ** 2.4 for grey in greys]
    lightness = [116 * value ** (1 / 3) - 16 for value in linear]
    expected = abs(lightness[-1] - lightness[0])
    assert clip_report(frames, at_rest(4)).colour_drift == pytest.approx(expected, rel=1e-3)


def test_lab_of_known_colours() -> None:
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])[:, :, None, None]
    # Lindbloom's values for sRGB, D65.
    expected = torch.tensor([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
    assert (to_lab(colours)[:, :, 0, 0] - expected).abs().max() < 0.05


def test_sharpness_is_the_ratio_of_gradient_energies() -> None:
    image = picture()
    softer = 0.5 + 0.5 * (image - 0.5)
    assert clip_report(clip([image, image, softer]), at_rest(3)).sharpness == pytest.approx(0.25, rel=1e-3)
    assert clip_report(clip([softer, image]), at_rest(2)).sharpness == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("steps", [{"pan": 2.0}, {"zoom": 4.0}, {"zoom": -4.0}, {"roll": 2.0}])
def test_the_cameras_own_motion_is_taken_out(steps: dict[str, float]) -> None:
    frames, motion = moving(steps)
    report = clip_report(frames, measure(frames))
    size = frames.pixels.shape[1]
    expected = {"pan": abs(float(motion.pan[0]))}
    if "pan" in steps:
        assert report.camera_motion == pytest.approx(expected["pan"], abs=0.05)
    assert report.camera_motion > 0.5 and report.subject_motion < 0.25, report
    assert report.flicker < 0.5 and report.colour_drift < 1.0 and 0.8 < report.sharpness < 1.25, (size, report)


def test_what_the_track_does_not_explain_is_the_subjects() -> None:
    """The whole picture moves by a known step that the track denies."""
    x = torch.arange(64) + 0.5
    waves = [0.5 + 0.3 * torch.sin(2 * torch.pi * (x - shift) / 32).expand(64, 64) for shift in (0.0, 0.64, 1.28)]
    report = clip_report(clip([wave[..., None].expand(-1, -1, 3) for wave in waves]), at_rest(3))
    # 0.64 px of 64 is 1 %; |g| is weighed by itself, so a pure wave gives the step exactly.
    assert report.subject_motion == pytest.approx(1.0, rel=0.03)
    assert report.motion == pytest.approx(report.camera_motion + report.subject_motion)


def test_untrusted_pairs_are_left_out() -> None:
    frames = clip([picture(seed=1), picture(seed=1), picture(seed=2), picture(seed=2)])
    report = clip_report(frames, measure(frames))
    assert report.colour_drift == pytest.approx(0, abs=1e-2) and report.flicker == pytest.approx(0, abs=1e-2)


def test_a_track_of_another_clip_is_refused() -> None:
    with pytest.raises(InputError, match="4 frames"):
        clip_report(clip([picture()] * 4), at_rest(3))
