"""What inflation adds: layers that see one pixel over time, and the learned blend with their spatial twins."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from .. import inplace
from ..attention import attention
from ..operations import Layers
from .spatial import NORM_EPS
from .transformer import Attention, Cross, FeedForward, Projections, add_cross_attention, add_feed_forward


class TemporalResBlock(nn.Module):
    """The res block again with kernels `(k, 1, 1)`; its group norms see all frames of a clip."""

    def __init__(self, layers: Layers, channels: int, embed_dim: int, groups: int, kernel: int) -> None:
        super().__init__()
        self.in_layers = nn.ModuleList(
            [
                layers.group_norm(groups, channels, eps=NORM_EPS),
                nn.SiLU(),
                layers.conv_time(channels, channels, kernel),
            ]
        )
        self.emb_layers = nn.ModuleList([nn.SiLU(), layers.linear(embed_dim, channels)])
        self.out_layers = nn.ModuleList(
            [
                layers.group_norm(groups, channels, eps=NORM_EPS),
                nn.SiLU(),
                nn.Identity(),
                layers.conv_time(channels, channels, kernel),
            ]
        )

    def residual(self, x: Tensor, shift: Tensor) -> Tensor:
        """x `b c t h w`, shift `b c t 1 1` -> the residual alone, `b c t h w`."""
        h = self.in_layers[2](inplace.silu(self.in_layers[0](x)))
        h = inplace.add(h, shift)
        return self.out_layers[3](inplace.silu(self.out_layers[0](h)))


class TemporalAttention(Projections):
    """Self-attention over the frames of one pixel, without moving a single element.

    The projections keep their `(b t) s c` layout; pixels join the head axis through strides alone, and
    the kernel answers in the layout of its queries.
    """

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """x `(b t) s c` -> `(b t) s c`."""
        fold = "(b t) s (heads d) -> b (s heads) t d"
        mixed = attention(*(rearrange(part, fold, t=frames, d=self.head_channels) for part in self.project(x, x)))
        return self.to_out[0](rearrange(mixed, "b (s heads) t d -> (b t) s (heads d)", s=x.shape[1]))


class TemporalTransformerBlock(nn.Module):
    """Feed-forward, self-attention over frames, cross-attention to the image token, feed-forward."""

    def __init__(self, layers: Layers, channels: int, context_dim: int, head_channels: int) -> None:
        super().__init__()
        self.norm_in = layers.layer_norm(channels)
        self.ff_in = FeedForward(layers, channels)
        self.norm1 = layers.layer_norm(channels)
        self.attn1 = TemporalAttention(layers, channels, channels, head_channels)
        self.norm2 = layers.layer_norm(channels)
        self.attn2 = Attention(layers, channels, context_dim, head_channels)
        self.norm3 = layers.layer_norm(channels)
        self.ff = FeedForward(layers, channels)

    def forward(self, x: Tensor, cross: Cross, frames: int, blocks: int) -> Tensor:
        """x `(b t) s c`, overwritten in inference; `blocks` splits the feed-forwards."""
        x = add_feed_forward(x, self.norm_in, self.ff_in, blocks)
        x = inplace.add(x, self.attn1(self.norm1(x), frames))
        x = add_cross_attention(x, self.norm2, self.attn2, cross)
        return add_feed_forward(x, self.norm3, self.ff, blocks)


class AlphaBlender(nn.Module):
    """The learned share of the spatial result; the rest is the temporal one (Blattmann et al. 2023, equation 2)."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1, device=layers.device, dtype=layers.dtype))

    def temporal_weight(self, image_only: Tensor | None, like: Tensor) -> Tensor:
        """1 - alpha as `1` or, with image_only `(b t)` bool, as `(b t)`: 0 where a frame is a still image.

        Computed in float32 and rounded once to the dtype and device of `like`.
        """
        weight = 1 - self.mix_factor.float().sigmoid()
        if image_only is not None:
            weight = torch.where(image_only.to(weight.device), torch.zeros_like(weight), weight)
        return weight.to(like)
