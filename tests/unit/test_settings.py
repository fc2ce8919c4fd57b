"""Settings: defaults from the model, one value a clip, and refusals before any network runs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from svd_core.config import SV3D_P, SV3D_U, SVD_XT
from svd_core.errors import InputError
from svd_core.sampling import make_schedule
from svd_core.sampling.solvers import animatelcm, euler
from svd_core.settings import AnimateSettings, Start, resolve
from tests.models import SMALL


def test_defaults_are_the_models_own() -> None:
    resolved = resolve(AnimateSettings(), SMALL, 1)
    assert (resolved.width, resolved.height, resolved.frames) == (32, 24, 4)
    assert torch.equal(resolved.sigmas, make_schedule("karras", 3, 0.02, 80.0)) and resolved.solver is euler
    assert resolved.controls[0].fps == 8 and resolved.controls[0].motion_bucket == 80
    torch.testing.assert_close(resolved.weights, torch.linspace(1.0, 1.5, 4)[None])
    assert resolved.noise.shape == (1, 4, 8, 6, 8) and resolved.playback == (Fraction(8),)
    assert resolve(AnimateSettings(size=(64, 64)), SVD_XT, 1).weights[0, -1] == 3.0


def test_a_distilled_model_brings_its_solver_and_grid() -> None:
    distilled = replace(SMALL, sampling=replace(SMALL.sampling, solver="animatelcm", steps=4))
    resolved = resolve(AnimateSettings(), distilled, 1)
    assert resolved.solver is animatelcm
    assert torch.equal(resolved.sigmas, make_schedule("animatelcm", 4, 0.02, 80.0))
    assert resolve(AnimateSettings(solver="euler"), distilled, 1).solver is euler


def test_zero_is_a_value_not_a_gap() -> None:
    resolved = resolve(AnimateSettings(augmentation=0.0, motion_bucket=0.0, guidance="0"), SMALL, 1)
    assert resolved.controls[0].augmentation == 0 and resolved.controls[0].motion_bucket == 0
    assert not resolved.weights.any()


def test_one_value_a_clip() -> None:
    resolved = resolve(AnimateSettings(fps=[5, 10], motion_bucket=[0.0, 200.0], seed=9), SMALL, 2)
    assert [clip.fps for clip in resolved.controls] == [5, 10] and resolved.seeds == (9, 10)
    assert resolved.playback == (Fraction(5), Fraction(10))
    alone = resolve(AnimateSettings(seed=10), SMALL, 1)
    assert torch.equal(resolved.noise[1], alone.noise[0])


def test_orbit_only_where_the_model_knows_angles() -> None:
    assert resolve(AnimateSettings(size=(64, 64)), SV3D_U, 1).orbit is None
    orbit = resolve(AnimateSettings(size=(64, 64)), SV3D_P, 1).orbit
    assert orbit is not None and orbit.polar.shape == (21,) and float(orbit.azimuth[-1]) == 0


def test_playback_override_and_own_sigmas() -> None:
    resolved = resolve(AnimateSettings(playback_fps=29.97, sigmas=torch.tensor([5.0, 1.0, 0.0])), SMALL, 1)
    assert resolved.playback == (Fraction(2997, 100),) and resolved.sigmas.tolist() == [5, 1, 0]


def test_start_from_a_latent_cuts_the_schedule() -> None:
    latents = torch.zeros(4, 8, 6, 8)
    resolved = resolve(AnimateSettings(start=Start(latents=latents, sigma=3.0)), SMALL, 1)
    assert float(resolved.sigmas[0]) == 3.0 and len(resolved.sigmas) < 4
    assert resolved.start is not None and resolved.start.shape == (1, 4, 8, 6, 8)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (AnimateSettings(size=(65, 64)), "multiples of 4"),
        (AnimateSettings(size=(8192, 8192), frames=1000), "1000 frames of 8192x8192"),
        (AnimateSettings(frames=0), "`frames`"),
        (AnimateSettings(frames=100_000), "`frames`"),
        (AnimateSettings(steps=0), "`steps`"),
        (AnimateSettings(fps=0), "`fps`"),
        (AnimateSettings(playback_fps=0), "`playback_fps`"),
        (AnimateSettings(motion_bucket=[1.0, 2.0]), "2 for 1 clips"),
        (AnimateSettings(seed=-1), "`seed`"),
        (AnimateSettings(guidance="up"), "`guidance`"),
        (AnimateSettings(solver="plms"), "solver"),
        (AnimateSettings(schedule="cosine"), "schedule"),
        (AnimateSettings(noise=torch.zeros(3, 8, 6, 8)), "`noise`"),
        (AnimateSettings(start=Start(latents=torch.zeros(4, 8, 6, 8), sigma=0.0)), "start sigma"),
    ],
)
def test_refusals(settings: AnimateSettings, word: str) -> None:
    with pytest.raises(InputError, match=word):
        resolve(settings, SMALL, 1)
