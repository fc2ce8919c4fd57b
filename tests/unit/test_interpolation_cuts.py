"""The cut guard on generators it was not set on: a small version of `tests.bench.test_interpolation_cuts`."""

from __future__ import annotations

import pytest
import torch

from svd_core.interpolation.cuts import is_cut, unexplained
from tests.shot_scenes import CONTINUOUS, CUTS, world

SEED, PAIRS = 7, 3


@pytest.mark.parametrize("kind", CUTS)
def test_cuts_are_found(kind: str) -> None:
    assert all(is_cut(*CUTS[kind](SEED, index)) for index in range(PAIRS))


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_shots_are_left_whole(kind: str) -> None:
    assert not any(is_cut(*CONTINUOUS[kind](SEED, index)) for index in range(PAIRS))


def test_a_cut_to_black_is_not_the_end_of_a_fade() -> None:
    first = world(SEED, 0)[0]
    black = torch.zeros_like(first)
    assert is_cut(first, black) and is_cut(black, first)
    assert not is_cut(first * 0.2, black) and not is_cut(black, black)


def test_noise_is_not_held_against_motion() -> None:
    first, second = (frame.permute(2, 0, 1)[None] for frame in world(SEED, 1, "pan_left", 0.03))
    generator = torch.Generator().manual_seed(0)
    noisy = [frame + 0.04 * torch.randn(frame.shape, generator=generator) for frame in (first, second)]
    assert unexplained(first, second) < 0.8 and unexplained(*noisy) < 0.8


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (9, 3)])
def test_any_size(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, *size, 3, generator=generator)
    assert is_cut(first, second) in (True, False) and not is_cut(first, first)
