"""The one scalar embedding of the family: fps, motion bucket, noise level, frame index, camera angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_PERIOD = 10000.0


def sinusoid(values: Tensor, width: int) -> Tensor:
    """Values of any shape `...` -> `... width` float32: cosines first, then sines.

    Frequencies fall from 1 to just above 1/10000 with divisor `width / 2` (not `width / 2 - 1`), as in
    Stable Diffusion (Vaswani et al. 2017, section 3.5, concatenated instead of interleaved).
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=values.device) / half
    angles = values.float().unsqueeze(-1) * torch.exp(-math.log(_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
