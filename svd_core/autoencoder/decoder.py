"""The decoder from latents to pixels, temporal (SVD) or frame by frame (image decoder, SV3D)."""

from __future__ import annotations

from collections.abc import Iterator

from einops import rearrange
from torch import Tensor, nn

from .. import inplace
from ..config import AutoencoderConfig
from ..operations import Layers
from .norms import Normalise, own_statistics
from .spatial import SPATIAL_EPS, Middle, SpatialAttention, SpatialResBlock, Upsample
from .temporal import TIME_KERNEL, VideoResBlock

DecoderBlock = SpatialResBlock | SpatialAttention | Upsample

_RGB = 3


def _res_block(layers: Layers, in_channels: int, out_channels: int, config: AutoencoderConfig) -> SpatialResBlock:
    kind = VideoResBlock if config.temporal_decoder else SpatialResBlock
    return kind(layers, in_channels, out_channels, config.norm_groups)


class DecoderLevel(nn.Module):
    """The residual blocks of one resolution, one more than the encoder has, and the step up (level 0 has none)."""

    def __init__(self, layers: Layers, in_channels: int, config: AutoencoderConfig, level: int) -> None:
        super().__init__()
        width = config.channels[level]
        self.block = nn.ModuleList(
            _res_block(layers, in_channels if index == 0 else width, width, config)
            for index in range(config.res_blocks + 1)
        )
        self.upsample = Upsample(layers, width) if level > 0 else None

    def blocks(self) -> Iterator[DecoderBlock]:
        """In the order they run, from `(b t) c h w` to `(b t) c' 2h 2w` (level 0 keeps the size)."""
        for block in self.block:
            assert isinstance(block, SpatialResBlock)  # a ModuleList forgets the type it was given
            yield block
        if self.upsample is not None:
            yield self.upsample


class Decoder(nn.Module):
    """Latents `(b t) c h w` -> pixels `(b t) 3 H W`.

    Its blocks run in flat loops: a nested `x = level(x)` would keep the input of a whole level, at full
    resolution the largest tensor of all, alive in the caller. There are two loops, so that spatial tiles
    can share what needs the whole frame and is small: `stem` holds the attention and the deeper half of the
    levels, `rise` the convolutions and norms at high resolution.
    """

    def __init__(self, layers: Layers, config: AutoencoderConfig) -> None:
        super().__init__()
        widths, groups = config.channels, config.norm_groups
        inputs = (*widths[1:], widths[-1])
        self.temporal = config.temporal_decoder
        self.conv_in = layers.conv2d(config.latent_channels, widths[-1])
        self.mid = Middle(
            _res_block(layers, widths[-1], widths[-1], config),
            SpatialAttention(layers, widths[-1], groups),
            _res_block(layers, widths[-1], widths[-1], config),
        )
        # Stored from full resolution down, run from the deepest up: the order of the original names.
        self.up = nn.ModuleList(DecoderLevel(layers, inputs[level], config, level) for level in range(len(widths)))
        self.norm_out = layers.group_norm(groups, widths[0], eps=SPATIAL_EPS)
        self.conv_out = layers.conv2d(widths[0], _RGB)
        if self.temporal:
            # A child of the 2-D layer, because that is where the original names have it.
            self.conv_out.add_module("time_mix_conv", layers.conv_time(_RGB, _RGB, TIME_KERNEL))

    def stem_blocks(self) -> Iterator[DecoderBlock]:
        """The blocks from latent resolution up to the middle of the levels."""
        yield from self.mid.blocks()
        yield from self._rising()[: self._middle()]

    def rise_blocks(self) -> Iterator[DecoderBlock]:
        """The blocks from the middle of the levels to full resolution."""
        yield from self._rising()[self._middle() :]

    def stem(self, latents: Tensor, num_frames: int | None, normalise: Normalise = own_statistics) -> Tensor:
        """Latents `(b t) c h w` -> features `(b t) c' h' w'`, larger by a power of two."""
        return _run(self.stem_blocks(), self.conv_in(latents), num_frames, normalise)

    def rise(self, features: Tensor, num_frames: int | None, normalise: Normalise = own_statistics) -> Tensor:
        """Features of `stem` `(b t) c' h' w'` -> pixels `(b t) 3 H W`."""
        pixels = self.to_rgb(_run(self.rise_blocks(), features, num_frames, normalise), normalise)
        if num_frames is None or not self.temporal:
            return pixels
        mixed = self.time_mix_conv(rearrange(pixels, "(b t) c h w -> b c t h w", t=num_frames))
        return rearrange(mixed, "b c t h w -> (b t) c h w")

    def _rising(self) -> list[DecoderBlock]:
        levels = [level for level in reversed(self.up) if isinstance(level, DecoderLevel)]
        return [block for level in levels for block in level.blocks()]

    def _middle(self) -> int:
        """Index of the enlargement that ends the deeper half: tiles are cut just before it, where features are few."""
        enlargements = [index for index, block in enumerate(self._rising()) if isinstance(block, Upsample)]
        return enlargements[(len(enlargements) - 1) // 2] if enlargements else 0

    def to_rgb(self, x: Tensor, normalise: Normalise = own_statistics) -> Tensor:
        """The last 2-D layers: `(b t) c h w` -> `(b t) 3 h w`, not yet mixed over time."""
        return self.conv_out(inplace.silu(normalise(self.norm_out, x)))

    @property
    def temporal_reach(self) -> int:
        """Frames to either side that influence a frame, apart from the norms: one for each convolution along time."""
        return sum(isinstance(module, nn.Conv3d) for module in self.modules())

    @property
    def time_mix_conv(self) -> nn.Module:
        """The convolution over three finished frames that ends the temporal decoder."""
        return self.conv_out.get_submodule("time_mix_conv")

    def forward(self, latents: Tensor, num_frames: int | None, normalise: Normalise = own_statistics) -> Tensor:
        """Latents `(b t) c h w` -> pixels `(b t) 3 H W`; `num_frames` None leaves the temporal layers out."""
        return self.rise(self.stem(latents, num_frames, normalise), num_frames, normalise)


def _run(blocks: Iterator[DecoderBlock], x: Tensor, num_frames: int | None, normalise: Normalise) -> Tensor:
    for block in blocks:
        x = block(x) if isinstance(block, Upsample) else block(x, normalise)
        if num_frames is not None and isinstance(block, VideoResBlock):
            x = block.through_time(x, num_frames, normalise)
    return x
