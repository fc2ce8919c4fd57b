"""The 2-D encoder from pixels to the moments of the latent posterior."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from .. import inplace
from ..config import AutoencoderConfig
from ..operations import Layers
from .spatial import SPATIAL_EPS, Downsample, Middle, SpatialAttention, SpatialResBlock

_RGB = 3


class EncoderLevel(nn.Module):
    """The residual blocks of one resolution and the step down to the next (the last level has none)."""

    def __init__(self, layers: Layers, in_channels: int, config: AutoencoderConfig, level: int) -> None:
        super().__init__()
        width = config.channels[level]
        self.block = nn.ModuleList(
            SpatialResBlock(layers, in_channels if index == 0 else width, width, config.norm_groups)
            for index in range(config.res_blocks)
        )
        self.downsample = Downsample(layers, width) if level < len(config.channels) - 1 else None

    def blocks(self) -> Iterator[nn.Module]:
        """In the order they run, from `n c h w` to `n c' h/2 w/2` (the last level keeps the size)."""
        yield from self.block
        if self.downsample is not None:
            yield self.downsample


class Encoder(nn.Module):
    """Pixels `B 3 H W` -> moments `B 2c h w`: mean and log variance side by side."""

    def __init__(self, layers: Layers, config: AutoencoderConfig) -> None:
        super().__init__()
        widths, groups = config.channels, config.norm_groups
        inputs = (widths[0], *widths[:-1])
        self.conv_in = layers.conv2d(_RGB, widths[0])
        self.down = nn.ModuleList(EncoderLevel(layers, inputs[level], config, level) for level in range(len(widths)))
        self.mid = Middle(
            SpatialResBlock(layers, widths[-1], widths[-1], groups),
            SpatialAttention(layers, widths[-1], groups),
            SpatialResBlock(layers, widths[-1], widths[-1], groups),
        )
        self.norm_out = layers.group_norm(groups, widths[-1], eps=SPATIAL_EPS)
        self.conv_out = layers.conv2d(widths[-1], 2 * config.latent_channels)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels `B 3 H W` in [-1, 1] -> `B 2c h w`."""
        x = self.conv_in(pixels)
        for block in self._blocks():
            x = block(x)
        return self.conv_out(inplace.silu(self.norm_out(x)))

    def _blocks(self) -> Iterator[nn.Module]:
        for level in self.down:
            assert isinstance(level, EncoderLevel)  # a ModuleList forgets the type it was given
            yield from level.blocks()
        yield from self.mid.blocks()
