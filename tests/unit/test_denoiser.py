"""Preconditioning: closed forms, the exact denoiser of white data, and what the network is shown."""

from __future__ import annotations

import math

import pytest
import torch

from svd_core.sampling.denoiser import Preconditioning, VDenoiser, noised, pure_noise
from svd_core.sampling.schedules import make_schedule


def test_coefficients_at_the_ends_of_svd() -> None:
    high, low = Preconditioning.at(700.0), Preconditioning.at(0.002)
    assert high.c_noise == pytest.approx(1.63777, abs=1e-5)
    assert low.c_noise == pytest.approx(-1.55365, abs=1e-5)
    assert high.c_in == pytest.approx(1 / 700.000714, rel=1e-9)
    assert low.c_skip == pytest.approx(1, abs=1e-5) and high.c_out == pytest.approx(-1, abs=2e-6)


def test_v_of_white_data_gives_its_exact_denoiser() -> None:
    """For data N(0, 1) the best v is 0, hence D = x / (sigma^2 + 1); for a known x0 and noise v restores x0."""
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(6, 4, 3, 5, generator=generator) for _ in range(2))
    for sigma in make_schedule("karras", 6, 0.002, 700.0)[:-1]:
        x = noised(x0, noise, float(sigma))
        silent = VDenoiser(network=lambda x, c: torch.zeros_like(x[:, :4]), concat=x0, dtype=torch.float32)
        torch.testing.assert_close(silent(x, sigma), x / (sigma**2 + 1))
        scale = math.sqrt(float(sigma) ** 2 + 1)
        v = (noise - float(sigma) * x0) / scale
        perfect = VDenoiser(network=lambda x, c, v=v: v, concat=x0, dtype=torch.float32)
        # Cancellation between x and v costs about sigma units in the last place.
        torch.testing.assert_close(perfect(x, sigma), x0, atol=3e-7 * max(1, float(sigma)) * 4, rtol=1e-5)


def test_only_x_is_scaled_and_the_network_sees_its_own_dtype() -> None:
    seen: list[torch.Tensor] = []

    def network(x: torch.Tensor, c_noise: torch.Tensor) -> torch.Tensor:
        seen.extend([x, c_noise])
        return x[:, :4]

    x, concat = torch.ones(2, 4, 2, 2), torch.full((2, 4, 2, 2), 3.0)
    out = VDenoiser(network=network, concat=concat, dtype=torch.bfloat16)(x, torch.tensor(1.0))
    assert seen[0].dtype == torch.bfloat16 and out.dtype == torch.float32
    assert float(seen[0][0, 4, 0, 0]) == 3.0, "image latents go in unscaled"
    assert float(seen[0][0, 0, 0, 0]) == pytest.approx(2**-0.5, rel=4e-3)
    assert float(seen[1]) == 0.0


def test_pure_noise_has_the_marginal_of_unit_data() -> None:
    assert float(pure_noise(torch.ones(1), 700.0)) == pytest.approx(700.000714, rel=1e-7)
