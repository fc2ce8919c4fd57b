"""The one door to the host: whatever the pack uses of ComfyUI is imported, and if need be adapted, here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import comfy.clip_vision
import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.supported_models
import comfy.utils
import folder_paths
from comfy.cli_args import LatentPreviewMethod, args
from comfy_api.latest import ComfyExtension, InputImpl, Types, io, ui
from torch import Tensor

from ..svd_core.types import StepInfo

management = comfy.model_management
conds = comfy.conds
utils = comfy.utils

BaseModel = comfy.model_base.BaseModel
ModelType = comfy.model_base.ModelType
SvdModelBase = comfy.model_base.SVD_img2vid
SvdModelConfig = comfy.supported_models.SVD_img2vid
LatentFormat = comfy.latent_formats.LatentFormat
StableDiffusionLatents = comfy.latent_formats.SD15
ModelPatcher = comfy.model_patcher.ModelPatcher
VAE = comfy.sd.VAE
ClipVisionOutput = comfy.clip_vision.Output
# Layers that bring their weights to the dtype and device of their input in every call.
cast_on_use = comfy.ops.manual_cast

__all__ = [
    "VAE",
    "BaseModel",
    "ClipVisionOutput",
    "ComfyExtension",
    "LatentFormat",
    "ModelPatcher",
    "ModelType",
    "StableDiffusionLatents",
    "StepReport",
    "SvdModelBase",
    "SvdModelConfig",
    "cast_on_use",
    "check_interrupt",
    "conds",
    "folder_paths",
    "guided_sampling",
    "io",
    "management",
    "masked_denoiser",
    "metadata_allowed",
    "quietly",
    "step_report",
    "ui",
    "utils",
    "video",
    "work_report",
    "wrapped",
]


def wrapped(
    method: Callable[..., Tensor], owner: object, options: dict[str, object], kind: str
) -> Callable[..., Tensor]:
    """`method` inside the wrappers other nodes put around it; `kind` names the host's list of them."""
    extension = comfy.patcher_extension
    wrappers = extension.get_all_wrappers(getattr(extension.WrappersMP, kind), options)
    return extension.WrapperExecutor.new_class_executor(method, owner, wrappers).execute


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the host's warnings back where one of its constructors is used for less than it was made for."""

    def only_errors(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    root = logging.getLogger()
    root.addFilter(only_errors)
    try:
        yield
    finally:
        root.removeFilter(only_errors)


StepReport = Callable[[int, StepInfo], None]
"""Told the number of the clip and what its step gave."""


def check_interrupt() -> None:
    """Stop here if the user pressed cancel."""
    management.throw_exception_if_processing_interrupted()


def step_report(model: ModelPatcher, steps: int, clips: int) -> StepReport:
    """Progress over all clips, with a preview that plays through the frames as the steps go by."""
    from PIL import Image

    from ..svd_core.sampling.preview import preview
    from ..svd_core.video_io.images import encode_rgb

    bar = utils.ProgressBar(steps * clips)
    shown = args.preview_method != LatentPreviewMethod.NoPreviews

    def report(clip: int, info: StepInfo) -> None:
        image = None
        if shown:
            frame = (info.index * max(1, len(info.denoised) // info.total)) % len(info.denoised)
            image = ("JPEG", Image.fromarray(encode_rgb(preview(info.denoised)[frame])), args.preview_size)
        bar.update_absolute(clip * steps + info.index + 1, steps * clips, image)

    return report


def work_report() -> Callable[[int, int], None]:
    """Progress of anything else, told as (done, total); cancelling takes effect here."""
    bar = utils.ProgressBar(1)

    def report(done: int, total: int) -> None:
        check_interrupt()
        bar.update_absolute(done, max(1, total))

    return report


def guided_sampling(
    model: ModelPatcher,
    positive: list[list[Any]],
    negative: list[list[Any]],
    cfg: float,
    sampler: object,
    sigmas: Tensor,
    noise: Tensor,
    start: Tensor,
    mask: Tensor | None,
    seed: int,
) -> Tensor:
    """Run `sampler.sample` inside the host's guider, whose business are loading, conditioning, hooks and patches."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    start = comfy.sample.fix_empty_latent_channels(model, start)
    samples = guider.sample(noise, start, sampler, sigmas, denoise_mask=mask, disable_pbar=True, seed=seed)
    return samples.to(management.intermediate_device())


def masked_denoiser(
    guider: object, sigmas: Tensor, extra: dict[str, Any], noise: Tensor, start: Tensor, mask: Tensor | None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The guider as a denoiser that leaves what the mask protects as it was."""
    inpaint = comfy.samplers.KSamplerX0Inpaint(guider, sigmas)
    inpaint.noise, inpaint.latent_image = noise, start
    return lambda x, sigma: inpaint(x, sigma, mask, **extra)


def metadata_allowed() -> bool:
    """Whether the user wants graphs inside files."""
    return not args.disable_metadata


def video(images: Tensor, fps: Fraction) -> object:
    """The host's VIDEO of frames `t H W 3`."""
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=fps))
