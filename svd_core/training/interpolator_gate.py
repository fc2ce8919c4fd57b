"""From which contrast of its keys on an interpolator is worth listening to, measured on clips it never saw.

Where little moves, the cross-fade is all but right and what a briefly trained network adds is noise: there it is left
out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from ..unet.interpolator import blend, contrast, opened
from ..weights.video_engine import VideoBetween
from .interpolator_clips import SPEEDS, held_out
from .interpolator_trials import clip_size, encoded

QUIET = ("still", "slow")
"""Classes of `SPEEDS` no clip of which may lose."""
_LOWS = tuple(0.05 * index for index in range(25))
_WIDTHS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
# Other clips of a class may be a little more contrasty than those measured.
_MARGIN = 1.2
_LOST = 0.01
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Products:
    """Of N clips of a class: contrast, and what errors at any share of the residual follow from, `N` each.

    `added` and `missing` are the squared lengths of what the network adds and of what the blend lacks, `both` their
    inner product.
    """

    contrast: Tensor
    added: Tensor
    missing: Tensor
    both: Tensor

    def errors(self, share: Tensor) -> Tensor:
        """Squared error of every clip with a share `N` of the residual added."""
        return self.missing - 2 * share * self.both + share.square() * self.added


def fit_gate(between: VideoBetween, seed: int, clips: int) -> tuple[float, float]:
    """The gate with the largest sum of gains in dB over the classes that move, no quiet clip losing; latent space."""
    network = between.network
    network.config = replace(network.config, gate=(0.0, 0.0))
    measured = {speed: products_of(between, seed, clips, speed) for speed in SPEEDS}
    return best_gate(measured)


def best_gate(measured: dict[str, Products]) -> tuple[float, float]:
    """The same from what was measured; wholly shut where no other gate keeps the quiet clips as they were."""
    best, found = 0.0, (_LOWS[-1] * 100, _LOWS[-1] * 100)
    for low, width in product(_LOWS, _WIDTHS):
        gate = (round(low, 2), round(low + width, 2))
        if max(_most_lost(measured[speed], gate) for speed in QUIET) > _LOST:
            continue
        gained = sum(_gain(products, gate) for speed, products in measured.items() if speed not in QUIET)
        if gained > best:
            best, found = gained, gate
    return found


@torch.no_grad()
def products_of(between: VideoBetween, seed: int, clips: int, speed: str) -> Products:
    """Measure a class on `clips` held-out clips of `seed`; the network's gate must be open."""
    worlds = held_out(seed, clips, speed, clip_size(between))
    pixels = worlds.pixels.to(next(between.network.parameters()).device)
    made, true = between.latents(pixels[:, [0, -1]]), encoded(between, pixels)
    faded = blend(made[:, 0], made[:, -1], made.shape[1])
    added, missing = made - faded, true - faded
    inner = (1, 2, 3, 4)
    return Products(
        contrast=contrast(made[:, 0], made[:, -1]).flatten().cpu(),
        added=added.square().sum(inner).cpu(),
        missing=missing.square().sum(inner).cpu(),
        both=(added * missing).sum(inner).cpu(),
    )


def _most_lost(products: Products, gate: tuple[float, float]) -> float:
    """dB lost by the clip that loses most, were all of them of more contrast than they are."""
    errors = products.errors(opened(gate, products.contrast * _MARGIN))
    return float(10 * torch.log10(errors.clamp(min=_LEAST) / products.missing.clamp(min=_LEAST)).max())


def _gain(products: Products, gate: tuple[float, float]) -> float:
    errors = products.errors(opened(gate, products.contrast))
    return float(10 * torch.log10(products.missing.sum() / errors.sum().clamp(min=_LEAST)))
