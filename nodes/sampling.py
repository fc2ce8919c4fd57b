"""svd_core's sampling loop inside the host's guider, so that patches, hooks, masks and memory stay the host's.

Each clip is a call of its own: the host's models take one clip a batch, and a clip is then the same in any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..svd_core.config import SV3D_P, UNetConfig
from ..svd_core.errors import InputError, explain
from ..svd_core.sampling import Stream, clip_generator, clip_seeds, draw, make_schedule, sample, solver_noise
from ..svd_core.sampling.solvers import Solver, get_solver
from ..svd_core.types import StepInfo
from .clips import Conditioning, Latent, clip_length, one_clip, playback_rate
from .host import ModelPatcher, SvdModelBase, check_interrupt, guided_sampling, masked_denoiser
from .host_model import CLIP_FRAMES
from .live import StepReport

Report = Callable[[StepInfo], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What the artist chose; names are svd_core's."""

    seed: int
    steps: int
    cfg: float
    solver: str
    schedule: str


def sample_clips(
    model: ModelPatcher,
    positive: Conditioning,
    negative: Conditioning,
    latent: Latent,
    chosen: Sampling,
) -> tuple[Latent, list[str]]:
    """The latent with every clip sampled, and what there is to say about it: memory that ran out on the way.

    Raises:
        InputError: the model is not of the SVD family, or conditioning and latent do not fit.
    """
    check_family(model)
    for name, half in (("positive", positive), ("negative", negative)):
        check_conditioning(model, name, half)
    frames = clip_length(latent, positive)
    starts = latent["samples"].split(frames)
    sigmas = sigmas_for(model, chosen)
    report = StepReport(model, chosen.steps, len(starts), playback_rate(positive))
    finished: list[Tensor] = []
    notices: list[str] = []
    for index, (start, seed) in enumerate(zip(starts, clip_seeds(chosen.seed, len(starts)), strict=True)):
        told = (one_clip(conditioning, index, len(starts)) for conditioning in (positive, negative))
        noise = draw([clip_generator(seed, Stream.LATENT)], _shape(model, start)).squeeze(0)
        walk = _Walk(get_solver(chosen.solver), seed, float(sigmas[0]), _clip_report(report, index))
        mask = _mask(latent, index, frames)
        finished.append(guided_sampling(model, *told, chosen.cfg, walk, sigmas, noise, start, mask, seed))
        notices += getattr(model.model.diffusion_model, "notices", ())
    # Decoding must not run clips together of which only the conditioning knew.
    return latent | {"samples": torch.cat(finished), CLIP_FRAMES: frames}, list(dict.fromkeys(notices))


def check_family(model: ModelPatcher) -> None:
    """Refuse a MODEL that does not predict video from a picture.

    Raises:
        InputError: any other family.
    """
    if not isinstance(model.model, SvdModelBase):
        remedy = "Load an SVD or SV3D checkpoint; other families need their own sampler."
        raise InputError(explain("`model` of the SVD family", type(model.model).__name__, remedy))


def check_conditioning(model: ModelPatcher, name: str, conditioning: Conditioning) -> None:
    """Refuse conditioning that was made for another kind of model.

    Raises:
        InputError: none at all, tokens of another width, or no camera angles for a model that goes by them.
    """
    if not conditioning:
        raise InputError(explain(f"`{name}` conditioning", "nothing", "Connect SVD Image Conditioning."))
    described: dict[str, Any] = model.model.model_config.unet_config
    for tokens, values in conditioning:
        width = described.get("context_dim", tokens.shape[-1])
        if tokens.shape[-1] != width:
            remedy = "Use clip_vision of the checkpoint that is sampled; text conditioning does not fit."
            raise InputError(explain(f"`{name}` of {width} channels", f"{tokens.shape[-1]}", remedy))
        if _goes_by_angles(described) and not {"elevation", "azimuth"} <= values.keys():
            raise InputError(explain(f"camera angles in `{name}` for SV3D-p", "none", "Use SV3D Orbit."))


def _goes_by_angles(described: dict[str, Any]) -> bool:
    ours: UNetConfig | None = described.get("config")
    if ours is not None:
        return any(condition.per_frame for condition in ours.vector)
    return described.get("adm_in_channels") == SV3D_P.unet.vector_dim


def sigmas_for(model: ModelPatcher, chosen: Sampling) -> Tensor:
    """The schedule over the range the MODEL names, `S + 1`."""
    sampling = model.get_model_object("model_sampling")
    # The host keeps its range as exp(log(sigma)) in float32; five digits are what people write.
    lowest, highest = (float(f"{float(end):.5g}") for end in (sampling.sigma_min, sampling.sigma_max))
    return make_schedule(chosen.schedule, chosen.steps, lowest, highest)


class _Walk:
    """What the host's guider calls as its sampler: hands it to svd_core's loop."""

    def __init__(self, solver: Solver, seed: int, highest: float, report: Report) -> None:
        """highest: where pure noise starts; a run that begins below it starts from noised latents."""
        self._solver = solver
        self._seed = seed
        self._highest = highest
        self._report = report

    def sample(
        self,
        model_wrap: Any,  # noqa: ANN401 - the host's guider
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: object,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """Noise `t c h w` and the latent to start from, both on the device -> the sampled latent, scaled."""
        denoise = masked_denoiser(model_wrap, sigmas, extra_args, noise, latent_image, denoise_mask)

        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            check_interrupt()
            return denoise(x, torch.full((len(x),), float(sigma), device=x.device))

        scaling = model_wrap.inner_model.model_sampling.noise_scaling
        return sample(
            denoiser,
            scaling(sigmas[0], noise, latent_image, float(sigmas[0]) >= self._highest),
            sigmas,
            solver=self._solver,
            noise=solver_noise([self._seed], noise.shape, noise.device),
            on_step=self._report,
        )


def _clip_report(report: StepReport, clip: int) -> Report:
    return lambda info: report(clip, info)


def _shape(model: ModelPatcher, start: Tensor) -> tuple[int, ...]:
    """Of the noise of a clip: an empty latent of other channels is taken for the model's own."""
    channels = model.get_model_object("latent_format").latent_channels
    if start.shape[1] != channels and bool(start.any()):
        remedy = "Use the VAE that belongs to this model."
        raise InputError(explain(f"latents of {channels} channels", f"{start.shape[1]}", remedy))
    return (len(start), channels, *start.shape[2:])


def _mask(latent: Latent, clip: int, frames: int) -> Tensor | None:
    """The mask of one clip: given for all frames, for one clip, or for a single frame."""
    mask = latent.get("noise_mask")
    if mask is None or len(mask) <= frames:
        return mask
    return mask[clip * frames : (clip + 1) * frames]
