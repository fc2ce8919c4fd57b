"""Clips of procedural worlds with one camera move: what the LoRAs for the embedded model are made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Generator, Tensor

from ..camera.path import CameraPath
from . import textures
from .camera_clips import CameraClip, ClipSize
from .camera_moves import Lesson, Target, draw_lesson, path_of
from .moves import Move
from .subjects import Subject, draw_subject
from .textures import integer, uniform
from .worlds import HELD_OUT, TRAINING, WorldSize, clip_generator, draw_clips, draw_world, motion_bucket, render

_FPS_RANGE = (6, 15)
# Frame widths a frame: how fast the things in the scene may go, times a range beside a moving camera, and another under
# one that stands still.
_SUBJECT_SPEED = 0.016
_PACE, _HELD_PACE = (0.3, 1.5), (0.6, 3.0)
# Part of the frame that moving things are taken to fill: makes a motion bucket of their speed.
_COVERED = 0.22
_MOST_SUBJECTS = 3
_TRIAL_SEED = 424_242


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSource:
    """A `ClipSource` of worlds; each is a function of seed, group and place in the group."""

    target: Target
    size: ClipSize
    seed: int
    groups: int
    per_group: int

    @property
    def key(self) -> str:
        """All that decides the clips."""
        held = f" {_HELD_PACE} {_COVERED}" if self.target.axis is None else ""
        return f"worlds {self.target} {self.size} {self.seed} {self.groups} {self.per_group}{held}"

    def group(self, index: int) -> list[CameraClip]:
        """Clips of one speed, direction and ease in different worlds, at different rates."""
        first = index * (self.per_group + 1)
        lesson = draw_lesson(clip_generator(self.seed, TRAINING, first), self.target, self.size.frames)
        generators = [clip_generator(self.seed, TRAINING, first + 1 + place) for place in range(self.per_group)]
        return [self._clip(generator, lesson) for generator in generators]

    def stills(self, count: int) -> Tensor:
        """First frames of worlds that are never trained on."""
        return draw_clips(_TRIAL_SEED, HELD_OUT, range(count), self._world_size).pixels[:, 0]

    @property
    def _world_size(self) -> WorldSize:
        return WorldSize(frames=self.size.frames, height=self.size.height, width=self.size.width)

    def _clip(self, generator: Generator, lesson: Lesson) -> CameraClip:
        fps = _FPS_RANGE[0] + integer(generator, _FPS_RANGE[1] - _FPS_RANGE[0])
        way = path_of(self.target, lesson, (self.size.height, self.size.width))
        world = draw_world(generator, self._world_size, "static", 0.0)
        moved = replace(world, move=_Directed(name="static", rates=world.move.rates, ease=0, way=way), fps=fps)
        subjects = _subjects(generator, self.target)
        pixels, _ = render(replace(moved, subjects=subjects), self._world_size)
        bucket = self._bucket(subjects, fps) if self.target.axis is None else None
        return CameraClip(pixels=pixels, fps=float(fps), strength=lesson.curve, motion_bucket=bucket)

    def _bucket(self, subjects: Sequence[Subject], fps: int) -> float:
        """Under a held camera the bucket keeps its meaning, the speed of things, and tells it of the subjects alone."""
        speed = sum(math.hypot(*subject.velocity) for subject in subjects) / len(subjects)
        return motion_bucket(_COVERED * speed * self.size.width, fps, self.size.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directed(Move):
    """A move whose way is given instead of drawn; its middle is put where a clip's middle belongs."""

    way: CameraPath

    def path(self, frames: int, start: tuple[float, float]) -> CameraPath:
        """The way `T`, shifted by `start` frame widths."""
        way = self.way

        def centred(values: Tensor) -> Tensor:
            return (values - (values[0] + values[frames - 1]) / 2).float()

        return CameraPath(
            pan=centred(way.pan) + 100 * start[0],
            tilt=centred(way.tilt) + 100 * start[1],
            zoom=centred(way.zoom),
            roll=way.roll.float(),
        )


def _subjects(generator: Generator, target: Target) -> tuple[Subject, ...]:
    """What moves in the scene: up to a few things; fast ones, and at least one, where the camera is to stand still."""
    held = target.axis is None
    fewest = 1 if held else 0
    count = fewest + integer(generator, _MOST_SUBJECTS - fewest + 1)
    colours = textures.palette(generator)
    pace = _SUBJECT_SPEED * uniform(generator, *(_HELD_PACE if held else _PACE))
    return tuple(draw_subject(generator, pace, colours) for _ in range(count))
