"""The video interpolator as an engine for `interpolate`: latents and image tokens of its base model, frames between.

What it adds is decoded and laid over the cross-fade of the frames themselves, so that detail the autoencoder cannot
hold stays, and frames that do not move are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditioning import assemble_vector, condition_values
from ..errors import InputError, WeightsMismatchError, explain
from ..interpolation.cuts import colours
from ..interpolation.engines import Halving
from ..sampling import VDenoiser, clip_generator, draw, pure_noise, sample, solver_noise
from ..sampling.noise import Stream
from ..sampling.schedules import karras
from ..sampling.solvers import euler
from ..types import MotionControls
from ..unet.interpolator import VideoInterpolator, blend
from .build import EMBEDDED, SvdModel, load_model
from .fingerprint import latent_fingerprint, same_base
from .video_interpolators import StoredInterpolator, load_interpolator_network

EMBEDDED_INTERPOLATOR = Path(__file__).parent.parent / "assets" / "nano_interpolator.safetensors"
# Framer is fine-tuned from a model of 25 steps; the paper names no number for its own interpolation.
_STEPS = 25
_DEPTH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoBetween:
    """The frames between two frames, by an interpolator and the model its latents are of.

    `steps` and `seed` are for the masked form, which samples; the residual form answers at once.
    """

    network: VideoInterpolator
    base: SvdModel
    steps: int = _STEPS
    seed: int = 0

    @torch.no_grad()
    def latents(self, pictures: Tensor) -> Tensor:
        """All latents `B T c h w`, scaled, between pictures `B 2 3 H W` in [-1, 1]; the keys' own at both ends."""
        home = next(self.network.parameters())
        base_dtype = next(self.base.autoencoder.parameters()).dtype
        flat = pictures.flatten(0, 1).to(home.device)
        keys = self.base.autoencoder.encode(flat.to(base_dtype)).unflatten(0, (-1, 2)).float()
        tokens = self.base.image_encoder(flat).unflatten(0, (-1, 2)).to(home.dtype)
        vector = self._vector(len(pictures)).to(home)
        start, end = keys[:, 0], keys[:, 1]
        scale = self.base.config.autoencoder.scale_factor
        if self.network.config.form == "masked":
            return self._sampled(start, end, tokens, vector)
        return self.network.between(start * scale, end * scale, tokens, vector)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents `B T c h w` -> pixels `B T 3 H W`, nominally in [-1, 1]."""
        autoencoder = self.base.autoencoder
        unscaled = latents.to(next(autoencoder.parameters()).dtype) / self.base.config.autoencoder.scale_factor
        return torch.stack([autoencoder.decode(clip, len(clip)).float() for clip in unscaled])

    def __call__(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """The frames between frames `H W C` in [0, 1]: the cross-fade plus what the network adds to it, decoded.

        Alpha is cross-faded.
        """
        height, width, channels = first.shape
        device = next(self.network.parameters()).device
        pair = torch.cat([colours(first), colours(second)]).to(device)
        padded = F.pad(pair, self._padding(height, width), mode="replicate") * 2 - 1
        made = self.latents(padded[None])
        faded = blend(made[:, 0], made[:, -1], made.shape[1])
        added = (self.decode(made) - self.decode(faded))[0, 1:-1, :, :height, :width].permute(0, 2, 3, 1) / 2
        frames: list[Tensor] = []
        for index, change in enumerate(added.to(first.device), start=1):
            frame = torch.lerp(first.float(), second.float(), index / (made.shape[1] - 1))
            shown = 3 if channels >= 3 else 1
            change = change if shown == 3 else change.mean(dim=-1, keepdim=True)
            frame[..., :shown] = (frame[..., :shown] + change).clamp(0, 1)
            frames.append(frame)
        return frames

    def _sampled(self, start: Tensor, end: Tensor, context: Tensor, vector: Tensor) -> Tensor:
        """The masked form from noise, every clip from its own seed; keys are unscaled, as SVD's picture is."""
        config, count = self.network.config, len(start)
        seeds = range(self.seed, self.seed + count)
        sampling = self.base.config.sampling
        shape = (config.frames, *start.shape[1:])
        noise = draw([clip_generator(seed, Stream.LATENT) for seed in seeds], shape).flatten(0, 1).to(start)

        def network(x: Tensor, c_noise: Tensor) -> Tensor:
            level = c_noise.to(x.device).expand(count)
            return self.network.unet(x, level, context, vector.to(x), config.frames)

        denoiser = VDenoiser(network=network, concat=self.network.condition(start, end), dtype=context.dtype)
        made = sample(
            denoiser,
            pure_noise(noise, sampling.sigma_max),
            karras(self.steps, sampling.sigma_min, sampling.sigma_max),
            solver=euler,
            noise=solver_noise(seeds, shape, start.device),
        ).unflatten(0, (count, config.frames))
        scale = self.base.config.autoencoder.scale_factor
        made[:, 0], made[:, -1] = start * scale, end * scale
        return made

    def _vector(self, count: int) -> Tensor:
        """What training said about every clip: the base's own fps and motion bucket, keys without noise."""
        sampling = self.base.config.sampling
        told = MotionControls(fps=sampling.fps, motion_bucket=sampling.motion_bucket, augmentation=0.0, seed=0)
        return assemble_vector(self.network.config.unet.vector, condition_values([told] * count, None), 1)

    def _padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Right and bottom, to whole latent cells at every level of the UNet."""
        cell = self.base.config.autoencoder.downsampling * self.network.config.unet.downsampling
        return (0, math.ceil(width / cell) * cell - width, 0, math.ceil(height / cell) * cell - height)


def load_video_engine(
    source: str | Path = EMBEDDED,
    *,
    base: str | Path | SvdModel | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Halving:
    """The engine of a file, or of "nano", the interpolator of the embedded model.

    It knows the times of its frames (quarters, for five) and, asked twice, those between them (sixteenths).
    `base` is the model whose latents it was trained on; None takes the embedded one.

    Raises:
        InputError: no such file, or none is embedded.
        FileFormatError, UnsupportedModelError, NumericsError: see `load_interpolator_network`.
        WeightsMismatchError: the base is another model than the one it was trained on.
    """
    path = EMBEDDED_INTERPOLATOR if str(source) == EMBEDDED else Path(source)
    if not path.is_file() and not path.is_dir():
        remedy = "Name a file that `svd train interpolator` wrote."
        raise InputError(explain("an interpolator", f"no file {path}", remedy))
    stored = load_interpolator_network(path, dtype=dtype or torch.float32, device=device)
    model = (
        base
        if isinstance(base, SvdModel)
        else load_model(base or EMBEDDED, dtype=dtype or torch.float32, device=device)
    )
    check_base(stored, model, path)
    between = VideoBetween(network=stored.model, base=model)
    steps: Sequence[float] = torch.linspace(0, 1, stored.model.config.frames)[1:-1].tolist()
    return Halving(f"svd:{path.stem}", between, steps, depth=_DEPTH)


def check_base(stored: StoredInterpolator, model: SvdModel, path: Path) -> None:
    """Whether the latents and image tokens of `model` are those an interpolator was trained on.

    Raises:
        WeightsMismatchError: they are not, or do not even have the right number of channels.
    """
    config = stored.model.config
    fits = config.unet.context_dim == model.config.image_encoder.projection
    fits = fits and config.latent_channels == model.config.autoencoder.latent_channels
    known = stored.base is None or same_base(stored.base, latent_fingerprint(model))
    if fits and known:
        return
    wanted = stored.base or f"of {config.latent_channels} channels"
    raise WeightsMismatchError(
        explain(
            f"the model {path.name} was trained on, with latents {wanted}",
            f"{model.config.name} with latents {latent_fingerprint(model)}",
            "Name its own model, or train an interpolator for this one: svd train interpolator --model FILE.",
        )
    )
