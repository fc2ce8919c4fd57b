"""The interpolator's run: the embedded model's loop with another network, pool and loss."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Generator, Tensor, nn

from ..config import InterpolatorConfig
from ..errors import InputError, explain
from ..unet.interpolator import VideoInterpolator, blend, contrast, from_svd, relative_error
from ..weights.build import SvdModel
from ..weights.fingerprint import latent_fingerprint
from .diffusion import NoiseLaw, condition_vector
from .fast_layers import FAST_LAYERS
from .interpolator_clips import Windows, draw_windows
from .loop import Loop
from .networks import silence_
from .pca import recover_basis
from .pool import ClipPool, LatentClips
from .stages import Stage

_CHUNK = 32
# Half of the clips keep clean keys, as they are in use; the others are told how noisy theirs are.
_NOISED = 0.5
# The pool draws latents by the linear anchor the embedded model's encoder was trained on.
_CHECKED, _MOST_ERROR = 64, 0.05

RECIPE: dict[str, Stage] = {
    "residual": Stage(
        name="interpolator",
        steps=1600,
        batch=16,
        learning_rate=2e-3,
        warmup=30,
        decay_share=0.7,
        average=0.995,
        refresh=20,
        window=(4, 24),
        muon=True,
    ),
    # Blattmann et al. 2023, appendix D.5: rate 1e-4, noise mean 1 and deviation 1.2.
    "masked": Stage(
        name="interpolator",
        steps=10_000,
        batch=16,
        learning_rate=1e-4,
        warmup=30,
        decay_share=0.3,
        average=0.999,
        refresh=20,
        window=(8, 24),
        noise=NoiseLaw(mean=1.0, deviation=1.2, dropout=0.0),
    ),
}


@dataclass(slots=True, kw_only=True)
class InterpolatorTrainer(Loop[VideoInterpolator]):
    """Trains an interpolator on the latents and image tokens of `base`, which stays as it is."""

    base: SvdModel
    interpolator: InterpolatorConfig

    def begin(self) -> None:
        """Recover the latent basis of the base and stand before the first step."""
        images = self._basis_images().to(self.device)
        patch = self.config.autoencoder.downsampling
        encode = self.base.autoencoder.encode
        self.basis = recover_basis(encode, images, patch).to(self.device)
        with torch.no_grad():
            latents = encode(images[:_CHECKED])
        error = float((self.basis.encode(images[:_CHECKED]) - latents).square().mean() / latents.var())
        if error > _MOST_ERROR:
            found = f"{self.config.name}, whose encoder differs from its linear part by {error:.0%}"
            remedy = "Larger models are trained on real footage, which this recipe does not read."
            raise InputError(explain("a model of the embedded one's kind", found, remedy))
        self._enter()

    def averaged(self) -> VideoInterpolator:
        """A copy with the running average in place, in evaluation mode."""
        copy = VideoInterpolator(self.interpolator).to(self.device)
        copy.load_state_dict(self.networks.state_dict() | self.average.values)
        return copy.eval().requires_grad_(False)

    def _fresh(self) -> VideoInterpolator:
        if self.interpolator.form == "masked":
            return from_svd(self.interpolator, self.base.unet.state_dict(), operations=FAST_LAYERS).train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            fresh = VideoInterpolator(self.interpolator, operations=FAST_LAYERS)
        silence_(fresh.unet)
        return fresh

    def _trained(self, stage: Stage) -> Iterable[tuple[str, nn.Parameter]]:
        return self.networks.named_parameters()

    def _key(self) -> str:
        return json.dumps({**asdict(self.interpolator), "base": latent_fingerprint(self.base)})

    def _make_pool(self, stage: Stage) -> ClipPool:
        return ClipPool(self.seed, self._size, self.basis, chunk=_CHUNK, device=self.device, keep_pixels=True)

    def _loss(self, stage: Stage, clips: LatentClips, generator: Generator) -> Tensor:
        windows = draw_windows(clips, self.interpolator.frames, generator)
        keys, level = self._noised_keys(windows, stage.noise, generator)
        context = self._context(windows.pictures)
        vector = clip_vector(self.base, level)
        scale = self.config.autoencoder.scale_factor
        latents = windows.latents * scale
        if self.interpolator.form == "masked":
            return masked_loss(self.networks, latents, keys, context, vector, stage.noise, generator)
        return residual_loss(self.networks, latents, keys * scale, context, vector)

    def _noised_keys(self, windows: Windows, law: NoiseLaw, generator: Generator) -> tuple[Tensor, Tensor]:
        """First and last latents `2 B c h w` with noise on half of the clips, and its level `B`."""
        keys = windows.latents[:, [0, -1]].transpose(0, 1)
        count = keys.shape[1]
        level = torch.exp(law.augmentation_mean + law.augmentation_deviation * torch.randn(count, generator=generator))
        level = level * (torch.rand(count, generator=generator) < _NOISED)
        noise = torch.randn(keys.shape, generator=generator).to(keys) * self.basis.analysis.norm(dim=1)[:, None, None]
        level = level.to(keys)
        return keys + level[:, None, None, None] * noise, level

    def _context(self, pictures: Tensor) -> Tensor:
        """The image tokens of both keys, `B 2 d`."""
        with torch.no_grad():
            return self.base.image_encoder(pictures.flatten(0, 1)).unflatten(0, (-1, 2))


def clip_vector(base: SvdModel, level: Tensor) -> Tensor:
    """The vector condition `B v`: the noise on the keys is known, fps and motion are the base's defaults, always."""
    sampling = base.config.sampling
    fps, bucket = (torch.full_like(level, float(value)) for value in (sampling.fps, sampling.motion_bucket))
    return condition_vector(base.config.unet, fps, bucket, level)


def residual_loss(model: VideoInterpolator, latents: Tensor, keys: Tensor, context: Tensor, vector: Tensor) -> Tensor:
    """Squared error of the frames between, relative to the contrast of the keys; latents `B T c h w`."""
    start, end = latents[:, 0], latents[:, -1]
    added = model.residual(keys[0], keys[1], context, vector)
    missing = (latents - blend(start, end, latents.shape[1]))[:, 1:-1]
    return relative_error(added, missing, contrast(start, end))


def masked_loss(
    model: VideoInterpolator,
    latents: Tensor,
    keys: Tensor,
    context: Tensor,
    vector: Tensor,
    law: NoiseLaw,
    generator: Generator,
) -> Tensor:
    """Squared error of v at random noise levels, one a clip, all frames noised alike; latents `B T c h w`."""
    count, frames = latents.shape[:2]
    sigma = torch.exp(law.mean + law.deviation * torch.randn(count, generator=generator)).to(latents)
    level = sigma[:, None, None, None, None]
    spread = (level.square() + 1).sqrt()
    noisy = latents + level * torch.randn(latents.shape, generator=generator).to(latents)
    target = (noisy / spread - latents * spread) / level
    inputs = torch.cat([(noisy / spread).flatten(0, 1), model.condition(keys[0], keys[1])], dim=1)
    v = model.unet(inputs, sigma.log() / 4, context, vector, frames)
    return (v.float() - target.flatten(0, 1)).square().mean()
