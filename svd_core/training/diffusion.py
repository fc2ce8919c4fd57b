"""The training side of the diffusion model: corruption, conditioning and the loss.

Karras et al. 2022 with v-prediction and unit data variance, as in Blattmann et al. 2023; the noise law is measured for
small latents (see README.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from torch import Generator, Tensor

from ..config import UNetConfig
from ..sinusoid import sinusoid
from ..unet.unet import VideoUNet

_CELLS = 64
"""Latent cells a frame the laws of the embedded model's recipes were measured at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLaw:
    """Log-normal training noise and image augmentation; `dropout` hides the image from that share of clips."""

    mean: float = 0.8
    deviation: float = 1.4
    augmentation_mean: float = -3.0
    augmentation_deviation: float = 0.5
    dropout: float = 0.1

    def for_cells(self, cells: int) -> NoiseLaw:
        """A law for 8 x 8 latents at `cells` latent cells a frame: more of them show through more noise, so its mean
        rises with log area / 2 (Hoogeboom et al. 2023)."""
        return replace(self, mean=self.mean + 0.5 * math.log(cells / _CELLS))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingClips:
    """B clips of T frames as the loss wants them.

    latents `B T c h w`, condition `B c h w`, context `B 1 d`, fps and motion_bucket `B`; `pixel_noise` `c` is the
    latent deviation one unit of pixel noise causes; image_only switches time off.
    """

    latents: Tensor
    condition: Tensor
    context: Tensor
    fps: Tensor
    motion_bucket: Tensor
    pixel_noise: Tensor
    image_only: bool


def condition_vector(config: UNetConfig, fps: Tensor, motion_bucket: Tensor, augmentation: Tensor) -> Tensor:
    """The sinusoids of the three clip conditions, each `B` -> `B v`; the network is told fps - 1."""
    values = (fps - 1, motion_bucket, augmentation)
    return torch.cat([sinusoid(value, entry.width) for value, entry in zip(values, config.vector, strict=True)], dim=-1)


def diffusion_loss(unet: VideoUNet, clips: TrainingClips, law: NoiseLaw, generator: Generator) -> Tensor:
    """Mean squared error of v at random noise levels, one per clip."""
    count, frames = clips.latents.shape[:2]
    device = clips.latents.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    sigma = torch.exp(law.mean + law.deviation * normal(count))
    augmentation = torch.exp(law.augmentation_mean + law.augmentation_deviation * normal(count))
    kept = (torch.rand(count, generator=generator) >= law.dropout).float().to(device)
    noise = normal(*clips.latents.shape)
    image_noise = normal(*clips.condition.shape) * clips.pixel_noise[:, None, None]
    condition = (clips.condition + augmentation[:, None, None, None] * image_noise) * kept[:, None, None, None]

    level = sigma[:, None, None, None, None]
    spread = (level.square() + 1).sqrt()
    noisy = clips.latents + level * noise
    target = (noisy / spread - clips.latents * spread) / level
    stacked = torch.cat((noisy / spread, repeat(condition, "b c h w -> b t c h w", t=frames)), dim=2)
    prediction = unet(
        rearrange(stacked, "b t c h w -> (b t) c h w"),
        sigma.log() / 4,
        clips.context * kept[:, None, None],
        condition_vector(unet.config, clips.fps, clips.motion_bucket, augmentation),
        frames,
        image_only=torch.ones(count, frames, dtype=torch.bool, device=device) if clips.image_only else None,
    )
    return (prediction.float() - rearrange(target, "b t c h w -> (b t) c h w")).square().mean()
