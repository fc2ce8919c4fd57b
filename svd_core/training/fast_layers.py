"""Layers for training on a CPU: the same parameters and results as `torch.nn`, faster backward passes.

PyTorch's CPU kernels run a 3-D convolution of kernel (k, 1, 1) an order of magnitude slower than the 2-D one it equals.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..operations import Operations


class TimeConvolution(nn.Conv3d):
    """`nn.Conv3d` that runs kernels `(k, 1, 1)` over `b c t (h w)`."""

    def forward(self, input: Tensor) -> Tensor:
        """x `b c t h w` -> `b c' t h w`."""
        if self.kernel_size[1:] != (1, 1) or input.ndim != 5:
            return super().forward(input)
        padding = (int(self.padding[0]), 0)
        flat = F.conv2d(input.flatten(3), self.weight.squeeze(-1), self.bias, padding=padding)
        return flat.unflatten(3, input.shape[3:])


class _FastLayers:
    Linear = nn.Linear
    Conv2d = nn.Conv2d
    Conv3d = TimeConvolution
    GroupNorm = nn.GroupNorm
    LayerNorm = nn.LayerNorm


FAST_LAYERS = cast("Operations", _FastLayers)
