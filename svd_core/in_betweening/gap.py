"""One gap: two pictures to the latents of the clip between them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..conditioning import stacked
from ..directing import encode_frames
from ..memory import with_leaner_retry
from ..pipeline import SILENT, Watch, clip_denoiser, condition, plan_for
from ..sampling import (
    Direction,
    OnStep,
    Predict,
    noised,
    pure_noise,
    sample_bounded,
    solver_noise,
    starting_at,
)
from ..settings import Start
from ..types import ImageConditioning
from ..unet import ExecutionPlan, VideoUNet, loop_device
from ..unet.plan import leaner
from ..weights.build import SvdModel
from .chain import Gap
from .flow_start import flow_start
from .settings import InBetweenSettings, resolved_for

UNRELATED = "No motion leads from one picture to the next: flow_start is left out there."


def sample_gap(
    model: SvdModel, pair: Tensor, settings: InBetweenSettings, gap: Gap, *, watch: Watch = SILENT
) -> Tensor:
    """Latents `T c h w` float32 on the CPU, times the scale factor, between pictures `2 3 H W` in [0, 1].

    Errors as in `animate`.
    """
    resolved = resolved_for(model.config, settings, gap)

    def encode(_: str) -> tuple[ImageConditioning, Tensor]:
        return condition(model, pair * 2 - 1, resolved), encode_frames(model, pair * 2 - 1)

    told, ends = with_leaner_retry("encoding the pictures", encode, "one pair at a time", None, watch.on_notice)
    start = None
    if settings.flow_start:
        start = flow_start(pair, resolved.frames, settings.flow_start, partial(encode_frames, model))
        if start is None and watch.on_notice is not None:
            watch.on_notice(UNRELATED)
    x, sigmas = beginning(resolved.noise[0], resolved.sigmas, start)
    device = loop_device(model.unet)

    def run(plan: ExecutionPlan) -> Tensor:
        forwards, backwards = (
            Direction(
                predict=predict_for(model.unet, one_of(told, side), plan),
                weights=resolved.weights[side],
                far=ends[1 - side].to(device),
            )
            for side in (0, 1)
        )
        noise = solver_noise([gap.seed], x.shape, device)
        steps = _in_full(watch.on_step, len(resolved.sigmas) - len(sigmas), len(resolved.sigmas) - 1)
        return sample_bounded(settings.bounded, forwards, backwards, x.to(device), sigmas, noise=noise, on_step=steps)

    plan = plan_for(model, resolved)
    return with_leaner_retry("sampling", run, plan, leaner(plan), watch.on_notice).cpu()


def beginning(noise: Tensor, sigmas: Tensor, start: Start | None) -> tuple[Tensor, Tensor]:
    """Where sampling begins, and the schedule from there: pure noise `t c h w`, or a start under noise."""
    if start is None:
        return pure_noise(noise, float(sigmas[0])), sigmas
    sigmas = starting_at(sigmas, min(start.sigma, float(sigmas[0])))
    return noised(start.latents, noise, float(sigmas[0])), sigmas


def one_of(told: ImageConditioning, index: int) -> ImageConditioning:
    """The conditioning of one clip of several."""
    row = slice(index, index + 1)
    return replace(told, context=told.context[row], concat_latents=told.concat_latents[row], vector=told.vector[row])


def predict_for(unet: VideoUNet, told: ImageConditioning, plan: ExecutionPlan) -> Predict:
    """The UNet bound to one picture: estimates without it and with it, in one call where the plan allows."""
    nothing = told.unconditional()
    if plan.batched_guidance:
        both = clip_denoiser(unet, stacked(nothing, told), plan)

        def together(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            unconditional, conditional = both(torch.cat([x, x]), sigma).chunk(2)
            return unconditional, conditional

        return together
    without, within = clip_denoiser(unet, nothing, plan), clip_denoiser(unet, told, plan)
    return lambda x, sigma: (without(x, sigma), within(x, sigma))


def _in_full(on_step: OnStep | None, skipped: int, total: int) -> OnStep | None:
    """Steps counted as if none had been skipped: bars are made before it is known where a gap starts."""
    if on_step is None or not skipped:
        return on_step
    return lambda step: on_step(replace(step, index=step.index + skipped, total=total))
