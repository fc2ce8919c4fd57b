"""What the autoencoder is trained on: the linear anchor first, then time.

The encoder regresses the anchor's latents, the decoder reconstructs from exact anchor latents with a little noise, so
the two never chase each other. The temporal layers come last and learn to remove the flicker of imperfect latents.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..autoencoder.autoencoder import Autoencoder
from .pca import PatchBasis

_IMAGE_NOISE, _CLIP_NOISE = 0.08, 0.2


def anchored_loss(
    autoencoder: Autoencoder, basis: PatchBasis, pixels: Tensor, generator: Generator, *, with_encoder: bool
) -> Tensor:
    """Images `n 3 H W` in [-1, 1] -> one number; `with_encoder` adds the encoder's regression."""
    latents = basis.encode(pixels)
    strength = _IMAGE_NOISE * torch.rand(len(pixels), 1, 1, 1, generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = latents + (strength * noise).to(latents.device)
    loss = reconstruction_loss(autoencoder.decode(noisy), pixels)
    if with_encoder:
        loss = loss + (autoencoder.encode(pixels) - latents).square().mean()
    return loss


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Squared error, a quarter of the absolute error, and a tenth of the absolute error of gradients: `n 3 H W`."""
    difference = output - target
    across = difference.diff(dim=-1).abs().mean()
    down = difference.diff(dim=-2).abs().mean()
    return difference.square().mean() + 0.25 * difference.abs().mean() + 0.1 * (across + down)


def temporal_loss(autoencoder: Autoencoder, basis: PatchBasis, pixels: Tensor, generator: Generator) -> Tensor:
    """Clips `b t 3 H W` in [-1, 1] -> reconstruction from noisy latents plus the error of frame differences."""
    frames = pixels.shape[1]
    latents = basis.encode(pixels.flatten(0, 1))
    strength = _CLIP_NOISE * torch.rand(len(pixels), 1, 1, 1, generator=generator).repeat_interleave(frames, 0)
    noise = torch.randn(latents.shape, generator=generator)
    output = autoencoder.decode(latents + (strength * noise).to(latents.device), frames).unflatten(0, (-1, frames))
    jumps = (output.diff(dim=1) - pixels.diff(dim=1)).abs().mean()
    return reconstruction_loss(output.flatten(0, 1), pixels.flatten(0, 1)) + 0.5 * jumps


def start_anchored_(autoencoder: Autoencoder) -> None:
    """Make `quant_conv` pass the mean through and fix the posterior's log variance far below the signal."""
    if autoencoder.quant_conv is None:
        return
    with torch.no_grad():
        torch.nn.init.dirac_(autoencoder.quant_conv.weight)
        bias = autoencoder.quant_conv.bias
        if bias is not None:
            bias.zero_()
        half = autoencoder.config.latent_channels
        autoencoder.quant_conv.weight[half:] = 0
        if bias is not None:
            bias[half:] = -8.0
