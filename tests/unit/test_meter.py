"""The camera meter on clips drawn without it: accuracy, subjects, cuts, emptiness, refusals.

The table against OpenCV over many random scenes is tests/bench/test_meter_accuracy.py; here a few fixed ones.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from svd_core.camera.meter import Track, measure
from svd_core.camera.moves import AXES
from svd_core.camera.path import CameraMotion, integrate
from svd_core.camera.virtual import render
from svd_core.errors import InputError
from svd_core.types import Frames
from tests.bench.meter_scenes import draw, texture

MIX = [[1.7, -0.6, 2.4, 0.8], [-3.1, 2.2, -0.9, -1.9]]
EVERY_MOVE = [
    [sign * amount if axis == index else 0.0 for axis in range(4)]
    for index, sign, amount in [
        (0, 1, 0.5),
        (0, -1, 5),
        (1, 1, 4),
        (1, -1, 0.4),
        (2, 1, 0.6),
        (2, -1, 5),
        (3, 1, 5),
        (3, -1, 0.5),
    ]
]


def steps_of(track: Track) -> np.ndarray:
    return torch.stack([getattr(track, axis) for axis in AXES], dim=1).numpy()


def assert_tracks(frames: np.ndarray, truth: np.ndarray, limit: float) -> Track:
    track = measure(torch.from_numpy(frames))
    error = np.abs(steps_of(track) - truth)
    assert error.max() <= limit, f"errors {error.round(4).tolist()} above {limit}"
    return track


@pytest.mark.parametrize("kind", ["noise", "shapes", "mixed"])
def test_mixed_moves(kind: str) -> None:
    scene = draw(np.array(MIX), (256, 256), np.random.default_rng(5), kind=kind, samples=2)
    track = assert_tracks(scene.frames, scene.truth, 0.03)
    assert track.cuts == () and float(track.confidence.min()) > 0.9


def test_every_move_at_the_embedded_models_size() -> None:
    scene = draw(np.array(EVERY_MOVE), (64, 64), np.random.default_rng(6), samples=4)
    assert_tracks(scene.frames, scene.truth, 0.1)


def test_a_moving_subject_is_ignored() -> None:
    scene = draw(np.array(MIX), (180, 320), np.random.default_rng(7), foreground=0.3, noise=0.02, blur=1.0, samples=2)
    assert_tracks(scene.frames, scene.truth, 0.05)


def test_track_equals_the_motion_the_virtual_camera_was_given() -> None:
    """Ties the package's own renderer and meter together; each is also held to OpenCV on its own."""
    picture = torch.from_numpy(texture("mixed", 400, np.random.default_rng(8))).permute(2, 0, 1)
    given = CameraMotion(**{axis: torch.tensor([row[i] for row in MIX]) for i, axis in enumerate(AXES)})
    views = render(picture, integrate(given, 96, 160), (96, 160))[0].permute(0, 2, 3, 1)
    track = measure(Frames(views, Fraction(8)))
    error = max(float((getattr(track, axis) - getattr(given, axis)).abs().max()) for axis in AXES)
    assert error < 0.08, f"{error:.4f}"
    assert track.path.frames == 3
    for axis in AXES:
        assert track.per_second[axis] == pytest.approx(8 * track.mean[axis])
    assert track.to_json()["per_frame"]["pan"] == track.pan.tolist()


def still_scene(seed: int = 9, size: int = 96) -> Tensor:
    return torch.from_numpy(texture("mixed", size, np.random.default_rng(seed)))


def test_rest_is_rest_even_when_the_light_changes() -> None:
    picture = still_scene()
    track = measure(torch.stack([picture, picture * 0.7 + 0.1, picture * 0.9]))
    assert np.abs(steps_of(track)).max() < 0.01 and bool(track.trusted.all())


def test_a_repeating_pattern_moves_the_shorter_way() -> None:
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    frames = torch.stack([((((x + 3 * t) // 16) + (y // 16)) % 2).float() for t in range(3)])[..., None]
    track = measure(frames.expand(-1, -1, -1, 3))
    assert track.pan.tolist() == pytest.approx([300 / 256] * 2, abs=0.01)


def test_cuts_are_flagged_and_left_out_of_the_mean() -> None:
    scene = draw(np.array([[2.0, 0, 0, 0]] * 3), (96, 96), np.random.default_rng(10), samples=2)
    other = draw(np.array([[2.0, 0, 0, 0]] * 2), (96, 96), np.random.default_rng(11), samples=2)
    track = measure(torch.from_numpy(np.concatenate([scene.frames, other.frames])))
    assert track.cuts == (4,) and float(track.pan[3]) == 0
    assert track.mean["pan"] == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("kind", ["black", "grey noise", "ramp", "to black"])
def test_nothing_to_hold_on_to_gives_zeros_without_trust(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = {
        "black": torch.zeros(3, 64, 64, 3),
        "grey noise": 0.5 + 0.02 * torch.randn(3, 64, 64, 3, generator=generator),
        "ramp": torch.linspace(0, 1, 64)[None, None, :, None].expand(3, 64, 64, 3),
        "to black": torch.stack([still_scene(size=64), torch.zeros(64, 64, 3), torch.zeros(64, 64, 3)]),
    }[kind]
    track = measure(frames)
    assert not bool(track.trusted.any()), f"confidence {track.confidence.tolist()}"
    assert np.abs(steps_of(track)).max() == 0 and track.mean["zoom"] == 0
    assert bool(torch.isfinite(track.residual).all())


def test_results_do_not_depend_on_the_neighbours_in_the_clip() -> None:
    scene = draw(np.array(MIX * 5), (64, 64), np.random.default_rng(12), samples=2)
    whole, part = measure(torch.from_numpy(scene.frames)), measure(torch.from_numpy(scene.frames[7:]))
    assert np.abs(steps_of(whole)[7:] - steps_of(part)).max() < 1e-3


@pytest.mark.parametrize("height", [24, 25])
def test_odd_and_extreme_sizes_run(height: int) -> None:
    frames = torch.rand(3, height, 301, 3, generator=torch.Generator().manual_seed(1))
    assert steps_of(measure(frames)).shape == (2, 4)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(1, 64, 64, 3), "2 frames"),
        (torch.zeros(3, 8, 64, 3), "64 x 8"),
        (torch.full((3, 64, 64, 3), float("nan")), "NaN"),
        (torch.zeros(3, 64, 64), "T H W 3"),
    ],
)
def test_what_cannot_be_measured_is_refused(frames: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure(frames)
