"""The one attention kernel: scaled dot product over `(batch, heads, tokens, width)`, strided inputs welcome."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

# CUDA kernels put the heads on a grid axis, which ends here.
_MAX_HEADS = 65535


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention without mask.

    q, k, v: `b heads n d` (any strides with a dense last axis) -> `b heads n d`, in the memory layout of q.
    The head axis is split when it is longer than a CUDA grid allows, which happens for temporal
    attention, where every pixel of every head is a head of its own.
    """
    if q.shape[1] <= _MAX_HEADS:
        return F.scaled_dot_product_attention(q, k, v)
    pieces = zip(q.split(_MAX_HEADS, 1), k.split(_MAX_HEADS, 1), v.split(_MAX_HEADS, 1), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*piece) for piece in pieces], dim=1)


def split_heads(tokens: Tensor, head_channels: int) -> Tensor:
    """`b n (heads d)` -> `b heads n d`, a view."""
    return rearrange(tokens, "b n (heads d) -> b heads n d", d=head_channels)


def merge_heads(heads: Tensor) -> Tensor:
    """`b heads n d` -> `b n (heads d)`; a view when `heads` came out of `attention` on `split_heads` inputs."""
    return rearrange(heads, "b heads n d -> b n (heads d)")
