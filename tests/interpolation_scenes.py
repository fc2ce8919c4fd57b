"""Exact synthetic pairs for the interpolator, with the truth at any time between them.

Nothing here uses svd_core: a continuous texture is sampled where a motion of constant velocity puts each pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CLASSES = ("translate", "zoom", "rotate", "large", "occlude", "occl_large")
# What affine layers do not fit, or what hides them.
HARDER = ("waves", "perspective", "noise", "title_thin", "title_thick")
NOISE = 0.03
TIMES = (0.25, 0.5, 0.75)
Motion = Callable[[Tensor, float], Tensor]
"""Where the points `H W 2` of the frame at a time were at time 0, pixels from the frame's centre."""


@dataclass(frozen=True)
class Layer:
    """A texture `1 3 S S`, its motion, and the outline of what is cut out of it (all of it without one)."""

    texture: Tensor
    motion: Motion
    outline: Callable[[Tensor], Tensor] | None = None

    def draw(self, points: Tensor, time: float) -> tuple[Tensor, Tensor]:
        """Colours `3 H W` and coverage `H W` at a time."""
        there = self.motion(points, time)
        side = self.texture.shape[-1]
        colours = F.grid_sample(
            self.texture, (there / (side / 2))[None], mode="bicubic", padding_mode="reflection", align_corners=False
        )[0]
        return colours, torch.ones_like(there[..., 0]) if self.outline is None else self.outline(there)


@dataclass(frozen=True)
class Scene:
    """What a moving picture shows at any time in [0, 1]."""

    layers: tuple[Layer, ...]
    size: tuple[int, int]
    grain: int | None = None

    def ends(self) -> tuple[Tensor, Tensor]:
        """The frames at 0 and 1 as a camera gives them: with 3 % noise where `grain`, its seed, is given."""
        frames = self.at(0), self.at(1)
        if self.grain is None:
            return frames
        generator = torch.Generator().manual_seed(self.grain)
        one, two = ((frame + NOISE * torch.randn(frame.shape, generator=generator)).clamp(0, 1) for frame in frames)
        return one, two

    def at(self, time: float) -> Tensor:
        """The frame `H W 3` float32 in [0, 1]."""
        height, width = self.size
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5 - height / 2,
            torch.arange(width, dtype=torch.float64) + 0.5 - width / 2,
            indexing="ij",
        )
        points = torch.stack((x, y), dim=-1)
        canvas = torch.zeros(3, height, width, dtype=torch.float64)
        for layer in self.layers:
            colours, coverage = layer.draw(points, time)
            canvas = torch.lerp(canvas, colours, coverage)
        return canvas.clamp(0, 1).permute(1, 2, 0).float()


def scene(kind: str, seed: int, size: tuple[int, int] = (256, 448)) -> Scene:
    """A random scene of a class; `seed` fixes it."""
    rng = np.random.default_rng([(*CLASSES, *HARDER).index(kind), seed])
    unit = min(size) / 256
    back = texture(rng, 2 * max(size))
    if kind in HARDER:
        motion = {"waves": waves, "perspective": tilted}.get(kind)
        layers = [Layer(back, motion(rng, size) if motion else shift(rng, 4 * unit, 14 * unit))]
        if kind.startswith("title"):
            colour = torch.from_numpy(rng.random(3) * 0.3 + rng.choice([0.0, 0.7]))
            plain = colour[:, None, None].expand(1, 3, 8, 8)
            layers.append(Layer(plain, lambda points, _: points, title(rng, size, thick=kind == "title_thick")))
        return Scene(tuple(layers), size, seed if kind == "noise" else None)
    if kind in ("zoom", "rotate"):
        sign = rng.choice([-1, 1])
        log_scale = sign * rng.uniform(0.06, 0.14) if kind == "zoom" else 0.0
        angle = sign * math.radians(rng.uniform(4, 9)) if kind == "rotate" else 0.0
        return Scene((Layer(back, similarity(log_scale, angle)),), size)
    reach = {"translate": (4, 14), "large": (30, 48)}.get(kind, (2, 6))
    layers = [Layer(back, shift(rng, *(unit * part for part in reach)))]
    if kind.startswith("occl"):
        reach = (10, 20) if kind == "occlude" else (30, 45)
        front = texture(rng, 2 * max(size))
        layers.append(Layer(front, shift(rng, *(unit * part for part in reach)), star(rng, size)))
    return Scene(tuple(layers), size)


def shift(rng: np.random.Generator, least: float, most: float) -> Motion:
    """A straight move of a random length and direction."""
    length, angle = rng.uniform(least, most), rng.uniform(0, 2 * math.pi)
    step = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64) * length
    return lambda points, time: points - step * time


def similarity(log_scale: float, angle: float) -> Motion:
    """Turn and zoom about the centre at constant speed."""

    def back(points: Tensor, time: float) -> Tensor:
        scale, turn = math.exp(-log_scale * time), -angle * time
        matrix = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        return points @ (scale * torch.tensor(matrix, dtype=torch.float64)).T

    return back


def waves(rng: np.random.Generator, size: tuple[int, int]) -> Motion:
    """A smooth bend of every point by its own few pixels."""
    span = min(size)
    parts = [
        (
            torch.tensor([math.cos(heading), math.sin(heading)], dtype=torch.float64) * (2 * math.pi / length),
            torch.from_numpy(rng.normal(size=2)) * 0.012 * length,
            rng.uniform(0, 2 * math.pi),
        )
        for length, heading in ((rng.uniform(0.7, 1.5) * span, rng.uniform(0, 2 * math.pi)) for _ in range(3))
    ]

    def move(points: Tensor) -> Tensor:
        bends = (torch.sin(points @ wave + phase)[..., None] * reach for wave, reach, phase in parts)
        return sum(bends, torch.zeros_like(points))

    return _gliding(move)


def tilted(rng: np.random.Generator, size: tuple[int, int]) -> Motion:
    """A plane that tips away from the camera and slides."""
    lean = torch.from_numpy(rng.uniform(-0.12, 0.12, 2)) / max(size)
    step = torch.from_numpy(rng.uniform(-6, 6, 2)) * min(size) / 256
    return _gliding(lambda points: points / (1 + points @ lean)[..., None] + step - points)


def _gliding(move: Callable[[Tensor], Tensor]) -> Motion:
    """Every point on a straight way of constant speed, found from where it is by a fixed point."""

    def back(points: Tensor, time: float) -> Tensor:
        home = points
        for _ in range(12):
            home = points - time * move(home)
        return home

    return back


def title(rng: np.random.Generator, size: tuple[int, int], *, thick: bool) -> Callable[[Tensor], Tensor]:
    """Coverage of two lines of letters that stand still."""
    height, width = size
    canvas = np.zeros((height, width), np.uint8)
    for row in (0.35, 0.75):
        place = (int(rng.uniform(0.03, 0.2) * width), int((row + rng.uniform(-0.08, 0.08)) * height))
        word = "".join(chr(65 + int(letter)) for letter in rng.integers(0, 26, 6 if thick else 9))
        scale = height / 256 * (2.2 if thick else 1.0)
        strokes = max(1, round(height / 256 * (12 if thick else 2)))
        cv2.putText(canvas, word, place, cv2.FONT_HERSHEY_DUPLEX, scale, 255, strokes, cv2.LINE_AA)
    cover = torch.from_numpy(canvas).double() / 255
    return lambda points: cover


def star(rng: np.random.Generator, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """Coverage of a star-shaped blob near the middle, with an antialiased edge."""
    height, width = size
    radius = height * rng.uniform(0.2, 0.28)
    centre = torch.tensor(rng.uniform(-0.1, 0.1, 2) * [width, height])
    waves = [(k, rng.uniform(0.03, 0.12), rng.uniform(0, 2 * math.pi)) for k in (2, 3, 5)]

    def coverage(points: Tensor) -> Tensor:
        away = points - centre
        angle = torch.atan2(away[..., 1], away[..., 0])
        edge = radius * (1 + sum(size * torch.cos(k * angle + phase) for k, size, phase in waves))
        return (edge - away.norm(dim=-1) + 0.5).clamp(0, 1)

    return coverage


def texture(rng: np.random.Generator, side: int) -> Tensor:
    """Six octaves of noise with the finest grain at 4 pixels, and flat shapes: `1 3 side side` float64 in [0, 1]."""
    total = np.zeros((side, side, 3), np.float32)
    for octave in range(6):
        cells = max(2, side // 4 >> octave)
        grains = rng.random((cells, cells, 3)).astype(np.float32)
        total += (cv2.resize(grains, (side, side), interpolation=cv2.INTER_CUBIC) - 0.5) * 0.75 ** (5 - octave)
    canvas = np.ascontiguousarray((total - total.min()) / (total.max() - total.min()))
    for _ in range(side // 8):
        colour = tuple(float(value) for value in rng.random(3))
        x, y = (int(value) for value in rng.integers(0, side, 2))
        cv2.circle(canvas, (x, y), int(rng.uniform(4, 28)), colour, -1, cv2.LINE_AA)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 0.7)
    return torch.from_numpy(canvas).double().permute(2, 0, 1)[None]


def psnr(picture: Tensor, truth: Tensor) -> float:
    """Decibels of two pictures in [0, 1]."""
    return -10 * math.log10(max(float((picture - truth).square().mean()), 1e-12))


def dis_splat(first: Tensor, second: Tensor, times: tuple[float, ...]) -> list[Tensor]:
    """OpenCV's DIS (fast) both ways, its flows splatted to each time, and a visibility blend: frames `H W 3`."""
    grey = [cv2.cvtColor((f.numpy() * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY) for f in (first, second)]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    there = torch.from_numpy(dis.calc(grey[0], grey[1], None).copy())
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    back = torch.from_numpy(dis.calc(grey[1], grey[0], None).copy())
    unseen = (_sampled(back, there) + there).norm(dim=-1), (_sampled(there, back) + back).norm(dim=-1)
    results: list[Tensor] = []
    for time in times:
        forward, f_unseen = _projected(there, time, unseen[0])
        backward, b_unseen = _projected(back, 1 - time, unseen[1])
        motion = torch.where((f_unseen <= b_unseen)[..., None], forward, -backward)
        a, b = _sampled(first, -time * motion, "bicubic"), _sampled(second, (1 - time) * motion, "bicubic")
        seen_a = torch.exp(-(_sampled(there, -time * motion) - motion).norm(dim=-1))
        seen_b = torch.exp(-(_sampled(back, (1 - time) * motion) + motion).norm(dim=-1))
        weight_a, weight_b = (1 - time) * seen_a + 1e-3, time * seen_b + 1e-3
        share = (weight_b / (weight_a + weight_b))[..., None]
        results.append(torch.lerp(a, b, share).clamp(0, 1))
    return results


def _projected(flow: Tensor, time: float, unseen: Tensor) -> tuple[Tensor, Tensor]:
    """A flow `H W 2` carried along itself to a time, the best seen pixels first, holes filled from around."""
    height, width = flow.shape[:2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    there = torch.stack((x, y), dim=-1) + time * flow
    weight = torch.exp(-2 * unseen.clamp(max=10))
    total = torch.zeros(height * width, 4)
    corner = there.floor().long()
    for dy in (0, 1):
        for dx in (0, 1):
            place = corner + torch.tensor([dx, dy])
            near = (1 - (there - place).abs()).clamp(min=0).prod(dim=-1) * weight
            inside = (place >= 0).all(-1) & (place[..., 0] < width) & (place[..., 1] < height)
            index = (place[..., 1] * width + place[..., 0])[inside]
            values = torch.cat((flow, unseen[..., None], torch.ones(height, width, 1)), dim=-1) * near[..., None]
            total.index_add_(0, index, values[inside])
    grid = total.reshape(height, width, 4).permute(2, 0, 1)[None]
    filled = grid
    for _ in range(6):
        around = F.avg_pool2d(filled, 9, 1, 4)
        filled = torch.where(filled[:, 3:] > 1e-6, filled, around)
    filled = (filled / filled[:, 3:].clamp(min=1e-12))[0].permute(1, 2, 0)
    return filled[..., :2], torch.where(grid[0, 3] > 1e-6, filled[..., 2], 1e3)


def _sampled(picture: Tensor, move: Tensor, mode: str = "bilinear") -> Tensor:
    height, width = picture.shape[:2]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    grid = (torch.stack((x, y), dim=-1) + move) * torch.tensor([2 / width, 2 / height]) - 1
    moved = F.grid_sample(
        picture.permute(2, 0, 1)[None], grid[None], mode=mode, padding_mode="border", align_corners=False
    )
    return moved[0].permute(1, 2, 0)
