"""diffusers' UNet with the weights of one of ours, where diffusers is installed: something to measure against."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..config import UNetConfig
from ..unet import VideoUNet
from ..weights.keymaps import Place, unet_rules
from ..weights.mapped import apply_transform
from .stand_ins import Call

# The published weights were trained with 1e-5; diffusers builds most res block norms with 1e-6.
_EPS, _THEIR_EPS = 1e-5, 1e-6


def available() -> bool:
    """Whether diffusers can be imported."""
    return find_spec("diffusers") is not None


def diffusers_unet(config: UNetConfig, *, frames: int) -> nn.Module:
    """An untrained UNetSpatioTemporalConditionModel of the given sizes, its norms as in the original."""
    # An optional neighbour: imported by name, so that nothing here depends on it.
    diffusers = cast("Any", import_module("diffusers"))
    unet = cast(
        "nn.Module",
        diffusers.UNetSpatioTemporalConditionModel(
            in_channels=config.in_channels,
            out_channels=config.out_channels,
            block_out_channels=config.channels,
            layers_per_block=config.res_blocks,
            addition_time_embed_dim=config.vector[0].width,
            projection_class_embeddings_input_dim=config.vector_dim,
            cross_attention_dim=config.context_dim,
            num_attention_heads=tuple(width // config.head_channels for width in config.channels),
            num_frames=frames,
        ),
    )
    for name, module in unet.named_modules():
        if isinstance(module, nn.GroupNorm) and "_res_block.norm" in name and module.eps == _THEIR_EPS:
            module.eps = _EPS
    return unet.requires_grad_(False).eval()


def with_our_weights(theirs: nn.Module, ours: VideoUNet) -> nn.Module:
    """Copy every tensor over by the key table."""
    state, renamed = ours.state_dict(), dict[str, Tensor]()
    for rule in unet_rules(Place("", "diffusers"), ours.config):
        back = rule.inverse()
        tensors = apply_transform(back.transform, [state[name] for name in back.sources], len(back.targets))
        renamed |= dict(zip(back.targets, tensors, strict=True))
    theirs.load_state_dict(renamed)
    return theirs


def call_theirs(unet: nn.Module, call: Call, scalars: Tensor) -> Tensor:
    """One call in diffusers' own terms; `scalars` `b 3` are fps, motion bucket and augmentation."""
    x = call.x.unflatten(0, (-1, call.frames))
    output = unet(x, call.c_noise, encoder_hidden_states=call.context, added_time_ids=scalars, return_dict=False)
    return output[0].flatten(0, 1)


def sinusoids(unet: nn.Module, scalars: Tensor) -> Tensor:
    """What diffusers turns the scalars into: the `b v` vector that our network takes."""
    project = unet.get_submodule("add_time_proj")
    with torch.no_grad():
        return project(scalars.flatten()).reshape(scalars.shape[0], -1)
