"""The linear map from latents to colours: exact where the encoder is linear, close on the embedded model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from svd_core.autoencoder.colours import fit_colours
from svd_core.errors import SvdError
from svd_core.sampling import preview
from svd_core.source_image import fit_image, to_pixels
from svd_core.video_io import read_image
from svd_core.weights import load_model

ASSETS = Path(__file__).resolve().parents[2] / "svd_core" / "assets"


def test_a_linear_encoder_is_inverted() -> None:
    mix = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return torch.einsum("lc,bchw->blhw", mix, F.avg_pool2d(pixels, 4) + 0.25)

    found = fit_colours(encode, cell=4, scale=0.5)
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    shown = preview(0.5 * encode(pixels), found.factors, found.bias)
    expected = rearrange((F.avg_pool2d(pixels, 4) + 1) / 2, "b c h w -> b h w c")
    torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0)


def test_the_embedded_model_is_seen_in_its_own_colours() -> None:
    try:
        model = load_model("nano", dtype=torch.float32)
    except SvdError as error:
        pytest.skip(str(error))
    autoencoder, scale = model.autoencoder, model.config.autoencoder.scale_factor
    found = fit_colours(autoencoder.encode, model.config.autoencoder.downsampling, scale)
    pixels = fit_image(to_pixels(read_image(ASSETS / "hills.png")), 64, 64)
    with torch.no_grad():
        shown = preview(autoencoder.encode(pixels * 2 - 1) * scale, found.factors, found.bias)
    expected = rearrange(F.avg_pool2d(pixels, 8), "b c h w -> b h w c")
    error = float((shown - expected).square().mean().sqrt())
    assert error < 0.05, f"colours are off by {error:.3f} of 1 (the picture itself varies by {expected.std():.3f})"
