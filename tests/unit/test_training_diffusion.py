"""The diffusion loss against the denoiser that will use the network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from svd_core.config import NANO
from svd_core.sampling.denoiser import VDenoiser
from svd_core.training.diffusion import NoiseLaw, TrainingClips, condition_vector, diffusion_loss

_LATENTS = torch.randn(4, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0))


class _Oracle(nn.Module):
    """Knows the clean latents and answers with the v that a denoiser turns into exactly them."""

    def __init__(self) -> None:
        super().__init__()
        self.config = NANO.unet
        self.seen: list[Tensor] = []
        self.contexts: list[Tensor] = []

    def forward(
        self, x: Tensor, c_noise: Tensor, context: Tensor, vector: Tensor, frames: int, *, image_only: Tensor | None
    ) -> Tensor:
        self.seen.append(x)
        self.contexts.append(context)
        sigma = (4 * c_noise).exp().repeat_interleave(frames)[:, None, None, None]
        scaled, clean = x[:, :8], _LATENTS.flatten(0, 1)
        # D = x / (s^2 + 1) - v s / sqrt(s^2 + 1), with x = scaled * sqrt(s^2 + 1)
        return (scaled / (sigma**2 + 1).sqrt() - clean) * (sigma**2 + 1).sqrt() / sigma


def _clips(image_only: bool = False) -> TrainingClips:
    return TrainingClips(
        latents=_LATENTS,
        condition=_LATENTS[:, 0],
        context=torch.ones(4, 1, 128),
        fps=torch.full((4,), 8.0),
        motion_bucket=torch.full((4,), 100.0),
        pixel_noise=torch.ones(8),
        image_only=image_only,
    )


def test_a_perfect_network_has_no_loss() -> None:
    loss = diffusion_loss(_Oracle(), _clips(), NoiseLaw(), torch.Generator().manual_seed(1))
    assert float(loss) < 1e-6, f"loss {float(loss):.1e}: training target and denoiser disagree"


def test_the_oracle_agrees_with_the_sampler_s_denoiser() -> None:
    oracle, sigma = _Oracle(), 2.5
    noisy = _LATENTS.flatten(0, 1) + sigma * torch.randn(12, 8, 8, 8, generator=torch.Generator().manual_seed(2))

    def network(x: Tensor, c_noise: Tensor) -> Tensor:
        return oracle(x, c_noise.expand(4), torch.ones(4, 1, 128), torch.zeros(4, 192), 3, image_only=None)

    denoiser = VDenoiser(network=network, concat=torch.zeros(12, 8, 8, 8), dtype=torch.float32)
    denoised = denoiser(noisy, torch.tensor(sigma))
    assert torch.allclose(denoised, _LATENTS.flatten(0, 1), atol=1e-4)


def test_dropout_hides_both_views_of_the_picture() -> None:
    oracle = _Oracle()
    diffusion_loss(oracle, _clips(), NoiseLaw(dropout=1.0), torch.Generator().manual_seed(3))
    assert not oracle.seen[0][:, 8:].any() and not oracle.contexts[0].any()
    diffusion_loss(oracle, _clips(), NoiseLaw(dropout=0.0), torch.Generator().manual_seed(3))
    assert oracle.seen[1][:, 8:].any() and oracle.contexts[1].all()


def test_the_network_is_told_fps_minus_one() -> None:
    one, zero = torch.ones(1), torch.zeros(1)
    vector = condition_vector(NANO.unet, one, zero, zero)
    assert vector.shape == (1, 192)
    assert torch.equal(vector[0, :32], torch.ones(32)), "the cosines of fps 1 are those of 0"
    assert float(condition_vector(NANO.unet, 2 * one, zero, zero)[0, 0]) == pytest.approx(math.cos(1.0))
