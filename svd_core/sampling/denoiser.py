"""Preconditioning: turns any v-predicting network into `denoised = denoiser(x, sigma)`.

Context, vector and frame count are bound into the network callable; guidance is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]
"""`v = network(x, c_noise)`: x `(b t) C h w` scaled and concatenated, c_noise a scalar on the CPU, v `(b t) c h w`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preconditioning:
    """The four coefficients at one sigma, for data of unit variance and a network that predicts v."""

    c_skip: float
    c_out: float
    c_in: float
    c_noise: float

    @staticmethod
    def at(sigma: float) -> Preconditioning:
        """Karras et al. 2022, table 1, in the v form of Salimans & Ho 2022 (arXiv:2202.00512) that SVD uses."""
        scale = math.sqrt(sigma**2 + 1)
        return Preconditioning(
            c_skip=1 / scale**2, c_out=-sigma / scale, c_in=1 / scale, c_noise=0.25 * math.log(sigma)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VDenoiser:
    """A denoiser over clips that are steered by image latents.

    network: see `Network`; `concat` `(b t) C h w`, the image latents put beside x without any scaling;
    `dtype` is what the network computes in. x and the result stay float32.
    """

    network: Network
    concat: Tensor
    dtype: torch.dtype

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x `(b t) c h w` float32, sigma a positive scalar -> denoised as x."""
        c = Preconditioning.at(float(sigma))
        inputs = torch.cat([x * c.c_in, self.concat], dim=1).to(self.dtype)
        v = self.network(inputs, torch.tensor(c.c_noise, dtype=torch.float32))
        return x * c.c_skip + v.to(x.dtype) * c.c_out


def noised(latents: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Clean latents carried to noise level `sigma`: where sampling from a given latent starts."""
    return latents + sigma * noise


def pure_noise(noise: Tensor, sigma_max: float) -> Tensor:
    """Standard normal noise scaled to the marginal at `sigma_max`, data of unit variance included."""
    return noise * math.sqrt(sigma_max**2 + 1)
