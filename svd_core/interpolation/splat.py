"""Forward splatting: values carried along to where their pixels go, and holes filled from around.

Pure torch `index_add_` over the four pixels around each landing place; sums in float32, in a fixed order on the CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .resample import resize

_EMPTY = 1e-4


def splat(values: Tensor, weights: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Carry `values` `1 C H W` to `places` `1 2 H W` (see `positions`): their weighted mean, and the weight landed.

    Returns the mean `1 C H W` (0 where nothing lands) and the sum of weights `1 1 H W`, 1 where one pixel of weight 1
    lands on every pixel.
    """
    channels, height, width = values.shape[1:]
    offset = places.new_tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    landed = places[0] + offset
    corner = landed.floor()
    part = landed - corner
    corner = corner.long()
    carried = torch.cat((values[0] * weights[0], weights[0])).flatten(1)
    total = carried.new_zeros(channels + 1, height * width)
    for dx, share_x in ((0, 1 - part[0]), (1, part[0])):
        for dy, share_y in ((0, 1 - part[1]), (1, part[1])):
            x, y = corner[0] + dx, corner[1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            share = share_x * share_y * inside
            index = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).flatten()
            total.index_add_(1, index, carried * share.flatten())
    weight = total[-1:].reshape(1, 1, height, width)
    mean = total[:-1].reshape(1, channels, height, width) / weight.clamp(min=1e-9)
    return mean, weight


def fill(values: Tensor, weights: Tensor) -> Tensor:
    """Complete `values` `N C H W` where `weights` `N 1 H W` are 0, from ever coarser averages (push and pull)."""
    height, width = values.shape[-2:]
    if min(height, width) <= 2:
        mean = (values * weights).sum(dim=(2, 3), keepdim=True) / weights.sum(dim=(2, 3), keepdim=True).clamp(min=1e-9)
        return torch.lerp(mean.expand_as(values), values, _sure(weights))
    size = ((height + 1) // 2, (width + 1) // 2)
    coarse_weight = F.adaptive_avg_pool2d(weights, size)
    coarse = F.adaptive_avg_pool2d(values * weights, size) / coarse_weight.clamp(min=1e-9)
    around = resize(fill(coarse, coarse_weight.clamp(max=1)), (height, width))
    return torch.lerp(around, values, _sure(weights))


def _sure(weights: Tensor) -> Tensor:
    """How far a value stands by itself: 1 from a quarter of a pixel's weight on."""
    return ((weights - _EMPTY) * 4).clamp(0, 1)
