"""Things that move through a world: discs, boxes, stars, rings and their like, as signed distances.

This file decides shapes and shading; positions are in frame widths, y down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .textures import Palette, hsv, integer, uniform

SHAPES = ("disc", "box", "star", "ring", "triangle", "bar", "hexagon", "crescent")
HELD_OUT_SHAPES = ("cross", "heart")
"""Never trained on; `Subject.shape` counts them after `SHAPES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One moving thing: where it is in the world at the clip's middle, how it moves a frame, how it looks."""

    shape: int
    radius: float
    place: tuple[float, float]
    velocity: tuple[float, float]
    spin: float
    angle: float
    colour: Tensor
    second: Tensor

    def local(self, world: Tensor, time: Tensor) -> Tensor:
        """World points `T H W 2` (frame widths) into the subject's own unit frame; time `T` counted from the middle."""
        turn = (self.angle + self.spin * time)[:, None, None]
        x = world[..., 0] - (self.place[0] + self.velocity[0] * time)[:, None, None]
        y = world[..., 1] - (self.place[1] + self.velocity[1] * time)[:, None, None]
        cos, sin = torch.cos(turn) / self.radius, torch.sin(turn) / self.radius
        return torch.stack((cos * x + sin * y, cos * y - sin * x), dim=-1)

    def shade(self, local: Tensor) -> Tensor:
        """Colour `T 3 H W` from local points: light from above, a second colour in a broad band."""
        band = (torch.sin(3.0 * local[..., 0] + 1.0) * 2).clamp(-0.5, 0.5) + 0.5
        light = (1.0 - 0.25 * local[..., 1]).clamp(0.6, 1.3)
        mixed = self.colour * (1 - band[..., None]) + self.second * band[..., None]
        return (mixed * light[..., None]).clamp(0, 1).permute(0, 3, 1, 2)


def draw_subject(generator: Generator, speed: float, colours: Palette, *, held_out: bool = False) -> Subject:
    """A random subject moving at up to `speed` frame widths a frame, of the shapes trained on or of the others."""
    heading, pace = uniform(generator, 0, 2 * math.pi), speed * uniform(generator, 0, 1)
    hue, saturation = torch.rand(2, 2, generator=generator)
    bright = hsv(hue, 0.35 + 0.45 * saturation, torch.tensor([0.9, 0.75]))
    return Subject(
        shape=len(SHAPES) + integer(generator, len(HELD_OUT_SHAPES)) if held_out else integer(generator, len(SHAPES)),
        radius=uniform(generator, 0.12, 0.23),
        place=(uniform(generator, -0.36, 0.36), uniform(generator, -0.36, 0.36)),
        velocity=(pace * math.cos(heading), pace * math.sin(heading)),
        spin=uniform(generator, -1, 1) * speed * 2 if integer(generator, 2) else 0.0,
        angle=uniform(generator, 0, 2 * math.pi),
        colour=bright[0],
        second=bright[1] if integer(generator, 2) else colours[integer(generator, 4)],
    )


def inside(shape: int, local: Tensor) -> Tensor:
    """Distance to the outline in units of the radius, positive inside: local `... 2` -> `...`."""
    x, y = local[..., 0], local[..., 1]
    radius = torch.hypot(x, y)
    name = (*SHAPES, *HELD_OUT_SHAPES)[shape]
    if name == "disc":
        return 1 - radius
    if name == "box":
        return 0.8 - torch.maximum(x.abs(), y.abs())
    if name == "star":
        return (0.72 + 0.28 * torch.cos(5 * torch.atan2(y, x)) - radius) * 0.7
    if name == "ring":
        return 0.28 - (radius - 0.72).abs()
    if name == "bar":
        return torch.minimum(0.38 - y.abs(), 1.15 - x.abs())
    if name == "crescent":
        return torch.minimum(1 - radius, torch.hypot(x - 0.5, y) - 0.75)
    if name == "cross":
        across, along = torch.minimum(x.abs(), y.abs()), torch.maximum(x.abs(), y.abs())
        return torch.minimum(0.34 - across, 1.02 - along)
    if name == "heart":
        # A square on its tip with a disc on each upper side.
        a, b = (x + y - 0.1) / math.sqrt(2), (y - x - 0.1) / math.sqrt(2)
        square = 0.55 - torch.maximum(a.abs(), b.abs())
        return torch.maximum(square, 0.55 - torch.minimum(torch.hypot(a + 0.55, b), torch.hypot(a, b + 0.55)))
    sides = 3 if name == "triangle" else 6
    sector = 2 * math.pi / sides
    angle = torch.atan2(y, x)
    return (0.55 if sides == 3 else 0.87) - radius * torch.cos((angle + sector / 2) % sector - sector / 2)
