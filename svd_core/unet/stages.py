"""The numbered stages of the UNet: what stands in each, and how a config becomes the list of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import UNetConfig
from ..operations import Layers
from .inflated import ClipSignals, ResConstants, SpatialVideoTransformer, TransformerConstants, VideoResBlock
from .plan import ExecutionPlan
from .spatial import Downsample, Upsample


@dataclass(frozen=True, slots=True)
class ClipConstants:
    """Everything that depends on the clips and not on the noise level; reused for every step."""

    signals: ClipSignals
    label: Tensor
    transformers: dict[SpatialVideoTransformer, TransformerConstants]


@dataclass(frozen=True, slots=True)
class StepConstants:
    """Everything one call needs besides x."""

    clip: ClipConstants
    res_blocks: dict[VideoResBlock, ResConstants]


class Stage(nn.ModuleList):
    """One numbered entry: a convolution or res block, perhaps a transformer, perhaps a resampling."""


def apply_layer(layer: nn.Module, x: Tensor, constants: StepConstants, plan: ExecutionPlan, size: torch.Size) -> Tensor:
    """Run one layer of a stage on x `(b t) c h w`; `size` is where an upsampling must arrive."""
    if isinstance(layer, VideoResBlock):
        return layer(x, constants.res_blocks[layer])
    if isinstance(layer, SpatialVideoTransformer):
        return layer(x, constants.clip.transformers[layer], plan.feed_forward_blocks)
    return layer(x, size) if isinstance(layer, Upsample) else layer(x)


def down_stages(layers: Layers, config: UNetConfig) -> Iterator[Stage]:
    """The input convolution, then `res_blocks` stages a level with a downsampling between levels."""
    width = config.channels[0]
    yield Stage([layers.conv2d(config.in_channels, width)])
    for level, channels in enumerate(config.channels):
        for _ in range(config.res_blocks):
            yield Stage(_res_and_transformer(layers, config, level, width))
            width = channels
        if level + 1 < len(config.channels):
            yield Stage([Downsample(layers, channels)])


def middle_stage(layers: Layers, config: UNetConfig) -> Stage:
    """Res block, transformer, res block at the deepest level, whatever the attention flags say."""
    width = config.channels[-1]
    return Stage(
        [
            VideoResBlock(layers, config, width, width),
            SpatialVideoTransformer(layers, config, width),
            VideoResBlock(layers, config, width, width),
        ]
    )


def up_stages(layers: Layers, config: UNetConfig) -> Iterator[Stage]:
    """One stage for every skip, deepest first; the last of a level enlarges."""
    skips = list(_skip_widths(config))
    width = config.channels[-1]
    for level, channels in reversed(list(enumerate(config.channels))):
        for index in range(config.res_blocks + 1):
            parts = _res_and_transformer(layers, config, level, width + skips.pop())
            if level > 0 and index == config.res_blocks:
                parts.append(Upsample(layers, channels))
            yield Stage(parts)
            width = channels


def _res_and_transformer(layers: Layers, config: UNetConfig, level: int, in_channels: int) -> list[nn.Module]:
    channels = config.channels[level]
    parts: list[nn.Module] = [VideoResBlock(layers, config, in_channels, channels)]
    if config.attention[level]:
        parts.append(SpatialVideoTransformer(layers, config, channels))
    return parts


def _skip_widths(config: UNetConfig) -> Iterator[int]:
    """Width of what each input stage leaves behind for its output stage."""
    yield config.channels[0]
    for level, channels in enumerate(config.channels):
        yield from [channels] * config.res_blocks
        if level + 1 < len(config.channels):
            yield channels
