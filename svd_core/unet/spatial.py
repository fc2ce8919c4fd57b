"""The Stable Diffusion 2.1 half of the network: layers that see one frame at a time, `(b t) c h w`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import inplace
from ..operations import Layers
from .transformer import Attention, Cross, FeedForward, add_cross_attention, add_feed_forward

# sgm's value in every res block; diffusers' SVD has 1e-6 in 72 of its 88 norms, which is a deviation.
NORM_EPS = 1e-5


class SpatialResBlock(nn.Module):
    """norm, SiLU, conv, + embedding, norm, SiLU, conv, + skip; the list indices are the checkpoint's."""

    def __init__(self, layers: Layers, in_channels: int, out_channels: int, embed_dim: int, groups: int) -> None:
        super().__init__()
        self.in_layers = nn.ModuleList(
            [
                layers.group_norm(groups, in_channels, eps=NORM_EPS),
                nn.SiLU(),
                layers.conv2d(in_channels, out_channels),
            ]
        )
        self.emb_layers = nn.ModuleList([nn.SiLU(), layers.linear(embed_dim, out_channels)])
        self.out_layers = nn.ModuleList(
            [
                layers.group_norm(groups, out_channels, eps=NORM_EPS),
                nn.SiLU(),
                nn.Identity(),
                layers.conv2d(out_channels, out_channels),
            ]
        )
        changes_width = in_channels != out_channels
        self.skip_connection = layers.conv2d(in_channels, out_channels, 1) if changes_width else nn.Identity()

    def spatial(self, x: Tensor, shift: Tensor) -> Tensor:
        """x `(b t) c h w`, shift `(b t) c 1 1` -> `(b t) c h w`."""
        h = self.in_layers[2](inplace.silu(self.in_layers[0](x)))
        h = inplace.add(h, shift)
        h = self.out_layers[3](inplace.silu(self.out_layers[0](h)))
        return inplace.add(h, self.skip_connection(x))


class SpatialTransformerBlock(nn.Module):
    """Self-attention within a frame, cross-attention to the image token, feed-forward."""

    def __init__(self, layers: Layers, channels: int, context_dim: int, head_channels: int) -> None:
        super().__init__()
        self.norm1 = layers.layer_norm(channels)
        self.attn1 = Attention(layers, channels, channels, head_channels)
        self.norm2 = layers.layer_norm(channels)
        self.attn2 = Attention(layers, channels, context_dim, head_channels)
        self.norm3 = layers.layer_norm(channels)
        self.ff = FeedForward(layers, channels)

    def forward(self, x: Tensor, cross: Cross, blocks: int) -> Tensor:
        """x `(b t) s c`, overwritten in inference; `blocks` splits the feed-forward."""
        normed = self.norm1(x)
        x = inplace.add(x, self.attn1(normed, normed))
        del normed  # before the feed-forward allocates the widest activation of all
        x = add_cross_attention(x, self.norm2, self.attn2, cross)
        return add_feed_forward(x, self.norm3, self.ff, blocks)


class Downsample(nn.Module):
    """Strided 3x3 convolution: `(b t) c h w` -> half the size, rounded up."""

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        self.op = layers.conv2d(channels, channels, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Nearest-neighbour enlargement to the size of the waiting skip, then a 3x3 convolution."""

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        self.conv = layers.conv2d(channels, channels)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """`(b t) c h w` -> `(b t) c size`; sizes that are not exactly double make odd latents possible."""
        return self.conv(F.interpolate(x, size=size, mode="nearest"))
