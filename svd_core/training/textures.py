"""Flat pictures the procedural worlds are papered with: backgrounds, and foregrounds with an alpha channel.

This file decides what things look like; where they lie and how the camera moves is left to `worlds` and `moves`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Palette = Tensor
"""Four colours `4 3` in [0, 1]."""
Background = Callable[[Generator, Palette, int, float], Tensor]
"""`draw(generator, palette, size, span) -> 3 size size`; `span` is the picture's side in frame widths."""

_JOINT_SOFTNESS = 1.6
_PHOTO_REACH = (2.2, 3.6)
_PHOTO_SOFTNESS = 2.75
_PHOTO_TRIES = 3


def uniform(generator: Generator, low: float, high: float) -> float:
    """One number in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def integer(generator: Generator, high: int) -> int:
    """One integer in [0, high)."""
    return int(torch.randint(high, (), generator=generator))


def palette(generator: Generator) -> Palette:
    """Four colours around one or two hues, from dark to light but not always in that order: `4 3` in [0, 1]."""
    hue = uniform(generator, 0, 1)
    spread = uniform(generator, 0.03, 0.3)
    opposite = 0.5 if integer(generator, 3) == 0 else 0.0
    hues = hue + spread * torch.tensor([0.0, 1.0, -1.0, 0.5]) + torch.tensor([0.0, 0.0, 0.0, opposite])
    saturation = 0.1 + 0.5 * torch.rand(4, generator=generator)
    value = torch.tensor([0.32, 0.5, 0.68, 0.86]) + 0.14 * (torch.rand(4, generator=generator) - 0.5)
    return hsv(hues, saturation, value)[torch.randperm(4, generator=generator)]


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Colours `n 3` from hue (turns), saturation and value `n`."""
    phases = torch.tensor([0.0, 2 / 3, 1 / 3])
    ramp = (6 * ((hue[:, None] + phases) % 1) - 3).abs() - 1
    return value[:, None] * (1 - saturation[:, None] * (1 - ramp.clamp(0, 1)))


def noise(generator: Generator, size: int, cells: int) -> Tensor:
    """Smooth noise `size size` in [0, 1] with about `cells` bumps a side."""
    grid = torch.rand(1, 1, cells + 3, cells + 3, generator=generator)
    return F.interpolate(grid, size=(size, size), mode="bicubic", align_corners=True)[0, 0].clamp(0, 1)


def fractal(generator: Generator, size: int, cells: int, octaves: int = 3) -> Tensor:
    """Noise `size size` in [0, 1] with halved amplitude and doubled frequency an octave."""
    total, weight = torch.zeros(size, size), 0.0
    for octave in range(octaves):
        amplitude = 0.5**octave
        total += amplitude * noise(generator, size, cells * 2**octave)
        weight += amplitude
    return ((total / weight - 0.5) * 1.7 + 0.5).clamp(0, 1)


def blend(colours: Palette, index: Tensor) -> Tensor:
    """Walk through the palette: index `h w` in [0, 1] -> `3 h w`."""
    steps = torch.arange(len(colours) - 1)
    shares = (index[..., None] * len(steps) - steps).clamp(0, 1)
    return (shares @ colours.diff(dim=0) + colours[0]).permute(2, 0, 1)


def clouds(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Fractal noise walked through the palette."""
    return blend(colours, fractal(generator, size, round(span * uniform(generator, 1.2, 2.8))))


def blobs(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Flat islands with clear edges."""
    height = noise(generator, size, round(span * uniform(generator, 1.3, 2.6)))
    edges = torch.tensor([0.36, 0.5, 0.64])
    soft = (size / span) / 20
    index = ((height[..., None] - edges) * soft * 2).clamp(-0.5, 0.5).add(0.5).sum(-1) / 3
    return blend(colours, index) * (0.92 + 0.16 * noise(generator, size, 12)).clamp(max=1.05)


def hills(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """A sky with a sun or moon, and ridges in front of one another."""
    y = torch.linspace(-span / 2, span / 2, size)[:, None].expand(size, size)
    x = y.T
    picture = blend(colours[:2], (y + 0.6).clamp(0, 1))
    centre = (uniform(generator, -0.5, 0.5), uniform(generator, -0.55, -0.1))
    disc = edge(uniform(generator, 0.08, 0.2) - torch.hypot(x - centre[0], y - centre[1]), size / span)
    picture = torch.lerp(picture, colours[3][:, None, None].expand_as(picture), disc * 0.9)
    for ridge in range(3):
        line = noise(generator, size, round(span * (1.5 + 1.5 * ridge)))[size // 2]
        level = -0.2 + 0.25 * ridge - 0.35 * (line - 0.5)
        shade = blend(colours[1:], torch.full_like(x, ridge / 2)) * (0.75 + 0.5 * fractal(generator, size, 10, 2))
        picture = torch.lerp(picture, shade.clamp(0, 1), edge(y - level, size / span))
    return picture


def tiles(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """A turned chessboard whose squares differ a little."""
    angle, pitch = uniform(generator, 0, math.pi), uniform(generator, 0.26, 0.5)
    u, v = turned(size, span, angle)
    jitter = torch.rand(32, 32, generator=generator)
    cell = jitter[(u / pitch).floor().long() % 32, (v / pitch).floor().long() % 32]
    wave = torch.sin(math.pi * u / pitch) * torch.sin(math.pi * v / pitch)
    board = (wave * 2.5).clamp(-0.5, 0.5) + 0.5
    return (blend(colours[:2], board) * (0.8 + 0.3 * cell)).clamp(0, 1)


def stripes(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Bent bands through the whole palette."""
    u, _ = turned(size, span, uniform(generator, 0, math.pi))
    bent = u + uniform(generator, 0.05, 0.25) * noise(generator, size, round(2 * span))
    wave = torch.sin(2 * math.pi * bent / uniform(generator, 0.4, 0.9))
    return blend(colours, (wave * uniform(generator, 0.6, 1.5)).clamp(-1, 1) / 2 + 0.5)


def dots(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Discs of several sizes on a soft ground."""
    pitch = uniform(generator, 0.28, 0.5)
    u, v = turned(size, span, uniform(generator, 0, math.pi))
    iu, iv = (u / pitch).floor(), (v / pitch).floor()
    table = torch.rand(32, 32, 3, generator=generator)[iu.long() % 32, iv.long() % 32]
    du = u / pitch - iu - 0.5 - 0.3 * (table[..., 0] - 0.5)
    dv = v / pitch - iv - 0.5 - 0.3 * (table[..., 1] - 0.5)
    disc = edge((0.15 + 0.17 * table[..., 2] - torch.hypot(du, dv)) * pitch, size / span)
    ground = blend(colours[:2], noise(generator, size, round(span)))
    spots = blend(colours[2:], table[..., 0])
    return torch.lerp(ground, spots, disc)


def skyline(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Blocks of houses with windows under an evening sky."""
    y = torch.linspace(-span / 2, span / 2, size)[:, None].expand(size, size)
    x = y.T + span
    picture = blend(colours[:2], y + 0.6)
    for row in range(2):
        width = uniform(generator, 0.25, 0.4)
        heights = torch.rand(64, generator=generator)
        column = (x / width + row * 0.5).floor().long() % 64
        top = 0.05 + 0.25 * row - 0.5 * heights[column]
        wall = colours[2 + row][:, None, None] * (0.55 + 0.5 * heights[(column * 7) % 64])
        window = torch.sin(x * (2 * math.pi / width * 3)) * torch.sin(y * (2 * math.pi / 0.14))
        wall = wall * (1 + 0.2 * (window * 3).clamp(-0.5, 0.5))
        picture = torch.lerp(picture, wall.clamp(0, 1), edge(y - top, size / span))
    return picture


def bricks(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """A turned wall of bricks in rows shifted by half, no two bricks quite alike, with soft joints."""
    width = uniform(generator, 0.42, 0.6)
    height, joint = width * uniform(generator, 0.45, 0.6), uniform(generator, 0.03, 0.045)
    u, v = turned(size, span, uniform(generator, 0, math.pi))
    row = (v / height).floor()
    shifted = u / width + 0.5 * (row % 2)
    column = shifted.floor()
    shade = torch.rand(32, 32, generator=generator)[row.long() % 32, column.long() % 32]
    du, dv = (shifted - column - 0.5).abs() * width, (v / height - row - 0.5).abs() * height
    brick = edge(torch.minimum(width / 2 - du, height / 2 - dv) - joint / 2, size / span / _JOINT_SOFTNESS)
    wall = blend(colours[:2], shade) * (0.85 + 0.3 * fractal(generator, size, 14, 2))
    between = (colours[3] + 2 * colours[:2].mean(0)) / 3
    return torch.lerp(between[:, None, None].expand_as(wall), wall.clamp(0, 1), brick)


def cells(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Cells round scattered points, each of one colour, dark between them (Voronoi)."""
    pitch = uniform(generator, 0.3, 0.5)
    u, v = turned(size, span, uniform(generator, 0, math.pi))
    iu, iv = (u / pitch).floor().long(), (v / pitch).floor().long()
    table = torch.rand(32, 32, 3, generator=generator)
    distances: list[Tensor] = []
    shades: list[Tensor] = []
    for step_u, step_v in itertools.product((-1, 0, 1), repeat=2):
        own = table[(iu + step_u) % 32, (iv + step_v) % 32]
        du = u / pitch - (iu + step_u) - 0.5 - 0.6 * (own[..., 0] - 0.5)
        dv = v / pitch - (iv + step_v) - 0.5 - 0.6 * (own[..., 1] - 0.5)
        distances.append(torch.hypot(du, dv) * pitch)
        shades.append(own[..., 2])
    near, nearest = torch.stack(distances).topk(2, dim=0, largest=False)
    shade = torch.stack(shades).gather(0, nearest[:1])[0]
    inside = edge((near[1] - near[0]) / 2 - 0.012, size / span / _JOINT_SOFTNESS)
    ground = colours[1:].mean(0)[:, None, None] * 0.7
    return torch.lerp(ground.expand(3, size, size), blend(colours[1:], shade) * (1.1 - 0.8 * near[0]), inside)


def terraces(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Winding steps, each bright at its upper rim and darker towards the next."""
    _, v = turned(size, span, uniform(generator, 0, 2 * math.pi))
    height = v + uniform(generator, 0.3, 0.6) * fractal(generator, size, round(span * 1.6), 2)
    height = height / uniform(generator, 0.22, 0.36)
    step = height.floor()
    part = height - step
    slope = torch.hypot(*torch.gradient(height)).clamp(min=1e-3)
    table = torch.rand(64, generator=generator)

    def ledge(number: Tensor, within: Tensor) -> Tensor:
        return blend(colours, table[number.long() % 64]) * (1.1 - 0.45 * within)

    # One texel wide, from the end of the step before to this one's rim.
    rim = (part / slope).clamp(0, 1)
    return torch.lerp(ledge(step - 1, torch.ones_like(part)), ledge(step, part), rim)


BACKGROUNDS: tuple[Background, ...] = (clouds, blobs, hills, tiles, stripes, dots, skyline)
HELD_OUT_BACKGROUNDS: tuple[Background, ...] = (bricks, cells, terraces)
"""Never trained on: what a model makes of them shows whether it learned motion or its backgrounds."""


def photograph(generator: Generator, photo: Tensor, size: int, span: float) -> Tensor:
    """A part of a photograph `3 H W` in [0, 1] as a background `3 size size`, mirrored where it ends.

    Its short side is `_PHOTO_REACH` frame widths long; it may be flipped, turned in hue and changed in brightness.
    Of `_PHOTO_TRIES` places the one where most is to be seen is taken: in a plain sky no motion shows.
    """
    reach = uniform(generator, *_PHOTO_REACH)
    scale = reach * size / span / min(photo.shape[-2:])
    sides = [max(2, round(length * scale)) for length in photo.shape[-2:]]
    # Down and up again: the detail that is left is of the size the drawn backgrounds have.
    soft = [max(2, round(length / _PHOTO_SOFTNESS)) for length in sides]
    for shape in (soft, sides):
        photo = F.interpolate(photo[None], shape, mode="bicubic", antialias=True, align_corners=False)[0]
    if integer(generator, 2):
        photo = photo.flip(-1)
    views = [_cut(generator, photo, size, span) for _ in range(_PHOTO_TRIES)]
    middle = slice(round(size * (0.5 - 0.5 / span)), round(size * (0.5 + 0.5 / span)))
    picture = max(views, key=lambda view: float(view[:, middle, middle].std(dim=(1, 2)).mean()))
    return _recoloured(picture.clamp(0, 1) ** uniform(generator, 0.75, 1.15), uniform(generator, -0.3, 0.3))


def _cut(generator: Generator, photo: Tensor, size: int, span: float) -> Tensor:
    """A square of a photograph, mirrored where it ends.

    What the camera starts from lies inside the photograph: a mirror line there would look like a kaleidoscope.
    """
    margin, sides = size / span / 2, photo.shape[-2:]
    starts = (round(uniform(generator, margin, max(margin, length - margin))) - size // 2 for length in sides)
    rows, columns = (_mirrored(start + torch.arange(size), length) for start, length in zip(starts, sides, strict=True))
    return photo[:, rows][:, :, columns]


def _mirrored(index: Tensor, length: int) -> Tensor:
    """Indices into `length` texels that run back at either end instead of leaving."""
    index = index % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


def _recoloured(picture: Tensor, angle: float) -> Tensor:
    """A picture `3 h w` with its colours turned about the axis of greys, in radians."""
    axis = 1 / math.sqrt(3)
    cross = axis * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    turn = math.cos(angle) * torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) / 3
    return torch.einsum("ij,jhw->ihw", turn, picture)


def foreground(generator: Generator, colours: Palette, size: int, span: float) -> Tensor:
    """Something nearer than the background, `4 size size`, premultiplied by alpha: posts, bushes or leaves."""
    y = torch.linspace(-span / 2, span / 2, size)[:, None].expand(size, size)
    x = y.T
    kind, density = integer(generator, 3), size / span
    if kind == 0:
        pitch = uniform(generator, 0.55, 0.9)
        offset = (x / pitch + uniform(generator, 0, 1)) % 1 - 0.5
        inside = uniform(generator, 0.04, 0.09) - offset.abs() * pitch
        light = 0.7 + 2.5 * offset
    elif kind == 1:
        line = noise(generator, size, round(span * 4))[0]
        inside = y - uniform(generator, 0.15, 0.35) + 0.3 * line
        light = 0.65 + 0.5 * fractal(generator, size, 16, 2)
    else:
        leaves = noise(generator, size, round(span * 2.5))
        inside = (leaves - uniform(generator, 0.68, 0.74)) * 0.35
        light = 0.7 + 0.5 * fractal(generator, size, 14, 2)
    alpha = edge(inside, density)
    colour = colours[integer(generator, 4)][:, None, None] * light.clamp(0.3, 1.2) * uniform(generator, 0.5, 1)
    return torch.cat((colour.clamp(0, 1) * alpha, alpha[None]))


def edge(distance: Tensor, density: float) -> Tensor:
    """Coverage in [0, 1] of a shape whose inside has positive `distance`, one pixel wide at `density` pixels a unit."""
    return (distance * density + 0.5).clamp(0, 1)


def turned(size: int, span: float, angle: float) -> tuple[Tensor, Tensor]:
    """Coordinates `size size` across the square [-span/2, span/2], turned by an angle."""
    y = torch.linspace(-span / 2, span / 2, size)[:, None].expand(size, size)
    x = y.T
    return math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y
