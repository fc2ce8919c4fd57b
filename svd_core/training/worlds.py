"""The procedural world: seeded clips with exact flow, rendered from layers, subjects and a camera.

Every clip is a function of (seed, split, index) alone. Labels: `flow` is the mean length of the exact optical flow in
pixels a frame; the motion bucket is that speed a second, in frame widths, scaled so that 255 stands for
`FULL_BUCKET_SPEED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor

from ..camera.path import CameraPath
from ..camera.virtual import flow as camera_flow
from ..camera.virtual import view_grid
from . import textures
from .motion_head import origins
from .moves import RARE_MOVES, Move, draw_move
from .subjects import Subject, draw_subject, inside
from .textures import integer, uniform

FULL_BUCKET_SPEED = 0.1875
"""Frame widths a second that motion bucket 255 stands for: 1.5 px a frame at 64 px and 8 fps."""
MAX_SPEED = 1.6 / 64
"""Fastest camera, in frame widths a frame."""
FPS_RANGE = (5, 16)
CELL = 8
"""Pixels between the places whose way back is told: a cell of the embedded model's latents."""
TRAINING, HELD_OUT = 0, 1
Kinds = Literal["trained", "held_out"]
"""Which textures and shapes worlds are made of."""

_SPAN = 2.8
_TEXELS_PER_PIXEL = 1.5
_SUBJECT_SHARE = 0.6
# What photographs and rare moves are drawn with comes from streams of their own: other worlds stay what they are.
_PHOTO_STREAM = 0x5BD1E995
_MOVE_STREAM = 0x2545F491
_CAMERA_PACE = (0.35, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """B clips: pixels `B T 3 H W` in [-1, 1]; fps, motion_bucket and flow (px a frame) `B`; the moves' names; the ways
    back to the first frame `B T 2 h w` of a lattice of `CELL` pixels (`motion_head.origins`)."""

    pixels: Tensor
    origins: Tensor
    fps: Tensor
    motion_bucket: Tensor
    flow: Tensor
    moves: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a clip is drawn from: background `3 S S`, foreground `4 S S` (premultiplied), subjects between them."""

    background: Tensor
    foreground: Tensor | None
    parallax: float
    subjects: tuple[Subject, ...]
    move: Move
    start: tuple[float, float]
    fps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSize:
    """Frames and pixels of the clips to draw."""

    frames: int = 14
    height: int = 64
    width: int = 64


def motion_bucket(flow: float, fps: float, width: int) -> float:
    """Bucket 0-255 of a mean flow in pixels a frame."""
    return max(0.0, min(255.0, 255 * flow * fps / (FULL_BUCKET_SPEED * width)))


def requested_flow(bucket: float, fps: float, width: int) -> float:
    """Mean flow in pixels a frame a bucket asks for; the inverse of `motion_bucket`."""
    return bucket / 255 * FULL_BUCKET_SPEED * width / fps


def clip_generator(seed: int, split: int, index: int) -> Generator:
    """The randomness of one clip; splits never share a stream."""
    mixed = (seed * 1_000_003 + index) * 2 + split
    return torch.Generator().manual_seed(mixed * 0x9E3779B97F4A7C15 % 2**63)


def texels(width: int) -> int:
    """Side of the square pictures a world `width` pixels wide is papered with."""
    return round(_SPAN * width * _TEXELS_PER_PIXEL)


def draw_world(
    generator: Generator,
    size: WorldSize,
    move: str | None = None,
    speed: float | None = None,
    *,
    subjects: bool = True,
    photographs: Sequence[Tensor] = (),
    photo_share: float = 0.2,
    kinds: Kinds = "trained",
    haste: float = 1.0,
    rare_share: float = 0.0,
) -> World:
    """A random world; `move` and `speed` (frame widths a frame) fix what tests need fixed.

    Without `subjects` the camera alone moves, never slowly, over a background with nothing in front. With
    `photographs` (`3 H W` in [0, 1]) `photo_share` of the worlds have one as background, and nothing else changes.
    Backgrounds and shapes of the `held_out` kinds are never trained on. `haste` is how much likelier a world is for
    being fast: at 1 all speeds are alike, at 2 a speed is as frequent as it is high. `rare_share` of the worlds move by
    one of `RARE_MOVES`.
    """
    move = move or _rare_move(generator.initial_seed(), rare_share)
    side = texels(size.width)
    colours = textures.palette(generator)
    held_out = kinds == "held_out"
    papers = textures.HELD_OUT_BACKGROUNDS if held_out else textures.BACKGROUNDS
    draw = papers[integer(generator, len(papers))]
    background = draw(generator, colours, side, _SPAN).clamp(0, 1)
    if photographs:
        photo_stream = torch.Generator().manual_seed(generator.initial_seed() ^ _PHOTO_STREAM)
        if uniform(photo_stream, 0, 1) < photo_share:
            photo = photographs[integer(photo_stream, len(photographs))]
            background = textures.photograph(photo_stream, photo, side, _SPAN).clamp(0, 1)
    front = textures.foreground(generator, colours, side, _SPAN) if integer(generator, 5) < 2 else None
    fps = FPS_RANGE[0] + integer(generator, FPS_RANGE[1] - FPS_RANGE[0])
    # As much of what the bucket says as `haste` wants, so that no part of its range is rare and none is cut off.
    top = min(MAX_SPEED, FULL_BUCKET_SPEED / fps)
    pace = top * uniform(generator, 0, 1) ** (1 / haste) if speed is None else speed
    if speed is None and uniform(generator, 0, 1) < 0.06:
        pace = 0.0
    if not subjects and speed is None:
        slowest, fastest = _CAMERA_PACE
        pace = top * (slowest + (fastest - slowest) * uniform(generator, 0, 1) ** (1 / haste))
    count = integer(generator, 4) if move is None else integer(generator, 3)
    living = tuple(
        draw_subject(generator, pace * _SUBJECT_SHARE, colours, held_out=held_out)
        for _ in range(count if subjects else 0)
    )
    return World(
        background=background,
        foreground=front if subjects else None,
        parallax=uniform(generator, 1.15, 1.7),
        subjects=living,
        move=draw_move(generator, pace, size.frames, move),
        start=(uniform(generator, -0.2, 0.2), uniform(generator, -0.2, 0.2)),
        fps=fps,
    )


def render(world: World, size: WorldSize, device: torch.device | str = "cpu") -> tuple[Tensor, float]:
    """Draw a world: pixels `T 3 H W` in [-1, 1], and its exact mean flow in pixels a frame."""
    path = world.move.path(size.frames, world.start)
    near = world.move.nearer(path, world.parallax)
    grid = view_grid(path, size.height, size.width)
    pixels = _layer(world.background, grid, size, device)
    flow = _lattice(camera_flow(path, size.height, size.width).norm(dim=-1))
    time = torch.arange(size.frames, dtype=torch.float32) - (size.frames - 1) / 2
    points = grid * torch.tensor([0.5, 0.5 * size.height / size.width])
    for subject in world.subjects:
        local = subject.local(points, time)
        density = (path.scale * subject.radius * size.width)[:, None, None]
        alpha = (inside(subject.shape, local) * density + 0.5).clamp(0, 1)
        pixels = torch.lerp(pixels, subject.shade(local).to(device), alpha[:, None].to(device))
        moved = _subject_flow(subject, local, path, time, size)
        flow = torch.where(_lattice(alpha[:-1]) > 0.5, moved, flow)
    if world.foreground is not None:
        front = _layer(world.foreground, view_grid(near, size.height, size.width), size, device)
        alpha = front[:, 3:]
        pixels = pixels * (1 - alpha) + front[:, :3]
        near_flow = _lattice(camera_flow(near, size.height, size.width).norm(dim=-1))
        flow = torch.where(_lattice(alpha[:-1, 0].cpu()) > 0.5, near_flow, flow)
    return (pixels * 2 - 1).clamp(-1, 1), float(flow.mean()) if size.frames > 1 else 0.0


def draw_clips(
    seed: int,
    split: int,
    indices: range,
    size: WorldSize,
    *,
    device: torch.device | str = "cpu",
    move: str | None = None,
    speed: float | None = None,
    subjects: bool = True,
    photographs: Sequence[Tensor] = (),
    photo_share: float = 0.2,
    kinds: Kinds = "trained",
    haste: float = 1.0,
    rare_share: float = 0.0,
) -> Clips:
    """The clips of a seed with the given indices; the rest is `draw_world`'s."""
    pixels: list[Tensor] = []
    flows: list[float] = []
    worlds: list[World] = []
    lattice = (max(1, size.height // CELL), max(1, size.width // CELL))
    for index in indices:
        world = draw_world(
            clip_generator(seed, split, index),
            size,
            move,
            speed,
            subjects=subjects,
            photographs=photographs,
            photo_share=photo_share,
            kinds=kinds,
            haste=haste,
            rare_share=rare_share,
        )
        clip, flow = render(world, size, device)
        pixels.append(clip)
        flows.append(flow)
        worlds.append(replace(world, foreground=None))
    fps = torch.tensor([float(world.fps) for world in worlds])
    buckets = [motion_bucket(flow, world.fps, size.width) for flow, world in zip(flows, worlds, strict=True)]
    return Clips(
        pixels=torch.stack(pixels),
        origins=torch.stack([origins(world.move.path(size.frames, world.start), *lattice) for world in worlds]),
        fps=fps,
        motion_bucket=torch.tensor(buckets),
        flow=torch.tensor(flows),
        moves=tuple(world.move.name for world in worlds),
    )


def _rare_move(seed: int, share: float) -> str | None:
    stream = torch.Generator().manual_seed(seed ^ _MOVE_STREAM)
    return RARE_MOVES[integer(stream, len(RARE_MOVES))] if uniform(stream, 0, 1) < share else None


def _layer(picture: Tensor, grid: Tensor, size: WorldSize, device: torch.device | str) -> Tensor:
    """Views `T C H W` of a picture that spans `_SPAN` frame widths: two samples a pixel on its diagonal."""
    diagonal = (grid[:, 1:2, 1:2] - grid[:, :1, :1]) / 4
    stretch = torch.tensor([1.0, size.height / size.width]) / _SPAN
    views = [
        F.grid_sample(
            picture[None].to(device),
            rearrange((grid + shift) * stretch, "t h w xy -> 1 (t h) w xy").to(device),
            padding_mode="reflection",
            align_corners=False,
        )
        for shift in (diagonal, -diagonal)
    ]
    return rearrange((views[0] + views[1]) / 2, "1 c (t h) w -> t c h w", t=grid.shape[0])


def _lattice(values: Tensor) -> Tensor:
    """Every second pixel along both sides of `T H W`: enough to average flow over."""
    return values[:, ::2, ::2]


def _subject_flow(subject: Subject, local: Tensor, path: CameraPath, time: Tensor, size: WorldSize) -> Tensor:
    """Length in pixels `T-1 H W` of the way a point of the subject makes on screen until the next frame."""
    turn = (subject.angle + subject.spin * time[1:])[:, None, None]
    cos, sin = torch.cos(turn) * subject.radius, torch.sin(turn) * subject.radius
    x, y = _lattice(local[:-1, ..., 0]), _lattice(local[:-1, ..., 1])
    world_x = cos * x - sin * y + (subject.place[0] + subject.velocity[0] * time[1:])[:, None, None]
    world_y = sin * x + cos * y + (subject.place[1] + subject.velocity[1] * time[1:])[:, None, None]
    away_x = world_x - 0.01 * path.pan[1:, None, None]
    away_y = world_y + 0.01 * path.tilt[1:, None, None] * (size.height / size.width)
    roll = torch.deg2rad(path.roll[1:])[:, None, None]
    scale = path.scale[1:, None, None]
    view_x = (torch.cos(roll) * away_x + torch.sin(roll) * away_y) * scale
    view_y = (torch.cos(roll) * away_y - torch.sin(roll) * away_x) * scale
    here_x = (torch.arange(size.width) + 0.5) / size.width - 0.5
    here_y = ((torch.arange(size.height) + 0.5) / size.height - 0.5)[:, None] * (size.height / size.width)
    return torch.hypot(view_x - here_x[::2], view_y - here_y[::2]) * size.width
