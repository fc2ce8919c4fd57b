"""Geometry of the camera path: exact inverses, signs, antisymmetry."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from svd_core.camera.moves import AXES
from svd_core.camera.path import (
    CameraMotion,
    CameraPath,
    differentiate,
    displacement,
    integrate,
    motion_of,
    pair,
    similarity,
)
from svd_core.errors import InputError

HEIGHT, WIDTH = 60, 100


def random_motion(seed: int, *shape: int, size: float = 5.0) -> CameraMotion:
    generator = torch.Generator().manual_seed(seed)
    return CameraMotion(
        **{axis: (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * size for axis in AXES}
    )


def single(**steps: float) -> CameraMotion:
    return CameraMotion(**{axis: torch.tensor([steps.get(axis, 0.0)], dtype=torch.float64) for axis in AXES})


def largest_difference(one: CameraMotion, two: CameraMotion) -> float:
    return max(float((getattr(one, axis) - getattr(two, axis)).abs().max()) for axis in AXES)


def at(field: Tensor, x: float, y: float) -> tuple[float, float]:
    """Displacement at pixel (x, y) of the first step."""
    return tuple(field[0, int(y), int(x)].tolist())  # type: ignore[return-value]


@given(seed=st.integers(0, 10**6), height=st.integers(1, 2000), width=st.integers(1, 2000))
@settings(max_examples=30, deadline=None)
def test_steps_and_path_give_each_other(seed: int, height: int, width: int) -> None:
    motion = random_motion(seed, 2, 9)
    again = differentiate(integrate(motion, height, width), height, width)
    assert largest_difference(motion, again) < 1e-9


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_similarity_and_motion_give_each_other(seed: int) -> None:
    motion = random_motion(seed, 4, size=20.0)
    again = motion_of(*similarity(motion, HEIGHT, WIDTH), height=HEIGHT, width=WIDTH)
    assert largest_difference(motion, again) < 1e-9


def test_signs_are_the_cameras() -> None:
    left, right, middle = (10, 30), (90, 30), (50, 30)
    assert at(displacement(single(pan=2), HEIGHT, WIDTH), *middle) == pytest.approx((-2.0, 0.0))
    assert at(displacement(single(tilt=5), HEIGHT, WIDTH), *middle) == pytest.approx((0.0, 3.0))
    zoom = displacement(single(zoom=10), HEIGHT, WIDTH)
    assert at(zoom, *right)[0] == pytest.approx(40.5 * (math.exp(0.1) - 1))
    assert at(zoom, *left)[0] == pytest.approx(-39.5 * (math.exp(0.1) - 1))
    # The camera turns clockwise, so content turns the other way: what is right of the centre rises.
    roll = displacement(single(roll=90), HEIGHT, WIDTH)
    assert at(roll, *right) == pytest.approx((0.5 - 40.5, -40.5 - 0.5))


def test_backwards_is_negated() -> None:
    path = integrate(random_motion(3, 1), HEIGHT, WIDTH)
    there = differentiate(pair(path, 0, 1), HEIGHT, WIDTH)
    back = differentiate(pair(path, 1, 0), HEIGHT, WIDTH)
    negated = CameraMotion(**{axis: -getattr(back, axis) for axis in AXES})
    assert largest_difference(there, negated) < 1e-12


def test_lengths_must_agree() -> None:
    four, three = torch.zeros(4), torch.zeros(3)
    with pytest.raises(InputError, match=r"\(3,\)"):
        CameraPath(pan=four, tilt=four, zoom=four, roll=three)
