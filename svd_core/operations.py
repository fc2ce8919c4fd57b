"""The namespace weight-bearing layers are taken from.

Stand-alone it is `torch.nn`; inside ComfyUI it is the host's `comfy.ops`, whose layers cast and
offload their own weights. Networks therefore never write `nn.Linear` themselves, never read a
`.weight`, and always call the layer as a module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import nn


class Operations(Protocol):
    """What a layer namespace offers; every constructor also takes `device` and `dtype`."""

    Linear: type[nn.Linear]
    Conv2d: type[nn.Conv2d]
    Conv3d: type[nn.Conv3d]
    ConvTranspose2d: type[nn.ConvTranspose2d]
    GroupNorm: type[nn.GroupNorm]
    LayerNorm: type[nn.LayerNorm]


TORCH = cast("Operations", nn)


@dataclass(frozen=True, slots=True)
class Layers:
    """A layer namespace with the place its weights are made in, so that blocks pass on one argument."""

    operations: Operations = TORCH
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None

    def linear(self, inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
        """Affine map of the last axis."""
        return self.operations.Linear(inputs, outputs, bias=bias, device=self.device, dtype=self.dtype)

    def conv2d(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> nn.Conv2d:
        """Convolution over h w; padding keeps the size at stride 1 unless given."""
        pad = kernel // 2 if padding is None else padding
        return self.operations.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=pad, groups=groups, device=self.device, dtype=self.dtype
        )

    def upsampling(self, inputs: int, outputs: int) -> nn.ConvTranspose2d:
        """Transposed convolution over h w, kernel 4, to twice the size."""
        return self.operations.ConvTranspose2d(inputs, outputs, 4, 2, 1, device=self.device, dtype=self.dtype)

    def conv_time(self, inputs: int, outputs: int, kernel: int) -> nn.Conv3d:
        """Convolution over t alone, as a 3-D kernel `(k, 1, 1)`."""
        return self.operations.Conv3d(
            inputs, outputs, (kernel, 1, 1), padding=(kernel // 2, 0, 0), device=self.device, dtype=self.dtype
        )

    def group_norm(self, groups: int, channels: int, *, eps: float) -> nn.GroupNorm:
        """Normalisation over channel groups and all axes behind them."""
        return self.operations.GroupNorm(groups, channels, eps=eps, device=self.device, dtype=self.dtype)

    def layer_norm(self, channels: int) -> nn.LayerNorm:
        """Normalisation of the last axis."""
        return self.operations.LayerNorm(channels, device=self.device, dtype=self.dtype)
