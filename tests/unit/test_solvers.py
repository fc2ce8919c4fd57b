"""Solvers on a denoiser whose flow is known: data N(mu, s^2), where everything has a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from svd_core.errors import InputError
from svd_core.sampling.schedules import make_schedule
from svd_core.sampling.solvers import SOLVER_NAMES, Solver, euler, get_solver

MU, S = 0.7, 0.6


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    return (S**2 * x + sigma**2 * MU) / (S**2 + sigma**2)


def exact(x: Tensor, sigma: float, sigma_end: float) -> Tensor:
    return MU + (x - MU) * math.sqrt((S**2 + sigma_end**2) / (S**2 + sigma**2))


def no_noise() -> Tensor:
    raise AssertionError("a deterministic solver drew noise")


def run(solver: Solver, x: Tensor, sigmas: Tensor, noise=no_noise, denoiser=gaussian) -> Tensor:
    *_, (last, _) = solver(denoiser, x, sigmas, noise)
    return last


def error(name: str, steps: int, high: float = 10.0, low: float = 0.05) -> float:
    sigmas = torch.linspace(high ** (1 / 3), low ** (1 / 3), steps + 1, dtype=torch.float64) ** 3
    x = torch.tensor([3.0, -8.0, 12.0], dtype=torch.float64)
    return float((run(get_solver(name), x, sigmas) - exact(x, high, low)).abs().max())


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_convergence_order(name: str, order: int) -> None:
    """Halving the step divides the error by 2^order."""
    for steps in (80, 160):
        measured = math.log2(error(name, steps) / error(name, 2 * steps))
        assert abs(measured - order) < 0.12, f"{name}: order {measured:.3f} measured, {order} expected"


def test_order_of_euler_is_not_two() -> None:
    """Negative control: the measurement above tells first from second order."""
    assert math.log2(error("euler", 80) / error("euler", 160)) < 1.5


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m"])
def test_deterministic_solvers_reach_the_data_from_the_full_range(name: str) -> None:
    x = torch.tensor([700.0, -300.0, 50.0], dtype=torch.float64)
    result = run(get_solver(name), x, make_schedule("karras", 200, 0.002, 700.0))
    distance = float((result - exact(x, 700.0, 0.0)).abs().max())
    assert distance < 0.02, f"{distance:.3g} from the exact flow, limit 0.02"


@pytest.mark.parametrize("name", ["euler_ancestral", "animatelcm"])
def test_stochastic_solvers_sample_the_distribution(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    count = 40_000

    def noise() -> Tensor:
        return torch.randn(count, generator=generator, dtype=torch.float64)

    x = 50 * noise() + MU
    steps = 400 if name == "euler_ancestral" else 1
    result = run(get_solver(name), x, make_schedule("karras", steps, 0.01, 50.0), noise)
    assert float(result.mean()) == pytest.approx(MU, abs=0.02)
    # One consistency step of a mean-denoiser collapses to the mean: that it has no spread is its signature.
    assert float(result.std()) == pytest.approx(S if name == "euler_ancestral" else 0.0, abs=0.02)


def test_ancestral_step_splits_the_variance() -> None:
    """With D = 0 a step is x sigma_down / sigma + sigma_up n, and sigma_down^2 + sigma_up^2 = sigma_next^2."""
    sigmas = torch.tensor([4.0, 3.0])
    ones = torch.ones(1, dtype=torch.float64)
    down = run(get_solver("euler_ancestral"), 4 * ones, sigmas, lambda: 0 * ones, lambda x, s: 0 * x)
    both = run(get_solver("euler_ancestral"), 4 * ones, sigmas, lambda: ones, lambda x, s: 0 * x)
    assert float(down) == pytest.approx(9 / 4)
    assert float(down) ** 2 + float(both - down) ** 2 == pytest.approx(9.0)


def test_animatelcm_step_is_denoised_plus_fresh_noise() -> None:
    noise = torch.full((3,), 2.0)
    steps = list(get_solver("animatelcm")(gaussian, torch.ones(3), torch.tensor([5.0, 1.5, 0.0]), lambda: noise))
    torch.testing.assert_close(steps[0][0], gaussian(torch.ones(3), torch.tensor(5.0)) + 1.5 * noise)
    torch.testing.assert_close(steps[1][0], gaussian(steps[0][0], torch.tensor(1.5)))


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_last_step_lands_on_the_denoised_estimate(name: str) -> None:
    x = torch.tensor([1.0, -2.0])
    *_, (last, denoised) = get_solver(name)(gaussian, x, torch.tensor([2.0, 0.5, 0.0]), lambda: torch.ones(2))
    torch.testing.assert_close(last, denoised)


@pytest.mark.parametrize("name", SOLVER_NAMES)
def test_x_is_not_overwritten_and_keeps_its_dtype(name: str) -> None:
    x = torch.tensor([1.0, -2.0])
    before = x.clone()
    after = run(get_solver(name), x, torch.tensor([2.0, 0.5, 0.0]), lambda: torch.ones(2))
    assert torch.equal(x, before) and after.dtype == torch.float32


def test_one_euler_step_by_hand() -> None:
    x = torch.tensor([2.0])
    (after, denoised) = next(iter(euler(lambda x, s: x / 2, x, torch.tensor([4.0, 1.0]), no_noise)))
    assert float(denoised) == 1.0 and float(after) == 2.0 + (2.0 - 1.0) / 4.0 * (1.0 - 4.0)


def test_unknown_solver_lists_the_names() -> None:
    with pytest.raises(InputError, match="dpmpp_2m"):
        get_solver("lms")
