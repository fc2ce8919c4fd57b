"""From a picture of any size to what CLIP was trained on, in the two ways the field has.

"sgm" is what SVD was trained with: the whole picture squeezed to a square, whatever its aspect. "host" is
ComfyUI's: a centre crop, rounded to 8 bits. They differ by more than a standard deviation on wide pictures.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..config import Preprocessing

# Channel statistics of CLIP's training pictures in [0, 1] (Radford et al. 2021).
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_MIN_KERNEL = 3


def preprocess(pixels: Tensor, size: int, way: Preprocessing = "sgm") -> Tensor:
    """Pixels `B 3 H W` in [-1, 1] -> float32 `B 3 size size` in CLIP's units (zero mean, unit variance)."""
    pixels = pixels.float()
    square = squeeze(pixels, size) if way == "sgm" else crop(pixels, size)
    mean, std = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (_MEAN, _STD))
    return ((square + 1) / 2 - mean) / std


def squeeze(pixels: Tensor, size: int) -> Tensor:
    """Pixels `B 3 H W` in [-1, 1] -> `B 3 size size`: Gaussian blur, then bicubic with aligned corners.

    The overshoot of the bicubic kernel is kept, as in training.
    """
    height, width = pixels.shape[-2:]
    blurred = rearrange(pixels, "b c h w -> (b c) 1 h w")
    blurred = _blur_last_axis(blurred, width / size)
    blurred = _blur_last_axis(blurred.mT, height / size).mT
    blurred = rearrange(blurred, "(b c) 1 h w -> b c h w", c=pixels.shape[1])
    return F.interpolate(blurred, size=(size, size), mode="bicubic", align_corners=True)


def crop(pixels: Tensor, size: int) -> Tensor:
    """Pixels `B 3 H W` in [-1, 1] -> `B 3 size size` on the 8-bit grid: short side to size, centre kept."""
    unit = (pixels + 1) / 2
    height, width = pixels.shape[-2:]
    if (height, width) != (size, size):
        scale = size / min(height, width)
        height, width = round(scale * height), round(scale * width)
        unit = F.interpolate(unit, size=(height, width), mode="bicubic", antialias=True)
        top, left = (height - size) // 2, (width - size) // 2
        unit = unit[..., top : top + size, left : left + size]
    return (unit * 255).clamp(0, 255).round() / 255 * 2 - 1


def _blur_last_axis(x: Tensor, factor: float) -> Tensor:
    """Low-pass `n 1 h w` along w before it shrinks by `factor`; nothing to do when it does not."""
    if factor <= 1:
        return x
    kernel = _gaussian_kernel((factor - 1) / 2, x.device)
    margin = len(kernel) // 2
    padded = F.pad(x, (margin, margin, 0, 0), mode="reflect")
    return F.conv2d(padded, kernel.view(1, 1, 1, -1))


def _gaussian_kernel(sigma: float, device: torch.device) -> Tensor:
    """Odd number of taps over two sigmas either side (at least three), summing to one."""
    sigma = max(sigma, 0.001)
    taps = int(max(4 * sigma, _MIN_KERNEL))
    taps += 1 - taps % 2
    offsets = torch.arange(taps, device=device, dtype=torch.float32) - taps // 2
    weights = torch.exp(-offsets.square() / (2 * math.pow(sigma, 2)))
    return weights / weights.sum()
