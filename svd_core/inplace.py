"""Elementwise steps that overwrite their first argument in inference and copy while gradients are recorded.

Only ever call them on a tensor made in the same function: the caller's tensors are not ours to write.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y, broadcast to the shape of x."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def add_scaled(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """x + weight * y in one pass; weight broadcasts."""
    return torch.addcmul(x, y, weight) if torch.is_grad_enabled() else x.addcmul_(y, weight)


def lerp(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """x + weight * (y - x) in one pass; weight broadcasts."""
    return torch.lerp(x, y, weight) if torch.is_grad_enabled() else x.lerp_(y, weight)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def geglu(projected: Tensor) -> Tensor:
    """`n 2c` -> `n c`: the first half times the exact (erf) GELU of the second (Shazeer 2020).

    In inference both halves are overwritten and the result is a strided view of the input: the widest
    activation of the network is written once.
    """
    value, gate = projected.chunk(2, dim=-1)
    if torch.is_grad_enabled():
        return value * F.gelu(gate)
    return value.mul_(torch.ops.aten.gelu_(gate))
