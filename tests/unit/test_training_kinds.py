"""Kinds of texture, shape and move kept from training; labels and antialiasing of every kind there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_core.camera.path import CameraPath
from svd_core.camera.virtual import view_grid
from svd_core.training import textures
from svd_core.training.moves import HANDHELD, MOVES, ORBITS, RARE_MOVES, Move, draw_move
from svd_core.training.scores_clip import mean_flow
from svd_core.training.subjects import HELD_OUT_SHAPES, SHAPES, inside
from svd_core.training.textures import BACKGROUNDS, HELD_OUT_BACKGROUNDS, Background
from svd_core.training.worlds import (
    HELD_OUT,
    TRAINING,
    World,
    WorldSize,
    clip_generator,
    draw_clips,
    draw_world,
    render,
)

SIZE = WorldSize(frames=5)
_SPEED = 1.2 / 64
_KINDS = (*BACKGROUNDS, *HELD_OUT_BACKGROUNDS)


_AS_BEFORE = (
    (TRAINING, "any", 0, "mix", 13, 0.51158, -0.06172, 0.27051),
    (TRAINING, "any", 1, "pan_right", 7, 0.74718, -0.16831, 0.27775),
    (TRAINING, "any", 2, "roll_clockwise", 13, 0.55032, -0.46316, 0.47513),
    (TRAINING, "any", 3, "mix", 6, 0.58621, -0.01606, 0.30292),
    (TRAINING, "any", 4, "pan_right", 5, 0.75481, 0.11541, 0.45066),
    (TRAINING, "any", 5, "mix", 13, 0.32254, 0.20147, 0.51477),
    (HELD_OUT, "any", 0, "static", 10, 0.02975, -0.12856, 0.37058),
    (HELD_OUT, "any", 1, "zoom_out", 14, 0.73027, -0.02189, 0.46108),
    (HELD_OUT, "any", 2, "static", 15, 0.02541, -0.16384, 0.35234),
    (HELD_OUT, "any", 3, "roll_counterclockwise", 8, 0.13955, 0.05197, 0.31329),
    (HELD_OUT, "any", 4, "pan_right", 10, 0.8162, 0.08787, 0.31064),
    (HELD_OUT, "any", 5, "static", 15, 0.00402, -0.28884, 0.36555),
    (TRAINING, "still", 0, "tilt_down", 13, 0.87525, -0.05103, 0.23712),
    (TRAINING, "still", 1, "pan_left", 7, 0.98724, -0.1871, 0.25486),
    (TRAINING, "still", 2, "zoom_in", 13, 0.74381, -0.41426, 0.4241),
    (TRAINING, "still", 3, "static", 6, 0.0, -0.04709, 0.3005),
    (TRAINING, "still", 4, "mix", 5, 1.18077, 0.12634, 0.43603),
    (TRAINING, "still", 5, "pan_right", 13, 0.75556, 0.28275, 0.47148),
    (TRAINING, "asked", 0, "zoom_in", 13, 1.02419, -0.08036, 0.22734),
    (TRAINING, "asked", 1, "zoom_in", 7, 1.0206, -0.19099, 0.24787),
    (TRAINING, "asked", 2, "zoom_in", 13, 1.0206, -0.46872, 0.43436),
    (TRAINING, "asked", 3, "zoom_in", 6, 1.01887, 0.02267, 0.3397),
    (TRAINING, "asked", 4, "zoom_in", 5, 1.00979, 0.14428, 0.4246),
    (TRAINING, "asked", 5, "zoom_in", 13, 0.99633, 0.20215, 0.52313),
)
"""split, how asked, index: move, fps, flow (px a frame), mean and deviation of the pixels."""


def _photograph(generator: torch.Generator, _: Tensor, size: int, span: float) -> Tensor:
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 30, 40, generator=generator), (300, 400))[0]
    return textures.photograph(generator, photo, size, span)


def test_the_worlds_trained_on_are_what_they_were() -> None:
    """Figures of clips from before photographs and held-out kinds: a shifted random stream changes all of them."""
    asked = {"move": "zoom_in", "speed": 1 / 64}
    told: dict[str, dict[str, Any]] = {"any": {}, "still": {"subjects": False}, "asked": asked}
    for split, way, index, move, fps, flow, mean, deviation in _AS_BEFORE:
        clips = draw_clips(3, split, range(index, index + 1), WorldSize(frames=4), **told[way])
        assert clips.moves == (move,) and float(clips.fps) == fps
        found = (float(clips.flow), float(clips.pixels.mean()), float(clips.pixels.std()))
        assert found == pytest.approx((flow, mean, deviation), abs=5e-5), f"{split} {way} {index}"


@pytest.mark.parametrize("kind", [*_KINDS, _photograph], ids=lambda kind: kind.__name__.strip("_"))
def test_the_flow_label_is_the_brute_force_one(kind: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textures, "BACKGROUNDS", (kind,))
    monkeypatch.setattr(textures, "HELD_OUT_BACKGROUNDS", (kind,))
    for index, kinds in enumerate(("trained", "held_out")):
        world = draw_world(clip_generator(21, HELD_OUT, index), SIZE, "mix", _SPEED, kinds=kinds)
        assert render(world, SIZE)[1] == pytest.approx(_brute_force(world, SIZE), rel=2e-3)


@pytest.mark.parametrize("move", [*MOVES, *RARE_MOVES])
def test_the_flow_label_is_the_brute_force_one_for_every_move(move: str) -> None:
    index = 0
    while (world := draw_world(clip_generator(4, HELD_OUT, index), SIZE, move, _SPEED)).foreground is None or (
        not world.subjects
    ):
        index += 1
    assert render(world, SIZE)[1] == pytest.approx(_brute_force(world, SIZE), rel=2e-3, abs=1e-4)


def _brute_force(world: World, size: WorldSize) -> float:
    """Mean flow by following, pixel by pixel, the point shown until the next frame; maps are fitted and inverted."""
    path = world.move.path(size.frames, world.start)
    near = world.move.nearer(path, world.parallax)
    time = torch.arange(size.frames, dtype=torch.float32) - (size.frames - 1) / 2
    rows, columns = torch.meshgrid(torch.arange(size.height), torch.arange(size.width), indexing="ij")
    screen = torch.stack((columns, rows), -1).double() + 0.5

    def followed(places: Callable[[CameraPath], Tensor], seen: CameraPath) -> Tensor:
        """Way in pixels of every pixel whose layer is told by what place it shows on every frame."""
        shown = places(seen).double()
        ways: list[Tensor] = []
        for now, then in pairwise(shown):
            known = torch.cat((then.reshape(-1, 2), torch.ones(then[..., 0].numel(), 1)), 1)
            back = torch.linalg.lstsq(known[::97], screen.reshape(-1, 2)[::97]).solution
            where = torch.cat((now.reshape(-1, 2), torch.ones(now[..., 0].numel(), 1)), 1) @ back
            ways.append((where.reshape_as(screen) - screen).norm(dim=-1))
        return torch.stack(ways)

    def grid(seen: CameraPath) -> Tensor:
        return view_grid(seen, size.height, size.width)

    def points(seen: CameraPath) -> Tensor:
        return grid(seen) * torch.tensor([0.5, 0.5 * size.height / size.width])

    total = followed(grid, path)
    for subject in world.subjects:
        covered = inside(subject.shape, subject.local(points(path), time)) > 0
        own = followed(lambda seen, thing=subject: thing.local(points(seen), time), path)
        total = torch.where(covered[:-1], own, total)
    if world.foreground is not None:
        black, white = (_front(world, shade, size) for shade in (0.0, 1.0))
        total = torch.where((white - black).mean(1)[:-1] < 1, followed(grid, near), total)
    return float(total[:, ::2, ::2].mean())


def _front(world: World, shade: float, size: WorldSize) -> Tensor:
    """The world's foreground over a plain background: two shades of it tell where the foreground hides it."""
    plain = torch.full_like(world.background, shade)
    bare = World(
        background=plain,
        foreground=world.foreground,
        parallax=world.parallax,
        subjects=(),
        move=world.move,
        start=world.start,
        fps=world.fps,
    )
    return render(bare, size)[0]


@pytest.mark.parametrize("kind", HELD_OUT_BACKGROUNDS, ids=lambda kind: kind.__name__)
def test_the_meter_reads_the_label_on_held_out_kinds(kind: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textures, "HELD_OUT_BACKGROUNDS", (kind,))
    clips = draw_clips(3, HELD_OUT, range(1), SIZE, move="pan_right", speed=_SPEED, subjects=False, kinds="held_out")
    assert mean_flow(clips.pixels[0]) == pytest.approx(float(clips.flow[0]), rel=0.15)


@pytest.mark.parametrize("kind", [*_KINDS, _photograph], ids=lambda kind: kind.__name__.strip("_"))
def test_pictures_change_smoothly_under_a_shift_below_a_pixel(
    kind: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal steps of an eighth of a pixel change the picture equally: no step at which texels jump."""
    monkeypatch.setattr(textures, "HELD_OUT_BACKGROUNDS", (kind,))
    size = WorldSize(frames=9)
    world = draw_world(clip_generator(6, HELD_OUT, 0), size, subjects=False, kinds="held_out")
    clip = render(replace(world, move=Move("pan_right", (1 / 64 / 8, 0.0, 0.0, 0.0), 0)), size)[0]
    steps = clip.diff(dim=0).square().mean(dim=(1, 2, 3)).sqrt()
    whole = (clip[-1] - clip[0]).square().mean().sqrt()
    assert steps.max() < 1.5 * steps.min(), f"steps {steps.tolist()}"
    assert steps.max() < whole / 4, f"a step of an eighth {steps.max():.4f}, a whole pixel {whole:.4f}"


def test_held_out_worlds_have_held_out_things_only() -> None:
    seen: set[int] = set()
    for index in range(40):
        world = draw_world(
            clip_generator(2, HELD_OUT, index), WorldSize(frames=1, height=16, width=16), kinds="held_out"
        )
        seen |= {subject.shape for subject in world.subjects}
    assert seen == {len(SHAPES) + number for number in range(len(HELD_OUT_SHAPES))}
    assert not set(HELD_OUT_BACKGROUNDS) & set(BACKGROUNDS) and not set(HELD_OUT_SHAPES) & set(SHAPES)


@pytest.mark.parametrize("shape", range(len(SHAPES) + len(HELD_OUT_SHAPES)))
def test_every_shape_has_an_inside_within_reach_and_an_outside(shape: int) -> None:
    y, x = torch.meshgrid(torch.linspace(-2, 2, 81), torch.linspace(-2, 2, 81), indexing="ij")
    distance = inside(shape, torch.stack((x, y), -1))
    covered = distance > 0
    assert 0.04 < covered.float().mean() < 0.35
    assert not covered[torch.hypot(x, y) > 1.5].any()
    # Close to a distance at the outline, where it becomes coverage: it changes by about the way.
    down, across = distance[1:-1].diff(dim=1)[:, :-1], distance[:, 1:-1].diff(dim=0)[:-1]
    slope = torch.hypot(down, across)[distance[1:-1, 1:-1].abs() < 0.05] * 80 / 4
    assert 0.5 < slope.median() < 1.5 and slope.max() < 2


def test_a_dolly_makes_what_is_near_grow_faster() -> None:
    generator = torch.Generator().manual_seed(0)
    for name, sign in (("dolly_in", 1), ("dolly_out", -1)):
        move = draw_move(generator, _SPEED, 5, name)
        path = move.path(5, (0.0, 0.0))
        near = move.nearer(path, 1.5)
        assert torch.allclose(near.zoom.diff(), 1.5 * path.zoom.diff()) and path.zoom.diff().mean() * sign > 0
    zoom = draw_move(generator, _SPEED, 5, "zoom_in")
    assert torch.equal(zoom.nearer(zoom.path(5, (0.0, 0.0)), 1.5).zoom, zoom.path(5, (0.0, 0.0)).zoom)


def test_an_orbit_moves_near_and_far_apart() -> None:
    for name in ORBITS:
        move = draw_move(torch.Generator().manual_seed(0), _SPEED, 5, name)
        path = move.path(5, (0.0, 0.0))
        assert path.pan.diff().abs().min() > 0
        assert torch.allclose(move.nearer(path, 1.5).pan.diff(), -0.5 * path.pan.diff(), atol=1e-6)


def test_rare_moves_come_as_often_as_asked_and_leave_other_worlds_alone() -> None:
    usual, some = (
        [draw_world(clip_generator(5, TRAINING, index), SIZE, rare_share=share) for index in range(60)]
        for share in (0.0, 0.3)
    )
    rare = [world.move.name in RARE_MOVES for world in some]
    assert not any(world.move.name in RARE_MOVES for world in usual)
    assert 8 <= sum(rare) <= 28, f"{sum(rare)} of 60"
    for before, after, changed in zip(usual, some, rare, strict=True):
        assert changed or (before.move.name, before.start) == (after.move.name, after.start)


def test_a_hand_shakes_at_the_speed_asked_and_goes_nowhere() -> None:
    path = draw_move(torch.Generator().manual_seed(3), _SPEED, 14, HANDHELD).path(14, (0.1, 0.0))
    steps = torch.stack((path.pan, path.tilt)).diff(dim=-1).norm(dim=0)
    assert float(steps.mean()) == pytest.approx(100 * _SPEED, rel=1e-4)
    assert float(path.pan.mean()) == pytest.approx(10, abs=1e-3) and path.zoom.abs().max() == 0
    assert draw_move(torch.Generator().manual_seed(3), _SPEED, 1, HANDHELD).path(1, (0.0, 0.0)).pan.isfinite().all()
