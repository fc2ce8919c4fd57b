"""Noise schedules: S steps are S + 1 descending sigmas, the last one 0.

Everything is computed in float64 and cast once: float32 arithmetic moves sigmas by up to 3.5e-6.
Which solver walks a schedule is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import InputError, choose_from, explain

ScheduleName = Literal["karras", "align_your_steps", "animatelcm"]
SCHEDULE_NAMES: tuple[ScheduleName, ...] = get_args(ScheduleName)

# Karras et al. 2022 (arXiv:2206.00364), table 1.
_RHO = 7.0
# Sabour et al. 2024 (arXiv:2404.14507): the ten steps optimised for Stable Video Diffusion, 0.002 to 700.
_ALIGN_YOUR_STEPS_SVD = (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002)
# AnimateLCM-SVD was distilled on a 40-step Karras grid; its samplers visit a regular subset.
_ANIMATELCM_GRID = 40


def make_schedule(name: str, steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Sigmas `steps + 1`, float32 on the CPU, from `sigma_max` down to 0; name is one of `SCHEDULE_NAMES`.

    Raises:
        InputError: unknown name, a step count the schedule cannot give, or a range that is no range.
    """
    if name not in _SCHEDULES:
        raise InputError(choose_from("schedule", name, SCHEDULE_NAMES))
    if steps < 1:
        raise InputError(explain("`steps` of at least 1", str(steps), "Ask for one step or more."))
    if not 0 < sigma_min < sigma_max < math.inf:
        found = f"{sigma_min:g} and {sigma_max:g}"
        raise InputError(explain("0 < sigma_min < sigma_max", found, "Give a positive, ascending range."))
    return _SCHEDULES[name](steps, sigma_min, sigma_max)


def karras(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Sigmas evenly spaced in sigma^(1/7), then 0 (Karras et al. 2022, equation 5)."""
    return _ending_in_zero(_karras_grid(steps, sigma_min, sigma_max))


def align_your_steps(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """The published SVD schedule, interpolated linearly in log sigma over the step index; its last sigma becomes 0.

    On another range than 0.002..700 the table is stretched in log sigma: an approximation, since the
    optimum was found for SVD's own range.
    """
    table = torch.tensor(_ALIGN_YOUR_STEPS_SVD, dtype=torch.float64).log()
    unit = (table - table[-1]) / (table[0] - table[-1])
    place = torch.linspace(0, len(unit) - 1, steps + 1, dtype=torch.float64)
    left = place.floor().long().clamp_max(len(unit) - 2)
    height = torch.lerp(unit[left], unit[left + 1], place - left)
    log_sigma = math.log(sigma_min) + height * math.log(sigma_max / sigma_min)
    return _ending_in_zero(log_sigma.exp()[:-1])


def animatelcm(steps: int, sigma_min: float, sigma_max: float) -> Tensor:
    """Every (40 // steps)-th sigma of AnimateLCM-SVD's 40-step Karras grid, then 0 (four steps: 0, 10, 20, 30)."""
    if steps > _ANIMATELCM_GRID:
        remedy = "AnimateLCM is meant for 1 to 8 steps; use the `karras` schedule for more."
        raise InputError(explain(f"`steps` up to {_ANIMATELCM_GRID} for the animatelcm schedule", str(steps), remedy))
    indices = torch.arange(steps) * (_ANIMATELCM_GRID // steps)
    return _ending_in_zero(_karras_grid(_ANIMATELCM_GRID, sigma_min, sigma_max)[indices])


def check_sigmas(sigmas: Tensor) -> Tensor:
    """A caller's own schedule as float32 on the CPU.

    Raises:
        InputError: not one-dimensional, fewer than two values, not finite, or not strictly descending to 0 or above.
    """
    values = sigmas.detach().to("cpu", torch.float32)
    descending = values.ndim == 1 and len(values) >= 2 and bool((values[1:] < values[:-1]).all())
    if not descending or not bool(values.isfinite().all()) or float(values[-1]) < 0:
        expected = "`sigmas` as two or more finite numbers, strictly descending to 0 or above"
        shown = [round(float(value), 6) for value in values.flatten()[:8]]
        raise InputError(explain(expected, f"shape {tuple(values.shape)}, {shown}", "Sort them and end with 0."))
    return values


def starting_at(sigmas: Tensor, sigma: float) -> Tensor:
    """The part of a schedule below `sigma`, with `sigma` itself put in front: for a start from a given latent.

    Raises:
        InputError: `sigma` is not above the schedule's end.
    """
    if not float(sigmas[-1]) < sigma < math.inf:
        found = f"{sigma:g}"
        raise InputError(explain(f"a start sigma above {float(sigmas[-1]):g}", found, "Start at a higher noise level."))
    return torch.cat([torch.tensor([sigma], dtype=sigmas.dtype), sigmas[sigmas < sigma]])


def _karras_grid(count: int, sigma_min: float, sigma_max: float) -> Tensor:
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    highest, lowest = sigma_max ** (1 / _RHO), sigma_min ** (1 / _RHO)
    return (highest + ramp * (lowest - highest)) ** _RHO


def _ending_in_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


_SCHEDULES: dict[str, Callable[[int, float, float], Tensor]] = {
    "karras": karras,
    "align_your_steps": align_your_steps,
    "animatelcm": animatelcm,
}
