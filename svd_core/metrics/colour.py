"""CIE L*a*b* (D65, 2 degree observer) from sRGB, after IEC 61966-2-1 and CIE 15."""

from __future__ import annotations

import torch
from torch import Tensor

_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)
_LINEAR_BELOW = (6 / 29) ** 3


def to_lab(pixels: Tensor) -> Tensor:
    """sRGB `N 3 H W` in [0, 1] to L* (0 to 100), a*, b*, same layout."""
    encoded = pixels.clamp(0, 1)
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    matrix = pixels.new_tensor(_TO_XYZ) / pixels.new_tensor(_WHITE)[:, None]
    relative = torch.einsum("ij, njhw -> nihw", matrix, linear)
    cubic = relative.clamp(min=_LINEAR_BELOW) ** (1 / 3)
    x, y, z = torch.where(relative > _LINEAR_BELOW, cubic, relative * (29 / 6) ** 2 / 3 + 4 / 29).unbind(dim=1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)
