"""Which way the training cameras go: every move with its sign, eases and mixes, as a `CameraPath`.

This file decides the distribution of camera motion; the geometry is `camera.path`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from ..camera.path import CameraPath
from .textures import integer, uniform

# Mean distance of a pixel from the centre of a unit square: turns zoom and roll rates into mean flow.
_MEAN_RADIUS = 0.3826
# Beyond these a clip shows mostly what its first frame did not.
_MAX_TRAVEL, _MAX_LOG_ZOOM, _MAX_ROLL = 0.75, 0.8, 1.4
_DEGREES = 180 / 3.141592653589793

AXES = ("pan", "tilt", "zoom", "roll")
# Signs: what the camera does. pan > 0 looks right, tilt > 0 looks up, zoom > 0 goes in, roll > 0 turns clockwise.
MOVES: dict[str, tuple[float, float, float, float]] = {
    "static": (0, 0, 0, 0),
    "pan_right": (1, 0, 0, 0),
    "pan_left": (-1, 0, 0, 0),
    "tilt_up": (0, 1, 0, 0),
    "tilt_down": (0, -1, 0, 0),
    "zoom_in": (0, 0, 1, 0),
    "zoom_out": (0, 0, -1, 0),
    "roll_clockwise": (0, 0, 0, 1),
    "roll_counterclockwise": (0, 0, 0, -1),
}
MIX = "mix"
# Drawn by name, or where rare moves are wanted.
DOLLIES: dict[str, tuple[float, float, float, float]] = {"dolly_in": MOVES["zoom_in"], "dolly_out": MOVES["zoom_out"]}
ORBITS: dict[str, tuple[float, float, float, float]] = {
    "orbit_right": MOVES["pan_left"],
    "orbit_left": MOVES["pan_right"],
}
HANDHELD = "handheld"
RARE_MOVES = (*DOLLIES, *ORBITS, HANDHELD)


@dataclass(frozen=True, slots=True)
class Move:
    """One clip's camera: how fast along each axis at mean (frame widths of flow a frame), and the ease.

    `shake` is what is added to pan and tilt (frame widths) frame by frame, `2 T`, for a camera held in the hand.
    """

    name: str
    rates: tuple[float, float, float, float]
    ease: int
    shake: Tensor | None = None

    def path(self, frames: int, start: tuple[float, float]) -> CameraPath:
        """States `T`; `start` shifts the middle of the way in frame widths; frames of aspect 1 assumed for tilt."""
        progress = eased(torch.linspace(0, 1, frames), self.ease) - 0.5
        total = [rate * (frames - 1) for rate in self.rates]
        roll = progress * total[3] / _MEAN_RADIUS * _DEGREES
        aside, up = torch.zeros(2, frames) if self.shake is None else self.shake
        return CameraPath(
            pan=100 * (progress * total[0] + start[0] + aside),
            tilt=100 * (progress * total[1] + start[1] + up),
            zoom=100 * progress * total[2] / _MEAN_RADIUS,
            roll=roll - roll[0],
        )

    def nearer(self, path: CameraPath, parallax: float) -> CameraPath:
        """`path` as a layer in front sees it: longer ways, the same turns; a dolly also makes it grow faster.

        The worlds' pans and tilts carry the camera (truck, pedestal) wherever there is a layer in front. An orbit turns
        back to a place between the layers: what is in front goes the other way.
        """
        grown = parallax if self.name in DOLLIES else 1.0
        aside = 1 - parallax if self.name in ORBITS else parallax
        return replace(path, pan=path.pan * aside, tilt=path.tilt * parallax, zoom=path.zoom * grown)


def draw_move(generator: Generator, speed: float, frames: int, name: str | None = None) -> Move:
    """A random move of mean camera flow `speed` (frame widths a frame), bounded so that a clip keeps its subject."""
    chosen = name or _draw_name(generator)
    if chosen == HANDHELD:
        return Move(chosen, (0.0, 0.0, 0.0, 0.0), 0, _shake(generator, speed, frames))
    if chosen == MIX:
        axes = torch.randn(4, generator=generator)
        direction = axes / axes.norm()
    else:
        direction = torch.tensor((MOVES | DOLLIES | ORBITS)[chosen])
    ease = integer(generator, 3) + 1 if uniform(generator, 0, 1) < 0.25 else 0
    limits = (_MAX_TRAVEL, _MAX_TRAVEL, _MAX_LOG_ZOOM * _MEAN_RADIUS, _MAX_ROLL * _MEAN_RADIUS)
    steps = max(1, frames - 1)
    rates = [
        max(-limit, min(limit, float(part) * speed * steps)) / steps
        for part, limit in zip(direction, limits, strict=True)
    ]
    return Move(chosen, (rates[0], rates[1], rates[2], rates[3]), ease)


def _shake(generator: Generator, speed: float, frames: int) -> Tensor:
    """A wandering place `2 T` in frame widths, smooth over about three frames, `speed` long a frame at mean."""
    places = torch.randn(2, frames + 2, generator=generator).unfold(-1, 3, 1).mean(-1)
    places = places - places.mean(dim=-1, keepdim=True)
    length = places.diff(dim=-1).norm(dim=0).mean() if frames > 1 else torch.ones(())
    return places * (speed / length.clamp(min=1e-6))


def eased(progress: Tensor, ease: int) -> Tensor:
    """Progress in [0, 1] bent: 0 even, 1 slow at both ends, 2 slow start, 3 slow end."""
    smooth = progress * progress * (3 - 2 * progress)
    return (progress, smooth, progress**1.6, 1 - (1 - progress) ** 1.6)[ease]


def _draw_name(generator: Generator) -> str:
    """Static one clip in nine, a mix one in six, the eight pure moves otherwise, pans and tilts more often."""
    names = [*MOVES, MIX]
    weights = torch.tensor([0.11, 0.12, 0.12, 0.1, 0.1, 0.1, 0.09, 0.05, 0.05, 0.16])
    return names[int(torch.multinomial(weights, 1, generator=generator))]
