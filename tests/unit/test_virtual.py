"""The virtual camera against OpenCV's warp, its own exact flow, and closed forms."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from svd_core.camera.moves import AXES
from svd_core.camera.path import CameraMotion, CameraPath, integrate, pair
from svd_core.camera.virtual import flow, render, view_grid
from svd_core.errors import InputError
from tests.unit.test_path import random_motion


def path_of(frames: int = 2, **states: list[float]) -> CameraPath:
    return CameraPath(**{axis: torch.tensor(states.get(axis, [0.0] * frames)) for axis in AXES})


def smooth_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def opencv_view(
    picture: np.ndarray, size: tuple[int, int], pan: float, tilt: float, zoom: float, roll: float
) -> np.ndarray:
    """The view drawn by OpenCV alone: Lanczos at as many samples a pixel as it shrinks, then averaged."""
    height, width = size
    fit = min(picture.shape[0] / height, picture.shape[1] / width)
    samples = max(4, math.ceil(fit))
    angle = math.radians(roll)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn * fit / math.exp(zoom / 100) / samples
    centre = np.array([picture.shape[1], picture.shape[0]]) / 2 + fit * np.array([pan * width, -tilt * height]) / 100
    offset = centre + linear @ np.array([0.5 - width * samples / 2, 0.5 - height * samples / 2]) - 0.5
    matrix = np.hstack([linear, offset[:, None]])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    big = cv2.warpAffine(
        picture, matrix, (width * samples, height * samples), flags=flags, borderMode=cv2.BORDER_REFLECT
    )
    return cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("size", [(100, 160), (64, 64), (113, 60)])
def test_views_equal_opencvs(size: tuple[int, int]) -> None:
    picture = smooth_picture(450, 600)
    states = {"pan": [0.0, 7.3, -4.0], "tilt": [0.0, 4.1, 6.0], "zoom": [0.0, 9.0, -12.0], "roll": [0.0, 8.0, -25.0]}
    views = render(torch.from_numpy(picture).permute(2, 0, 1), path_of(**states), size, whole=True)[0]
    for index in range(3):
        expected = opencv_view(picture, size, *(states[axis][index] for axis in AXES))
        error = np.abs(views[index].permute(1, 2, 0).numpy() - expected)
        assert error.max() < 0.04 and np.sqrt((error**2).mean()) < 0.003, f"frame {index}: max {error.max():.4f}"


def test_flow_carries_scene_points_between_views() -> None:
    height, width = 18, 32
    path = integrate(random_motion(0, 2, 5), height, width)
    grid, moved = view_grid(path, height, width), flow(path, height, width)
    # Coordinates are affine in the pixel, so the next grid can be extended past its edges exactly.
    origin, right, down = (
        grid[:, 1:, 0, 0],
        grid[:, 1:, 0, 1] - grid[:, 1:, 0, 0],
        grid[:, 1:, 1, 0] - grid[:, 1:, 0, 0],
    )
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target_x, target_y = (x + moved[..., 0])[..., None], (y + moved[..., 1])[..., None]
    there = origin[:, :, None, None] + target_x * right[:, :, None, None] + target_y * down[:, :, None, None]
    assert (there - grid[:, :-1]).abs().max() < 1e-12


def test_flow_swapped_is_the_inverse() -> None:
    path = integrate(random_motion(1, 4), 20, 30)
    there = flow(pair(path, 0, 3), 20, 30)[0]
    back = flow(pair(path, 3, 0), 20, 30)[0]
    points = torch.tensor([[3, 4], [15, 20]])
    for y, x in points.tolist():
        landed_x, landed_y = x + there[y, x, 0], y + there[y, x, 1]
        gradient_x, gradient_y = back[0, 1] - back[0, 0], back[1, 0] - back[0, 0]
        returned = back[0, 0] + landed_x * gradient_x + landed_y * gradient_y
        assert (returned + there[y, x]).abs().max() < 1e-10


def test_turns_are_rigid_in_pixels() -> None:
    grid = view_grid(path_of(1, roll=[37.0]), 40, 90)[0]
    pixels = grid * torch.tensor([45.0, 20.0])
    right, down = pixels[0, 1] - pixels[0, 0], pixels[1, 0] - pixels[0, 0]
    assert float(right.norm()) == pytest.approx(1, abs=1e-4) and float(down.norm()) == pytest.approx(1, abs=1e-4)
    assert float(right @ down) == pytest.approx(0, abs=1e-4)


def test_rest_returns_the_picture() -> None:
    picture = torch.rand(3, 24, 40, generator=torch.Generator().manual_seed(0))
    assert (render(picture, path_of(1), (24, 40), whole=True)[0, 0] - picture).abs().max() < 1e-5
    assert (render(picture, path_of(1), (24, 40))[0, 0] - picture).abs().max() < 1e-5


def test_shrinking_does_not_alias() -> None:
    stripes = (torch.arange(512) % 2).float().expand(3, 512, 512)
    views = render(stripes, integrate(constant(zoom=-3.0, pan=0.7), 64, 64), (64, 64))
    assert (views - 0.5).abs().max() < 0.05, f"aliased by {(views - 0.5).abs().max():.3f}"


def test_shifts_do_not_blur() -> None:
    """A half-pixel shift of a picture twice as fine keeps the energy of its gradients within a few per cent."""
    picture = torch.from_numpy(smooth_picture(256, 256)).permute(2, 0, 1)
    views = render(picture, path_of(2, pan=[0.0, 50 / 64]), (64, 64))[0]
    energy = views.diff(dim=-1).square().mean(dim=(1, 2, 3))
    assert float(energy[1] / energy[0]) == pytest.approx(1, abs=0.04)


def constant(frames: int = 8, **steps: float) -> CameraMotion:
    return CameraMotion(**{axis: torch.full((frames - 1,), steps.get(axis, 0.0)) for axis in AXES})


@pytest.mark.parametrize(
    "steps", [{"pan": 3.0}, {"tilt": -2.0}, {"zoom": -3.0}, {"roll": 4.0}, {"pan": -2.0, "roll": 3.0}]
)
def test_crop_shows_nothing_from_outside(steps: dict[str, float]) -> None:
    """A picture that is a ramp stays a ramp: mirrored borders would turn its slope."""
    ramp = torch.stack(
        (torch.linspace(0, 1, 300).expand(200, 300), torch.linspace(0, 1, 200)[:, None].expand(200, 300))
    )
    views = render(ramp, integrate(constant(**steps), 32, 48), (32, 48))[0]
    for channel in (0, 1):
        for axis in (1, 2):
            slope = views[:, channel].diff(dim=axis)[..., 1:-1, 1:-1]
            spread = (slope.amax(dim=(1, 2)) - slope.amin(dim=(1, 2))).max()
            assert spread < 2e-3, f"slope of channel {channel} changes by {float(spread):.4f} along axis {axis}"


def test_one_picture_many_paths_and_back() -> None:
    pictures = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    paths = integrate(random_motion(2, 3, 4, size=1.0), 16, 16)
    together = render(pictures, paths, (16, 16), whole=True)
    alone = [CameraPath(**{axis: getattr(paths, axis)[clip] for axis in AXES}) for clip in range(3)]
    assert together.shape == (3, 5, 3, 16, 16)
    for clip in range(3):
        assert (together[clip] - render(pictures[clip], alone[clip], (16, 16), whole=True)[0]).abs().max() < 1e-5
    assert render(pictures[0], paths, (16, 16)).shape == (3, 5, 3, 16, 16)
    assert render(pictures, alone[0], (16, 16)).shape == (3, 5, 3, 16, 16)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((40, 40), (16, 16)), ((3, 40, 40), (0, 16)), ((2, 3, 40, 40), (16, 16)), ((1, 3, 0, 40), (8, 8))],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    paths = integrate(random_motion(2, 3, 4), 16, 16)
    with pytest.raises(InputError, match="picture"):
        render(torch.zeros(shape), paths, size)


def test_arguments_are_left_alone() -> None:
    picture: Tensor = torch.rand(3, 20, 20)
    path = path_of(2, pan=[0.0, 5.0])
    before = picture.clone(), path.pan.clone()
    render(picture, path, (10, 10))
    assert torch.equal(picture, before[0]) and torch.equal(path.pan, before[1])
