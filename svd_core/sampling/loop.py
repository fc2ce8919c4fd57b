"""The sampling loop: walks a solver, reports each step, stops when told to, and names the step where numbers broke."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor

from ..errors import NumericsError, explain
from ..types import Denoiser, StepInfo
from .noise import NoiseSource
from .schedules import check_sigmas
from .solvers import Solver, Steps

OnStep = Callable[[StepInfo], None]
"""Called after each step; raising `Cancelled` stops the loop there."""


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Tensor,
    *,
    solver: Solver,
    noise: NoiseSource,
    on_step: OnStep | None = None,
) -> Tensor:
    """Carry x from `sigmas[0]` to `sigmas[-1]`.

    x `(b t) c h w` at noise level `sigmas[0]`, kept float32 throughout; sigmas `S + 1` strictly descending.
    Returns latents as x. `noise` is only drawn from by the stochastic solvers.

    Raises:
        InputError: the sigmas are no schedule.
        NumericsError: a step gave NaN or infinity; the message says which.
        Cancelled: raised by `on_step`.
    """
    levels = check_sigmas(sigmas)
    return follow(solver(denoiser, x.float(), levels, noise), levels, on_step)


def follow(steps: Steps, levels: Tensor, on_step: OnStep | None) -> Tensor:
    """Walk the steps of a solver along `levels` to the end; errors as in `sample`."""
    total = len(levels) - 1
    x: Tensor | None = None
    with closing(steps):
        for index, (latents, denoised) in enumerate(steps):
            sigma = float(levels[index])
            _check_finite(latents, index, total, sigma)
            if on_step is not None:
                on_step(StepInfo(index=index, total=total, sigma=sigma, denoised=denoised))
            x = latents
    assert x is not None, "a schedule without a step was let through"
    return x


def _check_finite(latents: Tensor, index: int, total: int, sigma: float) -> None:
    finite = latents.isfinite()
    if bool(finite.all()):
        return
    bad = int(finite.numel() - finite.sum())
    raise NumericsError(
        explain(
            "finite latents after every step",
            f"{bad} of {finite.numel()} values NaN or infinite after step {index + 1} of {total} (sigma {sigma:.4g})",
            "Run the UNet in bfloat16 or float32, or lower the guidance; if it persists the weights are damaged.",
        )
    )
