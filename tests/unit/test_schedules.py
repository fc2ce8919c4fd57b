"""Schedules against the published tables and their own closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from svd_core.errors import InputError
from svd_core.sampling.schedules import SCHEDULE_NAMES, check_sigmas, make_schedule, starting_at

# The 25 steps of SVD as the original sampler computes them in float32.
SVD_25 = [
    700.0001, 545.7295, 421.5691, 322.4538, 244.023, 182.5471, 134.8545, 98.26713, 70.54086, 49.8098, 34.53674,
    23.46752, 15.58997, 10.09714, 6.354271, 3.8697, 2.269119, 1.273179, 0.6781462, 0.3393781, 0.1574048, 0.06639912,
    0.02480259, 0.007882523, 0.002000004,
]  # fmt: skip
AYS_SVD = [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034]


def worst(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float(((actual - expected).abs() / expected).max())


def test_karras_matches_the_reference_table() -> None:
    sigmas = make_schedule("karras", 25, 0.002, 700.0)
    error = worst(sigmas[:-1].double(), torch.tensor(SVD_25, dtype=torch.float64))
    assert len(sigmas) == 26 and sigmas[-1] == 0
    # The table is float32 arithmetic, which is 3.5e-6 away from exact; ours is exact.
    assert 1e-7 < error <= 4e-6, f"{error:.2e}, limit 4e-6"


def test_karras_is_the_formula_in_double_precision() -> None:
    for steps in (1, 2, 7, 30):
        sigmas = make_schedule("karras", steps, 0.02, 80.0)
        for index in range(steps):
            ramp = index / max(steps - 1, 1)
            exact = (80 ** (1 / 7) + ramp * (0.02 ** (1 / 7) - 80 ** (1 / 7))) ** 7
            assert abs(float(sigmas[index]) / exact - 1) < 1.2e-7


def test_align_your_steps_reproduces_its_table_and_interpolates_in_log() -> None:
    ten = make_schedule("align_your_steps", 10, 0.002, 700.0)
    assert worst(ten[:-1], torch.tensor(AYS_SVD)) < 1e-6 and ten[-1] == 0
    twenty = make_schedule("align_your_steps", 20, 0.002, 700.0)
    assert worst(twenty[:-1:2], torch.tensor(AYS_SVD)) < 1e-6
    assert float(twenty[1]) == pytest.approx(math.sqrt(700 * 54.5), rel=1e-6)


def test_align_your_steps_stretches_to_another_range() -> None:
    sigmas = make_schedule("align_your_steps", 10, 0.02, 80.0)
    assert float(sigmas[0]) == pytest.approx(80.0, rel=1e-6)
    share = math.log(54.5 / 0.002) / math.log(700 / 0.002)
    assert math.log(float(sigmas[1]) / 0.02) / math.log(80 / 0.02) == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize(("steps", "indices"), [(1, [0]), (2, [0, 20]), (4, [0, 10, 20, 30]), (8, range(0, 40, 5))])
def test_animatelcm_takes_every_nth_of_its_grid(steps: int, indices: list[int]) -> None:
    grid = make_schedule("karras", 40, 0.002, 700.0)
    sigmas = make_schedule("animatelcm", steps, 0.002, 700.0)
    assert torch.equal(sigmas, torch.cat([grid[list(indices)], torch.zeros(1)]))


@pytest.mark.parametrize("name", SCHEDULE_NAMES)
@pytest.mark.parametrize("steps", [1, 2, 3, 11, 40])
def test_every_schedule_descends_to_zero(name: str, steps: int) -> None:
    sigmas = make_schedule(name, steps, 0.002, 700.0)
    assert sigmas.dtype == torch.float32 and len(sigmas) == steps + 1
    assert bool((sigmas[1:] < sigmas[:-1]).all()) and sigmas[-1] == 0
    assert torch.equal(check_sigmas(sigmas), sigmas)


@pytest.mark.parametrize(
    ("name", "steps", "low", "high", "word"),
    [
        ("cosine", 10, 0.1, 10, "karras"),
        ("karras", 0, 0.1, 10, "steps"),
        ("animatelcm", 41, 0.1, 10, "40"),
        ("karras", 5, 10, 1, "sigma_min"),
        ("karras", 5, 0, 1, "sigma_min"),
    ],
)
def test_impossible_requests_are_refused_by_name(name: str, steps: int, low: float, high: float, word: str) -> None:
    with pytest.raises(InputError, match=word):
        make_schedule(name, steps, low, high)


@pytest.mark.parametrize("bad", [[1.0], [1.0, 2.0], [2.0, 2.0, 0.0], [2.0, -1.0], [math.nan, 0.0], [math.inf, 0.0]])
def test_own_sigmas_must_descend(bad: list[float]) -> None:
    with pytest.raises(InputError, match="descending"):
        check_sigmas(torch.tensor(bad))


def test_starting_at_keeps_the_tail() -> None:
    sigmas = make_schedule("karras", 10, 0.002, 700.0)
    tail = starting_at(sigmas, 5.0)
    assert tail[0] == 5 and torch.equal(tail[1:], sigmas[sigmas < 5])
    assert torch.equal(starting_at(sigmas, float(sigmas[3])), sigmas[3:])
    with pytest.raises(InputError, match="start sigma"):
        starting_at(sigmas, 0.0)
