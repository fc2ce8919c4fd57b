"""A camera in a hand: smooth, seeded wandering of view and horizon.

The sway is a sum of slow sines with seeded frequencies and phases, so a clip at twice the rate shows the same sway
with a frame in between, and equal seeds give equal clips.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .path import CameraMotion

# Hertz: breathing and balance at the low end, the hand's tremor above what frames resolve.
_SLOWEST, _FASTEST = 0.3, 2.0
_WAVES = 6
# Degrees of horizon for each % of the width, and height for width: hands nod more than they lean.
_ROLL, _TILT = 0.35, 0.8
_CHANNELS = 3


def sway(frames: int, fps: float, amount: float, seed: int) -> CameraMotion:
    """Steps `T-1` of a hand-held camera; `amount` is the root mean square distance from rest in % of the width."""
    generator = torch.Generator().manual_seed(seed)
    places = [amount * _wander(frames, fps, generator) for _ in range(_CHANNELS)]
    pan, tilt, roll = (place.diff() for place in places)
    return CameraMotion(pan=pan, tilt=tilt * _TILT, zoom=torch.zeros_like(pan), roll=roll * _ROLL)


def _wander(frames: int, fps: float, generator: torch.Generator) -> Tensor:
    """Unit root mean square over a long time, `T` float64."""
    steps = torch.arange(_WAVES, dtype=torch.float64) + torch.rand(_WAVES, generator=generator, dtype=torch.float64)
    hertz = _SLOWEST * (_FASTEST / _SLOWEST) ** (steps / _WAVES)
    phase = 2 * math.pi * torch.rand(_WAVES, generator=generator, dtype=torch.float64)
    weight = hertz.rsqrt()
    seconds = torch.arange(frames, dtype=torch.float64)[:, None] / fps
    waves = torch.sin(2 * math.pi * hertz * seconds + phase) * weight
    return waves.sum(dim=-1) * math.sqrt(2) / weight.norm()
