"""A world of clips simple enough for the exact denoiser: every value walks at random from the first picture on.

Given the first picture, frame i differs from it by a Gaussian of variance i, so the best estimate is linear in x; given
both pictures, the clip is a Brownian bridge, whose mean is the straight line between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from svd_core.sampling import Direction

FRAMES, SHAPE = 6, (3, 4, 5)
# Variance of a first picture nobody has seen.
_PRIOR = 1.0


@dataclass
class Walk:
    """`predict` of one direction; counts its calls."""

    picture: Tensor
    pace: float = 0.05
    calls: list[float] = field(default_factory=list)

    def __call__(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        assert sigma.ndim == 0 and x.shape == (FRAMES, *SHAPE)
        self.calls.append(float(sigma))
        place = torch.arange(len(x), dtype=torch.float64)
        walk = self.pace * torch.minimum(place[:, None], place[None])
        known = self.picture.double().expand_as(x)
        conditional = known + _gain(walk, sigma, x.double() - known)
        return _gain(walk + _PRIOR, sigma, x.double()).to(x), conditional.to(x)


def _gain(covariance: Tensor, sigma: Tensor, x: Tensor) -> Tensor:
    """`C (C + sigma^2)^-1 x` along the frames."""
    noise = float(sigma) ** 2 * torch.eye(len(covariance), dtype=torch.float64)
    return torch.einsum("ij,jchw->ichw", torch.linalg.solve(covariance + noise, covariance).T, x)


def pictures(seed: int = 3) -> tuple[Tensor, Tensor]:
    """Latents `c h w` of a start and an end."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)


def directions(start: Tensor, end: Tensor, weights: Tensor | None = None) -> tuple[Direction, Direction]:
    """Forwards and backwards, guidance 1 unless given."""
    weights = torch.ones(FRAMES) if weights is None else weights
    return (
        Direction(predict=Walk(start), weights=weights, far=end),
        Direction(predict=Walk(end), weights=weights, far=start),
    )
