"""Pairs of neighbouring frames, within a shot and across cuts, from generators the cut guard was not set on.

Frames are `H W 3` in [0, 1] of 168x96 pixels; an index fixes a pair of a seed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from svd_core.training.refiner_scenes import draw_pair
from svd_core.training.worlds import HELD_OUT, WorldSize, clip_generator, draw_world, render

SIZE = WorldSize(frames=2, height=96, width=168)
_ELSEWHERE = 1_000_000
Pair = tuple[Tensor, Tensor]


def world(seed: int, index: int, move: str | None = None, speed: float | None = None) -> Pair:
    """Two frames of a procedural world; `speed` in frame widths a frame."""
    drawn = draw_world(clip_generator(seed, HELD_OUT, index), SIZE, move, speed)
    first, second = ((render(drawn, SIZE)[0] + 1) / 2).permute(0, 2, 3, 1)
    return first, second


def textured(seed: int, index: int) -> Pair:
    """Two frames of sliding, turning, bending layers."""
    pair = draw_pair(seed, index, SIZE.height, SIZE.width)
    return pair.first.permute(1, 2, 0), pair.second.permute(1, 2, 0)


def _fast(seed: int, index: int) -> Pair:
    return world(seed, index, ("pan_left", "pan_right", "tilt_up")[index % 3], 0.1)


def _zoom(seed: int, index: int) -> Pair:
    return world(seed, index, ("zoom_in", "zoom_out", "roll_clockwise")[index % 3], 0.04)


def _noisy(seed: int, index: int) -> Pair:
    generator = torch.Generator().manual_seed(index)
    first, second = (frame + 0.05 * torch.randn(frame.shape, generator=generator) for frame in world(seed, index))
    return first.clamp(0, 1), second.clamp(0, 1)


def _fade(seed: int, index: int) -> Pair:
    first, second = world(seed, index, speed=0.01)
    return first, second * 0.6


def _fade_to_black(seed: int, index: int) -> Pair:
    first, second = world(seed, index, speed=0.01)
    return first * 0.25, second * 0


def _dissolve(seed: int, index: int) -> Pair:
    old, new = world(seed, index, speed=0.01), world(seed, index + _ELSEWHERE, speed=0.01)
    return torch.lerp(old[0], new[0], 0.4), torch.lerp(old[1], new[1], 0.55)


CONTINUOUS: dict[str, Callable[[int, int], Pair]] = {
    "world": world,
    "textured": textured,
    "fast pan": _fast,
    "zoom": _zoom,
    "noise": _noisy,
    "fade": _fade,
    "fade to black": _fade_to_black,
    "dissolve": _dissolve,
}


def _worlds_apart(seed: int, index: int) -> Pair:
    return world(seed, index)[0], world(seed, index + _ELSEWHERE)[1]


def _textures_apart(seed: int, index: int) -> Pair:
    return textured(seed, index)[0], textured(seed, index + _ELSEWHERE)[1]


def _of_like_colours(seed: int, index: int) -> Pair:
    first, second = _worlds_apart(seed, index)
    means, spreads = ([measure(frame, dim=(0, 1)) for frame in (first, second)] for measure in (torch.mean, torch.std))
    return first, ((second - means[1]) / spreads[1] * spreads[0] + means[0]).clamp(0, 1)


def _to_black(seed: int, index: int) -> Pair:
    first = world(seed, index)[0]
    return first, torch.zeros_like(first)


def _in_the_dark(seed: int, index: int) -> Pair:
    first, second = _worlds_apart(seed, index)
    return first * 0.2, second * 0.2


CUTS: dict[str, Callable[[int, int], Pair]] = {
    "worlds": _worlds_apart,
    "textures": _textures_apart,
    "like colours": _of_like_colours,
    "to black": _to_black,
    "in the dark": _in_the_dark,
}
