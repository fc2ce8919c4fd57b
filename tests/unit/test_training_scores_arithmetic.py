"""The arithmetic a model is judged with."""

from __future__ import annotations

import math

import pytest
import torch

from svd_core.training.scores_arithmetic import slope, spearman, standard_error


def test_equal_values_have_no_order() -> None:
    order = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert spearman(order, torch.zeros(4)) == 0, "a model that never moves must not rank perfectly"
    assert spearman(order, torch.tensor([0.0, 0.0, 1.0, 1.0])) == pytest.approx(2 / math.sqrt(5))


def test_the_slope_starts_at_the_lowest_bucket() -> None:
    assert slope([0.1, 0.5, 1.1], [0.3, 0.5, 0.8]) == pytest.approx(0.5), "what moves unasked is no answer"


def test_the_standard_error_of_a_mean() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).tolist()
    assert standard_error(values, lambda some: sum(some) / len(some)) == pytest.approx(1 / 20, rel=0.2)
