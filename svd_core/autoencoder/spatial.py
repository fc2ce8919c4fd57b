"""The 2-D parts of the autoencoder: residual block, mid attention, resampling. Nothing here knows of time."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .. import inplace
from ..attention import attention
from ..operations import Layers
from .norms import Normalise, own_statistics

SPATIAL_EPS = 1e-6


class SpatialResBlock(nn.Module):
    """Norm, SiLU, 3x3 convolution, twice, plus the input (through a 1x1 convolution if widths differ)."""

    def __init__(self, layers: Layers, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = layers.group_norm(groups, in_channels, eps=SPATIAL_EPS)
        self.conv1 = layers.conv2d(in_channels, out_channels)
        self.norm2 = layers.group_norm(groups, out_channels, eps=SPATIAL_EPS)
        self.conv2 = layers.conv2d(out_channels, out_channels)
        self.nin_shortcut = layers.conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor, normalise: Normalise = own_statistics) -> Tensor:
        """x `n c h w` -> `n c' h w`; frames do not see each other."""
        hidden = self.conv1(inplace.silu(normalise(self.norm1, x)))
        hidden = self.conv2(inplace.silu(normalise(self.norm2, hidden)))
        return inplace.add(hidden, x if self.nin_shortcut is None else self.nin_shortcut(x))


class SpatialAttention(nn.Module):
    """Single-head self-attention over the pixels of a frame, as wide as the layer."""

    def __init__(self, layers: Layers, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = layers.group_norm(groups, channels, eps=SPATIAL_EPS)
        self.q = layers.conv2d(channels, channels, 1)
        self.k = layers.conv2d(channels, channels, 1)
        self.v = layers.conv2d(channels, channels, 1)
        self.proj_out = layers.conv2d(channels, channels, 1)

    def forward(self, x: Tensor, normalise: Normalise = own_statistics) -> Tensor:
        """x `n c h w` -> `n c h w`."""
        hidden = normalise(self.norm, x)
        q, k, v = (rearrange(layer(hidden), "n c h w -> n 1 (h w) c") for layer in (self.q, self.k, self.v))
        mixed = rearrange(attention(q, k, v), "n 1 (h w) c -> n c h w", h=x.shape[2])
        return inplace.add(self.proj_out(mixed), x)


class Middle(nn.Module):
    """Residual block, attention within each frame, residual block, at the lowest resolution."""

    def __init__(self, block_1: SpatialResBlock, attn_1: SpatialAttention, block_2: SpatialResBlock) -> None:
        super().__init__()
        self.block_1 = block_1
        self.attn_1 = attn_1
        self.block_2 = block_2

    def blocks(self) -> Iterator[SpatialResBlock | SpatialAttention]:
        """In the order they run; a container only, so that the loop over all blocks stays flat (see `Decoder`)."""
        yield from (self.block_1, self.attn_1, self.block_2)


class Downsample(nn.Module):
    """3x3 convolution of stride 2 whose padding lies below and to the right only."""

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        self.conv = layers.conv2d(channels, channels, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        """x `n c h w` -> `n c h//2 w//2`."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Every pixel doubled, then a 3x3 convolution."""

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        self.conv = layers.conv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x `n c h w` -> `n c 2h 2w`."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
