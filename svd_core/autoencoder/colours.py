"""What the channels of a latent space look like: the linear map to colours that a live preview needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

# Cells along the fitting picture, and patches of one colour along it: smooth, and many colours.
_CELLS, _PATCHES = 16, 16


@dataclass(frozen=True, slots=True)
class LatentColours:
    """`pixels = latents @ factors + bias` a cell, in [-1, 1]: factors `c 3`, bias `3`, latents times the scale."""

    factors: Tensor
    bias: Tensor


@torch.no_grad()
def fit_colours(encode: Callable[[Tensor], Tensor], cell: int, scale: float) -> LatentColours:
    """Least squares over one random colourful picture; the picture, and so the fit, is always the same.

    encode: pixels `1 3 H W` in [-1, 1] on the CPU -> latents `1 c h w`, unscaled; cell: pixels along one.
    """
    patches = torch.rand(1, 3, _PATCHES, _PATCHES, generator=torch.Generator().manual_seed(0)) * 2 - 1
    side = _CELLS * cell
    picture = F.interpolate(patches, (side, side), mode="bicubic", align_corners=False).clamp(-1, 1)
    latents = rearrange(encode(picture).double() * scale, "1 c h w -> (h w) c")
    colours = rearrange(F.avg_pool2d(picture, cell).double(), "1 c h w -> (h w) c")
    solved = torch.linalg.lstsq(F.pad(latents, (0, 1), value=1.0), colours).solution.float()
    return LatentColours(solved[:-1], solved[-1])
