"""Clips from half-trained networks: many at a time, straight from pictures, for evaluation and sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from einops import repeat
from torch import Tensor

from ..autoencoder.autoencoder import Autoencoder
from ..config import ModelConfig, SamplingDefaults
from ..image_encoder.image_encoder import ImageEncoder
from ..sampling.denoiser import VDenoiser, pure_noise
from ..sampling.guidance import GuidanceCurve, guided_together, needs_unconditional
from ..sampling.loop import sample
from ..sampling.noise import Stream, clip_generator, draw, solver_noise
from ..sampling.schedules import karras
from ..sampling.solvers import euler
from ..unet.hoist import HoistedUNet
from ..unet.unet import VideoUNet
from .diffusion import condition_vector


class Model(Protocol):
    """The three networks and their config: `Networks` in training, a loaded `SvdModel` afterwards."""

    @property
    def unet(self) -> VideoUNet: ...

    @property
    def autoencoder(self) -> Autoencoder: ...

    @property
    def image_encoder(self) -> ImageEncoder: ...

    @property
    def config(self) -> ModelConfig: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """B clips: pictures `B 3 H W` in [-1, 1], fps and motion_bucket `B`, one seed each."""

    pictures: Tensor
    fps: Tensor
    motion_bucket: Tensor
    seeds: Sequence[int]


@torch.no_grad()
def generate(model: Model, request: Request, sampling: SamplingDefaults) -> Tensor:
    """Latents `B T c h w` sampled the way the model's defaults say, Euler on a Karras schedule."""
    home = next(model.unet.parameters())
    device, dtype = home.device, home.dtype
    clips, frames = len(request.pictures), sampling.frames
    grain = draw([clip_generator(seed, Stream.AUGMENTATION) for seed in request.seeds], request.pictures.shape[1:])
    pictures = request.pictures.to(device) + sampling.augmentation * grain.to(device)
    condition = model.autoencoder.encode(pictures.to(next(model.autoencoder.parameters()).dtype)).float()
    context = model.image_encoder(request.pictures.to(device))[:, None].to(dtype)
    level = torch.full((clips,), sampling.augmentation, device=device)
    vector = condition_vector(model.config.unet, request.fps.to(device), request.motion_bucket.to(device), level)
    concat = repeat(condition, "b c h w -> (b t) c h w", t=frames)

    weights = GuidanceCurve(sampling.guidance_shape, sampling.guidance_min, sampling.guidance_max).weights(frames)
    guided = needs_unconditional(weights)
    if guided:
        concat = torch.cat((torch.zeros_like(concat), concat))
        context = torch.cat((torch.zeros_like(context), context))
        vector = torch.cat((vector, vector))
    network = HoistedUNet(model.unet, context, vector, frames)
    denoiser = VDenoiser(network=network, concat=concat, dtype=dtype)
    noise = draw([clip_generator(seed, Stream.LATENT) for seed in request.seeds], (frames, *condition.shape[1:]))
    latents = sample(
        guided_together(denoiser, weights.expand(clips, frames)) if guided else denoiser,
        pure_noise(noise.flatten(0, 1).to(device), sampling.sigma_max),
        karras(sampling.steps, sampling.sigma_min, sampling.sigma_max),
        solver=euler,
        noise=solver_noise(request.seeds, noise.shape[1:], device),
    )
    return latents.unflatten(0, (clips, frames))


@torch.no_grad()
def decode(model: Model, latents: Tensor) -> Tensor:
    """Latents `B T c h w` -> pixels `B T 3 H W` in [-1, 1], clip by clip."""
    frames = latents.shape[1]
    unscaled = latents.to(next(model.autoencoder.parameters()).dtype) / model.config.autoencoder.scale_factor
    return torch.stack([model.autoencoder.decode(clip, frames).float().clamp(-1, 1) for clip in unscaled])
