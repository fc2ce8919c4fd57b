"""Which weights must lie on the accelerator while the loop runs, stand-alone; inside a host its own manager decides."""

from __future__ import annotations

import dataclasses
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from .stages import StepConstants
from .unet import VideoUNet

Value = TypeVar("Value")


def hoisted_modules(unet: VideoUNet) -> list[nn.Module]:
    """Every module that only feeds the constants: with a single context token the loop never touches them.

    For SVD they hold 256 of 1,525 million parameters; `attn2.to_q`, `attn2.to_k` and `norm2` among them
    never influence the output at all.
    """
    names = ("emb_layers", "attn2", "norm2", "time_mixer", "time_pos_embed")
    found = [child for module in unet.modules() for name, child in module.named_children() if name in names]
    return [unet.time_embed, unet.label_emb, *found]


def place_for_loop(unet: VideoUNet, device: torch.device | str) -> None:
    """Move what the loop reads to `device` and leave what only feeds the constants where it is.

    Only for contexts of a single token: a longer one reads cross-attention in every step.
    """
    stays = {id(p) for module in hoisted_modules(unet) for p in module.parameters()}
    for module in unet.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in stays:
                moved = nn.Parameter(parameter.detach().to(device), requires_grad=parameter.requires_grad)
                module.register_parameter(name, moved)


def loop_device(unet: VideoUNet) -> torch.device:
    """Where x must be: the device of the output convolution."""
    return next(unet.out.parameters()).device


def hoist_device(unet: VideoUNet) -> torch.device:
    """Where the constants are evaluated: the device of the weights they come from."""
    return next(unet.time_embed.parameters()).device


def constants_on(constants: StepConstants, device: torch.device) -> StepConstants:
    """The same constants with every tensor on `device`."""
    return _moved(constants, device)


def _moved(value: Value, device: torch.device) -> Value:
    if isinstance(value, Tensor):
        return cast("Value", value.to(device))
    if isinstance(value, tuple):
        return cast("Value", tuple(_moved(entry, device) for entry in cast("tuple[object, ...]", value)))
    if isinstance(value, dict):
        entries = cast("dict[object, object]", value)
        return cast("Value", {key: _moved(entry, device) for key, entry in entries.items()})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _moved(getattr(value, f.name), device) for f in dataclasses.fields(value)}
        return cast("Value", dataclasses.replace(value, **fields))
    return value
