"""The real clip of equal motion: the same first frame, the same share for subjects, no prize for standing still."""

from __future__ import annotations

import pytest
import torch

from svd_core.camera.path import CameraMotion
from svd_core.training.scores_arithmetic import decibels_of
from svd_core.training.scores_clip import coherent_flow, step_error, tracked
from svd_core.training.scores_matched import filmed_again, matched
from svd_core.training.scores_sets import Scene, scene
from svd_core.training.worlds import WorldSize

SIZE = WorldSize(frames=8)


def still() -> CameraMotion:
    return CameraMotion(**{axis: torch.zeros(1) for axis in ("pan", "tilt", "zoom", "roll")})


@pytest.mark.parametrize("index", range(3))
def test_a_world_filmed_again_begins_with_the_same_frame(index: int) -> None:
    real = scene("worlds", 3, index, SIZE)
    again = filmed_again(real.world, SIZE, still(), 0.0)
    assert torch.allclose(again, real.pixels[:1].expand_as(again), atol=1e-4), "nothing may move"
    step = CameraMotion(pan=torch.tensor([1.0]), tilt=torch.zeros(1), zoom=torch.zeros(1), roll=torch.zeros(1))
    moving = filmed_again(real.world, SIZE, step, 1.0)
    assert torch.allclose(moving[0], real.pixels[0], atol=1e-4)
    assert step_error(moving) > 1e-6


def test_subjects_keep_their_share_of_the_motion() -> None:
    real = next(
        one for index in range(40) if (one := scene("worlds", 4, index, SIZE)).world.subjects and one.flow > 0.3
    )
    slow, fast = (filmed_again(real.world, SIZE, still(), pace) for pace in (0.3, 1.0))
    assert 0 < step_error(slow) < step_error(fast)


def textured(count: int) -> list[Scene]:
    """Worlds the meter reads well and that move."""
    found = (scene("worlds", 5, index, SIZE) for index in range(60))
    good = [one for one in found if one.flow > 0.4 and abs(coherent_flow(one.pixels) / one.flow - 1) < 0.2]
    return good[:count]


def test_only_what_moves_as_real_things_do_ties_with_a_real_clip() -> None:
    noise = 0.04 * torch.randn((SIZE.frames, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    ahead: dict[str, list[tuple[float, float]]] = {"clean": [], "flickering": [], "still": []}
    for real in textured(2):
        slow = filmed_again(real.world, SIZE, _half(real), 0.5)
        for name, made in (
            ("clean", slow),
            ("flickering", (slow + noise).clamp(-1, 1)),
            ("still", (real.pixels[:1] + noise / 4).clamp(-1, 1)),
        ):
            beside = matched(real, SIZE, tracked(made))
            ahead[name].append((step_error(made), step_error(beside.pixels)))
            if name == "clean":
                assert beside.flow == pytest.approx(coherent_flow(made), rel=0.15)
    gaps = {
        name: decibels_of([a for a, _ in pairs]) - decibels_of([b for _, b in pairs]) for name, pairs in ahead.items()
    }
    assert abs(gaps["clean"]) < 1, gaps
    assert gaps["flickering"] < -1.5, gaps
    assert gaps["still"] < -2, f"a clip that stands still and flickers must not win: {gaps}"


def _half(real: Scene) -> CameraMotion:
    track = tracked(real.pixels)
    return CameraMotion(**{axis: getattr(track, axis).mean()[None] / 2 for axis in ("pan", "tilt", "zoom", "roll")})
