"""What spatial and temporal transformer blocks share: attention, feed-forward, the collapsed cross-attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import inplace
from ..attention import attention, merge_heads, split_heads
from ..operations import Layers


@dataclass(frozen=True, slots=True)
class CrossConstant:
    """Cross-attention to a single token, already evaluated: `(b t) 1 c`.

    Softmax over one key is 1, so attn2(x, context) == to_out(to_v(context)) whatever x is.
    """

    value: Tensor


@dataclass(frozen=True, slots=True)
class CrossTokens:
    """Cross-attention that still has to look at x: the context tokens of each frame, `(b t) n d`."""

    context: Tensor


Cross = CrossConstant | CrossTokens


class Projections(nn.Module):
    """The four linear maps around the attention kernel; `context_dim` is the width of keys and values."""

    def __init__(self, layers: Layers, channels: int, context_dim: int, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.to_q = layers.linear(channels, channels, bias=False)
        self.to_k = layers.linear(context_dim, channels, bias=False)
        self.to_v = layers.linear(context_dim, channels, bias=False)
        self.to_out = nn.ModuleList([layers.linear(channels, channels)])

    def project(self, x: Tensor, context: Tensor) -> Iterator[Tensor]:
        """Queries of x, keys and values of context, heads still merged."""
        yield self.to_q(x)
        yield self.to_k(context)
        yield self.to_v(context)


class Attention(Projections):
    """Every query of x asks every key of its own row of context."""

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x `b n c`, context `b m d` -> `b n c`."""
        # No names for queries, keys and values: they must be gone when the output projection allocates.
        mixed = attention(*(split_heads(tokens, self.head_channels) for tokens in self.project(x, context)))
        return self.to_out[0](merge_heads(mixed))

    def constant(self, context: Tensor) -> Tensor:
        """The output for a single-token context `b 1 d` -> `b 1 c`, for every query alike."""
        return self.to_out[0](self.to_v(context))


class GatedProjection(nn.Module):
    """The widening half of a GEGLU feed-forward (Shazeer 2020): `n c` -> `n inner`."""

    def __init__(self, layers: Layers, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = layers.linear(channels, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        return inplace.geglu(self.proj(x))


class FeedForward(nn.Module):
    """GEGLU feed-forward of four times the width, `... c` -> `... c`; the list indices are the checkpoint's."""

    def __init__(self, layers: Layers, channels: int) -> None:
        super().__init__()
        inner = 4 * channels
        self.net = nn.ModuleList(
            [GatedProjection(layers, channels, inner), nn.Identity(), layers.linear(inner, channels)]
        )

    def forward(self, x: Tensor) -> Tensor:
        hidden, last = self.net[0](x), self.net[2]
        if hasattr(vars(last).get("forward"), "states"):
            return last(hidden)  # an adapter looks for the frames
        # The gated half is strided: only as rows does the bias come with the product.
        return last(hidden.flatten(0, -2)).view(*hidden.shape[:-1], -1)


def add_feed_forward(x: Tensor, norm: nn.Module, feed_forward: nn.Module, blocks: int) -> Tensor:
    """x + feed_forward(norm(x)) for tokens `b n c`, in `blocks` pieces so that one wide activation lives at a time.

    The pieces are of tokens, so that every layer sees all frames: an adapter's strength may differ between them.
    """
    if torch.is_grad_enabled():
        return x + feed_forward(norm(x))
    for piece in x.chunk(blocks, dim=1):
        piece.add_(feed_forward(norm(piece)))
    return x


def add_cross_attention(x: Tensor, norm: nn.Module, attn2: nn.Module, cross: Cross) -> Tensor:
    """x + attn2(norm(x), context) for tokens `(b t) s c`, from the constant when there is one."""
    if isinstance(cross, CrossConstant):
        return inplace.add(x, cross.value)
    return inplace.add(x, attn2(norm(x), cross.context))
