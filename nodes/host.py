"""The one door to the host: whatever the pack uses of ComfyUI is imported, and if need be adapted, here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.clip_vision
import comfy.conds
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.patcher_extension
import comfy.sd
import comfy.supported_models
import comfy.utils
import folder_paths
from comfy_api.latest import ComfyExtension, io, ui
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
    "LatentFormat",
    "ModelPatcher",
    "ModelType",
    "StableDiffusionLatents",
    "SvdModelBase",
    "SvdModelConfig",
    "cast_on_use",
    "conds",
    "folder_paths",
    "io",
    "management",
    "quietly",
    "ui",
    "utils",
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
