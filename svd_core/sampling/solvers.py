"""The solvers: each is its published algorithm, top to bottom, as a generator that yields after every step.

A solver sees a denoiser and sigmas; seeds, progress, cancelling and checks belong to the loop. Sigmas are
scalars in float64 on the CPU, so that coefficients keep their precision while x stays in its own dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import InputError, choose_from
from ..types import Denoiser
from .noise import NoiseSource

SolverName = Literal["euler", "euler_ancestral", "heun", "dpmpp_2m", "animatelcm"]
SOLVER_NAMES: tuple[SolverName, ...] = get_args(SolverName)

Steps = Generator[tuple[Tensor, Tensor], None, None]
"""After each step: x at the next sigma, and the denoised estimate the step was made with."""

Solver = Callable[[Denoiser, Tensor, Tensor, NoiseSource], Steps]
"""`solver(denoiser, x, sigmas, noise)`: x `(b t) c h w` at sigmas[0], sigmas `S + 1` descending."""


def get_solver(name: str) -> Solver:
    """The solver of that name, one of `SOLVER_NAMES`.

    Raises:
        InputError: unknown name.
    """
    if name not in _SOLVERS:
        raise InputError(choose_from("solver", name, SOLVER_NAMES))
    return _SOLVERS[name]


def derivative(x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
    """dx/dsigma of the probability flow (Karras et al. 2022, equation 3 with their schedule)."""
    return (x - denoised) / sigma


def euler(denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: NoiseSource) -> Steps:
    """Euler's method, first order (Karras et al. 2022, algorithm 1 without the correction)."""
    for sigma, sigma_next in pairwise(sigmas.double()):
        denoised = denoiser(x, sigma)
        d = derivative(x, sigma, denoised)
        x = x + d * (sigma_next - sigma)
        yield x, denoised


def euler_ancestral(denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: NoiseSource) -> Steps:
    """Euler down to `sigma_down`, then fresh noise up to `sigma_next` (the ancestral step of k-diffusion)."""
    for sigma, sigma_next in pairwise(sigmas.double()):
        denoised = denoiser(x, sigma)
        d = derivative(x, sigma, denoised)
        sigma_up = sigma_next * torch.sqrt(1 - (sigma_next / sigma) ** 2)
        sigma_down = sigma_next**2 / sigma
        x = x + d * (sigma_down - sigma)
        if sigma_next > 0:
            x = x + sigma_up * noise()
        yield x, denoised


def heun(denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: NoiseSource) -> Steps:
    """Heun's method, second order, two evaluations a step (Karras et al. 2022, algorithm 1)."""
    for sigma, sigma_next in pairwise(sigmas.double()):
        denoised = denoiser(x, sigma)
        d = derivative(x, sigma, denoised)
        x_next = x + d * (sigma_next - sigma)
        if sigma_next > 0:
            d_next = derivative(x_next, sigma_next, denoiser(x_next, sigma_next))
            x_next = x + (d + d_next) / 2 * (sigma_next - sigma)
        x = x_next
        yield x, denoised


def dpmpp_2m(denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: NoiseSource) -> Steps:
    """DPM-Solver++(2M), second order, one evaluation a step (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""
    before: tuple[Tensor, Tensor] | None = None
    for sigma, sigma_next in pairwise(sigmas.double()):
        denoised = denoiser(x, sigma)
        h = torch.log(sigma / sigma_next)
        extrapolated = denoised
        # Towards 0 the step in log sigma is infinite: the last one is first order.
        if before is not None and sigma_next > 0:
            h_before, denoised_before = before
            r = h_before / h
            extrapolated = (1 + 1 / (2 * r)) * denoised - denoised_before / (2 * r)
        x = sigma_next / sigma * x - torch.expm1(-h) * extrapolated
        before = h, denoised
        yield x, denoised


def animatelcm(denoiser: Denoiser, x: Tensor, sigmas: Tensor, noise: NoiseSource) -> Steps:
    """Multistep consistency sampling as AnimateLCM-SVD does it: the estimate, noised again (arXiv:2402.00769)."""
    for sigma, sigma_next in pairwise(sigmas.double()):
        denoised = denoiser(x, sigma)
        x = denoised + sigma_next * noise() if sigma_next > 0 else denoised
        yield x, denoised


_SOLVERS: dict[str, Solver] = {
    "euler": euler,
    "euler_ancestral": euler_ancestral,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "animatelcm": animatelcm,
}
