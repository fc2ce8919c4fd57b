"""Cut detection: hard cuts to the frame, slow ones by their span, and no cut where the camera only moves."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from einops import rearrange
from torch import Tensor

from svd_core.training.cuts import Transition, find_transitions, shots, small
from svd_core.training.worlds import TRAINING, WorldSize, draw_clips

MOVES = ("pan_left", "zoom_in", "static", "tilt_up", "roll_clockwise", "pan_right")
LENGTH = 24


@cache
def shot(index: int, speed: float = 0.012, length: int = LENGTH, move: str | None = None) -> Tensor:
    """Frames `T 64 64 3` in [0, 1] of one world."""
    size = WorldSize(frames=length, height=64, width=64)
    clips = draw_clips(5, TRAINING, range(index, index + 1), size, move=move or MOVES[index % len(MOVES)], speed=speed)
    return (rearrange(clips.pixels[0], "t c h w -> t h w c") + 1) / 2


def ramp(first: float, last: float, count: int) -> Tensor:
    return torch.linspace(first, last, count).view(-1, 1, 1, 1)


@pytest.mark.parametrize("base", [0, 6, 12])
def test_hard_cuts_are_found_to_the_frame(base: int) -> None:
    film = torch.cat([shot(base + index) for index in range(len(MOVES))])
    expected = [Transition(index * LENGTH - 1, index * LENGTH) for index in range(1, len(MOVES))]
    assert find_transitions(film) == expected


@pytest.mark.parametrize("base", [0, 6, 18])
def test_a_dissolve_is_found_and_no_shot_holds_its_middle(base: int) -> None:
    first, second = shot(base), shot(base + 1)
    mix = ramp(0, 1, 14)[1:-1]
    film = torch.cat([first[:12], first[12:] * (1 - mix) + second[:12] * mix, second[12:]])
    found = find_transitions(film)
    assert len(found) == 1
    assert all(not first <= 17 <= last for first, last in shots(len(film), found))


@pytest.mark.parametrize("base", [0, 6, 18])
def test_a_fade_through_black_is_one_transition(base: int) -> None:
    first, second = shot(base), shot(base + 1)
    dark = torch.cat([first[12:18] * ramp(1, 0, 6), second[6:12] * ramp(0, 1, 6)])
    film = torch.cat([first[:12], dark, second[12:]])
    found = find_transitions(film)
    assert len(found) == 1 and found[0].first <= 17 and found[0].last >= 18


@pytest.mark.parametrize(("move", "speed"), [("pan_left", 0.05), ("zoom_in", 0.02), ("roll_clockwise", 0.03)])
@pytest.mark.parametrize("index", [0, 6, 12])
def test_a_fast_camera_is_no_cut(index: int, move: str, speed: float) -> None:
    assert find_transitions(shot(index, speed, 40, move)) == []


def test_a_flash_of_light_is_no_cut() -> None:
    film = shot(2, length=30).clone()
    film[15] = (film[15] * 1.3).clamp(0, 1)
    assert find_transitions(film) == []


def test_shots_leave_the_ends_of_slow_transitions_out() -> None:
    assert shots(40, []) == [(0, 39)]
    assert shots(40, [Transition(9, 10)]) == [(0, 9), (10, 39)]
    assert shots(40, [Transition(10, 22)]) == [(0, 6), (26, 39)]


def test_frames_are_made_small_one_by_one() -> None:
    film = small(iter([torch.rand(90, 160, 3), torch.rand(90, 160, 3)]))
    assert film.shape == (2, 64, 114, 3)
    assert small(iter([])).shape[0] == 0
