"""The one door to the host: whatever the pack uses of ComfyUI is imported, and if need be adapted, here."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import comfy.clip_vision
import comfy.conds
import comfy.latent_formats
import comfy.lora
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
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy_api.latest import ComfyExtension, InputImpl, Types, io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context
from PIL import Image
from torch import Tensor

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
    "ExecutionBlocker",
    "LatentFormat",
    "ModelPatcher",
    "ModelType",
    "StableDiffusionLatents",
    "SvdModelBase",
    "SvdModelConfig",
    "both_ways_sampling",
    "cast_on_use",
    "check_interrupt",
    "conds",
    "during_runs",
    "folder_paths",
    "guided_sampling",
    "io",
    "latent_colours",
    "lora_patches",
    "management",
    "masked_denoiser",
    "metadata_allowed",
    "preview_size",
    "progress",
    "put_around",
    "quietly",
    "register_folder",
    "send_to_page",
    "server_certificate",
    "two_predictions",
    "ui",
    "utils",
    "video",
    "work_report",
    "wrapped",
    "wrappers_on",
]


def wrapped(
    method: Callable[..., Tensor], owner: object, options: dict[str, object], kind: str
) -> Callable[..., Tensor]:
    """`method` inside the wrappers other nodes put around it; `kind` names the host's list of them."""
    extension = comfy.patcher_extension
    wrappers = extension.get_all_wrappers(getattr(extension.WrappersMP, kind), options)
    return extension.WrapperExecutor.new_class_executor(method, owner, wrappers).execute


def during_runs(
    patcher: ModelPatcher, begin: Callable[[ModelPatcher], None], end: Callable[[ModelPatcher], None]
) -> None:
    """Call `begin` before every run of `patcher` or a clone of it, and `end` after it, also when it fails."""
    kinds = comfy.patcher_extension.CallbacksMP
    patcher.add_callback(kinds.ON_PRE_RUN, begin)
    patcher.add_callback(kinds.ON_CLEANUP, end)


def put_around(patcher: ModelPatcher, kind: str, wrapper: Callable[..., Any]) -> None:
    """Have `wrapper(executor, *arguments)` run in place of every call of that kind, a name of the host's list."""
    patcher.add_wrapper(getattr(comfy.patcher_extension.WrappersMP, kind), wrapper)


def wrappers_on(patcher: ModelPatcher, kind: str) -> list[Callable[..., Any]]:
    """What `put_around` and other packs put around calls of that kind."""
    return patcher.get_all_wrappers(getattr(comfy.patcher_extension.WrappersMP, kind))


def lora_patches(tensors: dict[str, Tensor], targets: dict[str, str]) -> dict[str, object]:
    """LoRA tensors as the host patches weights with them: stems of the tensors' names -> names of weights."""
    return comfy.lora.load_lora(tensors, targets)


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


def register_folder(name: str) -> None:
    """Make `models/<name>` a folder of models, beside whatever the user's own paths say of it."""
    folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))


def check_interrupt() -> None:
    """Stop here if the user pressed cancel."""
    management.throw_exception_if_processing_interrupted()


def preview_size() -> int | None:
    """The longest side of a preview in pixels; None where the user wants none."""
    return None if args.preview_method == LatentPreviewMethod.NoPreviews else args.preview_size


def latent_colours(model: ModelPatcher) -> tuple[Tensor | None, Tensor | None]:
    """Factors `c 3` and bias `3` that turn the model's latents into colours, as far as the host knows them."""
    latents = model.model.latent_format
    told = (latents.latent_rgb_factors, latents.latent_rgb_factors_bias)
    factors, bias = (None if values is None else torch.tensor(values) for values in told)
    return factors, bias


def progress() -> Callable[[int, int, Image.Image | None], None]:
    """The bar of the node that runs, moved by (done, total, picture of the moment)."""
    bar = utils.ProgressBar(1)

    def report(done: int, total: int, picture: Image.Image | None) -> None:
        bar.update_absolute(done, total, None if picture is None else ("JPEG", picture, preview_size()))

    return report


def send_to_page(event: str, data: dict[str, object]) -> None:
    """An event for the page that queued the graph, with the node and prompt it belongs to; without a server, none."""
    place = get_executing_context()
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    instance = getattr(server, "instance", None)
    if instance is None or place is None:
        return
    shown = get_progress_state().dynprompt.get_display_node_id(place.node_id)
    where = {"node": place.node_id, "display_node": shown, "prompt_id": place.prompt_id}
    instance.send_sync(event, {**where, **data}, instance.client_id)


def work_report() -> Callable[[int, int], None]:
    """Progress of anything else, told as (done, total); cancelling takes effect here."""
    bar = progress()

    def report(done: int, total: int) -> None:
        check_interrupt()
        bar(done, max(1, total), None)

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


def both_ways_sampling(
    model: ModelPatcher,
    ways: dict[str, tuple[list[list[Any]], list[list[Any]]]],
    sampler: object,
    sigmas: Tensor,
    noise: Tensor,
    start: Tensor,
    seed: int,
) -> Tensor:
    """`guided_sampling` with several pairs of conditioning by name; the sampler asks for each by `two_predictions`."""
    guider = comfy.samplers.CFGGuider(model)
    for name, (positive, negative) in ways.items():
        guider.inner_set_conds({f"positive {name}": positive, f"negative {name}": negative})
    start = comfy.sample.fix_empty_latent_channels(model, start)
    samples = guider.sample(noise, start, sampler, sigmas, disable_pbar=True, seed=seed)
    return samples.to(management.intermediate_device())


def two_predictions(
    guider: object, name: str, extra: dict[str, Any]
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The estimates without and with the picture of one pair of conditioning, in one call where memory allows."""
    run: Any = guider
    pair = [run.conds[f"positive {name}"], run.conds[f"negative {name}"]]

    def predict(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        check_interrupt()
        levels = torch.full((len(x),), float(sigma), device=x.device)
        made = comfy.samplers.calc_cond_batch(run.inner_model, pair, x, levels, extra["model_options"])
        return made[1], made[0]

    return predict


def masked_denoiser(
    guider: object, sigmas: Tensor, extra: dict[str, Any], noise: Tensor, start: Tensor, mask: Tensor | None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The guider as a denoiser that leaves what the mask protects as it was."""
    inpaint = comfy.samplers.KSamplerX0Inpaint(guider, sigmas)
    inpaint.noise, inpaint.latent_image = noise, start
    return lambda x, sigma: inpaint(x, sigma, mask, **extra)


def server_certificate() -> str | None:
    """The certificate the server shows, where it is one for https."""
    return args.tls_certfile if args.tls_keyfile and args.tls_certfile else None


def metadata_allowed() -> bool:
    """Whether the user wants graphs inside files."""
    return not args.disable_metadata


def video(images: Tensor, fps: Fraction) -> object:
    """The host's VIDEO of frames `t H W 3`."""
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=fps))
