"""Sigmas, timesteps and the Euler step against diffusers' scheduler."""

from __future__ import annotations

import pytest
import torch

from svd_core.sampling import Preconditioning, get_solver, make_schedule, pure_noise
from tests.tolerances import relative_max

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffusers.schedulers.scheduling_utils import AysSchedules

from tests.parity.diffusers_twin import svd_scheduler

# diffusers computes the ramp in float64 as we do but the ends in float32.
SIGMA_LIMIT = 4e-6


@pytest.mark.parametrize("steps", [1, 2, 5, 25, 30, 50])
def test_karras_sigmas(steps: int) -> None:
    ours, theirs = make_schedule("karras", steps, 0.002, 700.0), svd_scheduler(0.002, 700.0)
    theirs.set_timesteps(steps)
    error = float(((ours - theirs.sigmas)[:-1].abs() / ours[:-1]).max())
    assert ours.shape == theirs.sigmas.shape and ours[-1] == theirs.sigmas[-1] == 0
    assert error <= SIGMA_LIMIT, f"{steps} steps: {error:.2e}, limit {SIGMA_LIMIT:.0e}"
    c_noise = torch.tensor([Preconditioning.at(float(sigma)).c_noise for sigma in ours[:-1]])
    assert float((c_noise - theirs.timesteps).abs().max()) < 1e-5
    assert float(pure_noise(torch.ones(()), 700.0)) == pytest.approx(float(theirs.init_noise_sigma), rel=1e-6)


def test_the_range_matters() -> None:
    """Negative control: a slightly different sigma_min is far outside the limit."""
    scheduler = svd_scheduler(0.002, 700.0)
    scheduler.set_timesteps(25)
    wrong = make_schedule("karras", 25, 0.0021, 700.0)
    error = float(((wrong - scheduler.sigmas)[:-1].abs() / wrong[:-1]).max())
    assert error > 1000 * SIGMA_LIMIT


def test_align_your_steps_table() -> None:
    theirs = torch.tensor(AysSchedules["StableDiffusionVideoSigmas"])
    ours = make_schedule("align_your_steps", 10, 0.002, 700.0)
    torch.testing.assert_close(ours[:-1], theirs[: len(ours) - 1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("steps", [3, 8])
def test_euler_step(steps: int) -> None:
    """The same v at every step gives the same latents."""
    scheduler = svd_scheduler(0.002, 700.0)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(5, 5, generator=generator) / 5**0.5
    theirs = torch.randn(2, 4, 3, 5, generator=generator) * scheduler.init_noise_sigma
    sigmas = make_schedule("karras", steps, 0.002, 700.0)

    def denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        c = Preconditioning.at(float(sigma))
        return x * c.c_skip + (x * c.c_in) @ matrix * c.c_out

    *_, (ours, _) = get_solver("euler")(denoiser, theirs, sigmas, lambda: theirs)
    for timestep in scheduler.timesteps:
        v = scheduler.scale_model_input(theirs, timestep) @ matrix
        theirs = scheduler.step(v, timestep, theirs).prev_sample
    error = relative_max(ours, theirs)
    assert error < 1e-4, f"{error:.2e}"
