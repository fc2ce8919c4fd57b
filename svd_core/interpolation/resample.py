"""Pixel moves: pictures read where a displacement points, blurred, halved, differentiated.

Displacements are `N 2 H W` in pixels, (x, y) with y down; pictures `N C H W` of the same H W.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def where_flow_runs(frame: Tensor) -> Tensor:
    """A tensor where motion can be found: Apple's GPUs have neither float64 nor bicubic reading."""
    return frame.cpu() if frame.device.type == "mps" else frame


def positions(height: int, width: int, like: Tensor) -> Tensor:
    """Pixel centres `1 2 H W` as (x, y), counted from the middle of the frame so that affine maps stay small."""
    x = torch.arange(width, device=like.device, dtype=torch.float32) - (width - 1) / 2
    y = torch.arange(height, device=like.device, dtype=torch.float32) - (height - 1) / 2
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))[None]


def read(pictures: Tensor, places: Tensor, mode: str = "bilinear") -> Tensor:
    """Pictures `N C H W` at the places `N 2 h w` of `positions`; beyond the frame its edge is repeated."""
    height, width = pictures.shape[-2:]
    scale = places.new_tensor([2 / width, 2 / height])
    grid = places.permute(0, 2, 3, 1) * scale
    return F.grid_sample(pictures, grid, mode=mode, padding_mode="border", align_corners=False)


def inside(places: Tensor, height: int, width: int, margin: float = 0.5) -> Tensor:
    """1 where a place lies within `margin` pixels of the pixel centres of the frame, else 0: `N 1 h w`."""
    limit = places.new_tensor([(width - 1) / 2 + margin, (height - 1) / 2 + margin])[:, None, None]
    return (places.abs() <= limit).all(dim=1, keepdim=True).float()


def blur(values: Tensor, sigma: float) -> Tensor:
    """Gaussian of `sigma` pixels over `N C H W`, edges repeated; as shifts, which beat convolutions on the CPU."""
    radius = max(1, math.ceil(2.5 * sigma))
    taps = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    total = sum(taps)
    for axis in (-1, -2):
        length = values.shape[axis]
        padding = (radius, radius, 0, 0) if axis == -1 else (0, 0, radius, radius)
        padded = F.pad(values, padding, mode="replicate")
        values = padded.narrow(axis, 0, length) * (taps[0] / total)
        for offset in range(1, len(taps)):
            values.add_(padded.narrow(axis, offset, length), alpha=taps[offset] / total)
    return values


def resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    """`N C h w` at another size, antialiased when smaller."""
    if tuple(values.shape[-2:]) == size:
        return values
    smaller = size[0] < values.shape[-2]
    return F.interpolate(values, size=size, mode="bilinear", antialias=smaller, align_corners=False)


def resize_moves(moves: Tensor, size: tuple[int, int]) -> Tensor:
    """Displacements at another size, in pixels of that size."""
    ratio = moves.new_tensor([size[1] / moves.shape[-1], size[0] / moves.shape[-2]])[:, None, None]
    return resize(moves, size) * ratio


def gradient(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives across and down per pixel, `N C H W` each, by the five-point rule (exact to fourth order)."""
    return _derivative(pictures, -1), _derivative(pictures, -2)


def _derivative(pictures: Tensor, axis: int) -> Tensor:
    padded = F.pad(pictures, (2, 2, 0, 0) if axis == -1 else (0, 0, 2, 2), mode="replicate")
    length = pictures.shape[axis]
    near = padded.narrow(axis, 3, length) - padded.narrow(axis, 1, length)
    far = padded.narrow(axis, 4, length) - padded.narrow(axis, 0, length)
    return near * (8 / 12) - far * (1 / 12)


def median3(values: Tensor) -> Tensor:
    """Median of every 3x3 neighbourhood of `N C H W`, as the median of sorted columns (Smith 1996): no unfolding."""
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    rows = [padded[..., offset : offset + values.shape[-2], :] for offset in range(3)]
    low, middle, high = _sort3(*rows)
    width = values.shape[-1]

    def columns(plane: Tensor) -> list[Tensor]:
        return [plane[..., offset : offset + width] for offset in range(3)]

    lows, middles, highs = columns(low), columns(middle), columns(high)
    largest_low = torch.maximum(torch.maximum(lows[0], lows[1]), lows[2])
    smallest_high = torch.minimum(torch.minimum(highs[0], highs[1]), highs[2])
    return _sort3(largest_low, _sort3(*middles)[1], smallest_high)[1]


def _sort3(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = torch.minimum(a, b), torch.maximum(a, b)
    b, c = torch.minimum(b, c), torch.maximum(b, c)
    a, b = torch.minimum(a, b), torch.maximum(a, b)
    return a, b, c
