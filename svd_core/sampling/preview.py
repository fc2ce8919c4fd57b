"""A cheap look at latents while they are sampled: one small matrix instead of the decoder."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

# How the four channels of the Stable Diffusion 1 autoencoder, which SVD kept, project to R, G, B: the
# least-squares fit ComfyUI and others publish for latents scaled by 0.18215.
_SD_LATENT_TO_RGB = (
    (0.3512, 0.2297, 0.3227),
    (0.3250, 0.4974, 0.2350),
    (-0.2829, 0.1762, 0.2721),
    (-0.2120, -0.2616, -0.7177),
)
# Latents of unknown meaning: this many standard deviations fill the range from black to white.
_SPREAD = 2.0


def preview(denoised: Tensor, factors: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Latents `(b t) c h w` (scaled, as `StepInfo.denoised`) -> RGB `(b t) h w 3` float32 in [0, 1] on the CPU.

    factors `c 3` and bias `3` give colours in [-1, 1] (see `fit_colours`). Without them four channels are taken
    for Stable Diffusion's and projected by published factors. Of any other latents nothing is known: their first
    three channels are shown, each normalised over the whole clip (the first one repeated when there are fewer), so
    that motion shows though colours are false.
    """
    latents = rearrange(denoised.detach().float(), "b c h w -> b h w c")
    channels = latents.shape[-1]
    if factors is None and channels == len(_SD_LATENT_TO_RGB):
        factors = torch.tensor(_SD_LATENT_TO_RGB)
    if factors is not None and factors.shape[0] == channels:
        rgb = latents @ factors.to(latents)
        rgb = ((rgb if bias is None else rgb + bias.to(latents)) + 1) / 2
    else:
        shown = latents[..., :3] if channels >= 3 else latents[..., :1].expand(*latents.shape[:-1], 3)
        spread = shown.std(dim=(0, 1, 2), correction=0).clamp_min(1e-6)
        rgb = 0.5 + (shown - shown.mean(dim=(0, 1, 2))) / (2 * _SPREAD * spread)
    return rgb.clamp(0, 1).cpu()
