"""The video interpolator as an engine for `interpolate`: latents and image tokens of its base model, frames between.

What it adds is decoded and laid over the cross-fade of the frames themselves, so that detail the autoencoder cannot
hold stays, and frames that do not move are not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autoencoder.autoencoder import Autoencoder
from ..autoencoder.decoding import stream_clip
from ..autoencoder.footprint import DecodePlan, choose_decode_plan
from ..conditioning import assemble_vector, condition_values
from ..config import ModelConfig
from ..errors import InputError, WeightsMismatchError, explain
from ..image_encoder.image_encoder import ImageEncoder
from ..interpolation.alpha import colours_in, laid, lifted
from ..interpolation.cuts import seen
from ..interpolation.engines import Halving
from ..memory import usable_bytes, with_leaner_retry
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
STEPS = 25
"""Sampling steps of the masked form, where nothing else is asked for."""
_DEPTH = 2


class Base(Protocol):
    """What of a model an interpolator's frames go through; an `SvdModel` has it."""

    @property
    def autoencoder(self) -> Autoencoder:
        """Pictures to latents and back."""
        ...

    @property
    def image_encoder(self) -> ImageEncoder:
        """Pictures to the tokens the network attends to."""
        ...

    @property
    def config(self) -> ModelConfig:
        """Scale of the latents, defaults told to the network."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoBetween:
    """The frames between two frames, by an interpolator and the model its latents are of.

    `steps` and `seed` are for the masked form, which samples; the residual form answers at once. `device` is where to
    compute if that is not where the weights lie, `token_dtype` what the image encoder computes in if not in the dtype
    of its weights (a host's layers bring theirs along). `on_work` is called ahead of every call of a network and may
    end the work by an exception; `notices` says what went wrong and was mended.
    """

    network: VideoInterpolator
    base: Base
    steps: int = STEPS
    seed: int = 0
    device: torch.device | None = None
    token_dtype: torch.dtype | None = None
    on_work: Callable[[], None] | None = None
    notices: list[str] = field(default_factory=lambda: list[str]())

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(explain("`steps` of at least 1", str(self.steps), "Ask for one step or more."))

    @property
    def home(self) -> torch.device:
        """Where it computes."""
        return self.device or next(self.network.parameters()).device

    @torch.no_grad()
    def latents(self, pictures: Tensor) -> Tensor:
        """All latents `B T c h w`, scaled, between pictures `B 2 3 H W` in [-1, 1]; the keys' own at both ends."""
        dtype = next(self.network.parameters()).dtype
        flat = pictures.flatten(0, 1).to(self.home)
        keys = self.encoded(flat).unflatten(0, (-1, 2))
        self._working()
        tokens = self.base.image_encoder(flat, dtype=self.token_dtype).unflatten(0, (-1, 2)).to(dtype)
        vector = self._vector(len(pictures)).to(self.home, dtype)
        start, end = keys[:, 0], keys[:, 1]
        scale = self.base.config.autoencoder.scale_factor
        self._working()
        if self.network.config.form == "masked":
            return self._sampled(start, end, tokens, vector)
        return self.network.between(start * scale, end * scale, tokens, vector)

    @torch.no_grad()
    def encoded(self, pictures: Tensor) -> Tensor:
        """Unscaled float32 latents `N c h w` of pictures `N 3 H W` in [-1, 1], one by one: large ones need the room."""
        dtype = next(self.base.autoencoder.parameters()).dtype
        parts: list[Tensor] = []
        for picture in pictures.split(1):
            self._working()
            parts.append(self.base.autoencoder.encode(picture.to(self.home, dtype)).float())
        return torch.cat(parts)

    @torch.no_grad()
    def decode(self, latents: Tensor, home: torch.device | None = None) -> Tensor:
        """Scaled latents `B T c h w` -> float32 pixels `B T 3 H W`, nominally in [-1, 1], on `home` or where they are.

        As many frames together as the size of the machine's memory allows, in tiles where not even one fits.
        """
        plan = self.decode_plan(latents.shape[1], latents.shape[-2], latents.shape[-1])

        def run(plan: DecodePlan) -> Tensor:
            return torch.stack([self._decoded(clip, plan, home or latents.device) for clip in latents])

        return with_leaner_retry("decoding", run, plan, plan.leaner(), self.notices.append)

    def decode_plan(self, frames: int, height: int, width: int) -> DecodePlan:
        """How a clip of latents of that size is decoded; by the size of the memory, never by what is free of it."""
        usable, modules = usable_bytes(self.home), (self.network, self.base.autoencoder, self.base.image_encoder)
        weights = sum(parameter.nbytes for module in modules for parameter in module.parameters())
        return choose_decode_plan(
            self.base.config.autoencoder,
            frames=frames,
            height=height,
            width=width,
            bytes_per_value=next(self.base.autoencoder.parameters()).dtype.itemsize,
            room=None if usable is None else usable - weights,
        )

    def _decoded(self, latents: Tensor, plan: DecodePlan, home: torch.device) -> Tensor:
        def progress(done: int, total: int) -> None:
            self._working()

        unscaled = latents.to(self.home) / self.base.config.autoencoder.scale_factor
        pieces = stream_clip(
            self.base.autoencoder,
            unscaled,
            len(latents),
            chunk=plan.chunk,
            tile=plan.tile,
            progress=progress,
        )
        return torch.cat([piece.to(home) for piece in pieces])

    def __call__(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """The frames between frames `H W C` in [0, 1]: the cross-fade plus what the network adds to it, decoded.

        Alpha is cross-faded; the network sees transparent frames over grey.
        """
        height, width, channels = first.shape
        pair = torch.cat([seen(first), seen(second)]).to(self.home)
        padded = F.pad(pair, self._padding(height, width), mode="replicate") * 2 - 1
        made = self.latents(padded[None])
        faded = blend(made[:, 0], made[:, -1], made.shape[1])
        # Together, so that both are decoded by one plan and what is the same in both cancels.
        drawn, plain = self.decode(torch.cat([made, faded]), first.device)
        added = (drawn - plain)[1:-1, :, :height, :width] / 2
        one, two = (laid(frame.movedim(-1, 0)[None].float()) for frame in (first, second))
        frames: list[Tensor] = []
        for index, change in enumerate(added, start=1):
            frame = torch.lerp(one, two, index / (made.shape[1] - 1))
            shown = colours_in(channels)
            change = change if shown == len(change) else change.mean(dim=0, keepdim=True)
            frame[:, :shown] = (frame[:, :shown] + change).clamp(0, 1)
            frames.append(lifted(frame)[0].movedim(0, -1))
        return frames

    def _sampled(self, start: Tensor, end: Tensor, context: Tensor, vector: Tensor) -> Tensor:
        """The masked form from noise, every clip from its own seed; keys are unscaled, as SVD's picture is."""
        config, count = self.network.config, len(start)
        seeds = range(self.seed, self.seed + count)
        sampling = self.base.config.sampling
        shape = (config.frames, *start.shape[1:])
        noise = draw([clip_generator(seed, Stream.LATENT) for seed in seeds], shape).flatten(0, 1).to(start)

        def network(x: Tensor, c_noise: Tensor) -> Tensor:
            self._working()
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

    def _working(self) -> None:
        if self.on_work is not None:
            self.on_work()

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
    steps: int = STEPS,
    seed: int = 0,
) -> Halving:
    """The engine of a file, or of "nano", the interpolator of the embedded model.

    It knows the times of its frames (quarters, for five) and, asked twice, those between them (sixteenths).
    `base` is the model whose latents it was trained on; None takes the embedded one. `steps` and `seed` are for files
    of the masked form (Framer's is one): every gap is sampled in so many steps, from noise of that seed.

    Raises:
        InputError: no such file, none is embedded, or less than one step.
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
    return engine_of(VideoBetween(network=stored.model, base=model, steps=steps, seed=seed), path.stem)


def engine_of(between: VideoBetween, name: str) -> Halving:
    """An engine that knows the times of the network's frames and, asked twice, those between them."""
    steps: Sequence[float] = torch.linspace(0, 1, between.network.config.frames)[1:-1].tolist()
    return Halving(f"svd:{name}", between, steps, depth=_DEPTH, notices=between.notices)


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
            f"{model.config.name} in {Path(model.report.source).name} with latents {latent_fingerprint(model)}",
            "Name its own model, or train an interpolator for this one: svd train interpolator --model FILE.",
        )
    )
