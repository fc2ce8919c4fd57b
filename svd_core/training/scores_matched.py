"""A real clip that moves as a generated one was measured to move: the only fair measure of flicker.

Neighbouring frames differ by what moves and by what flickers. Beside any real clip a generated one that hardly moves
would win, and flicker would go unseen in a slow one. Laying frames over one another by the measured motion does not
help either: a still clip still has nothing left over. So the very world the input picture was taken from is filmed
again, from the same first frame, by a camera that makes the generated clip's mean measured step at every frame; its
subjects go slower by the same share. Mean motion, because flicker reads as motion to and fro, which would otherwise
be filmed too and so be forgiven. A generated clip whose real camera eases gives away some tenths of a decibel. The
meter reads slow motion low, so the step is lengthened until the real clip reads what the generated one did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..camera.meter import Track
from ..camera.path import CameraMotion, CameraPath, differentiate, integrate
from .moves import Move
from .scores_clip import coherent_flow, coherent_flow_of, mean_motion
from .scores_sets import Scene
from .subjects import Subject
from .worlds import World, WorldSize, render

# Beyond this a subject would leave the frame at once.
_MOST = 4.0
# A reading this slow, in pixels a frame, is no motion to be matched closer.
_NO_FLOW = 1e-3
_MOST_CORRECTION = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A real clip `T 3 H W` in [-1, 1] and the coherent flow the meter reads on it, pixels a frame."""

    pixels: Tensor
    flow: float


def matched(scene: Scene, size: WorldSize, track: Track) -> Matched:
    """The scene's world filmed at the coherent flow of a track measured on a clip that began with its first frame."""
    step, wanted = mean_motion(track), coherent_flow_of(track)
    pace = wanted / max(_NO_FLOW, scene.flow)
    pixels = filmed_again(scene.world, size, step, pace)
    read = coherent_flow(pixels)
    if wanted <= _NO_FLOW or read <= _NO_FLOW:
        return Matched(pixels=pixels, flow=read)
    longer = max(1 / _MOST_CORRECTION, min(_MOST_CORRECTION, wanted / read))
    pixels = filmed_again(scene.world, size, _times(step, longer), pace)
    return Matched(pixels=pixels, flow=coherent_flow(pixels))


def filmed_again(world: World, size: WorldSize, step: CameraMotion, pace: float) -> Tensor:
    """The world from its first frame on, `T 3 H W` in [-1, 1].

    step: one camera step `1`, made between all frames. pace: the subjects' speeds over their own, up to 4.
    """
    pace = min(pace, _MOST) if math.isfinite(pace) else _MOST
    way = _from_start(world, size, step)
    middle = (size.frames - 1) / 2
    filmed = replace(
        world,
        move=_Filmed(name=world.move.name, rates=world.move.rates, ease=0, way=way),
        subjects=tuple(_slowed(subject, pace, middle) for subject in world.subjects),
    )
    return render(filmed, size)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filmed(Move):
    """A move whose states are given."""

    way: CameraPath

    def path(self, frames: int, start: tuple[float, float]) -> CameraPath:
        """The given way `T`, wherever the clip was to start."""
        return self.way


def _from_start(world: World, size: WorldSize, step: CameraMotion) -> CameraPath:
    """States `T`: the world's first one, then the step again and again."""
    own = world.move.path(size.frames, world.start)

    def from_rest(values: Tensor) -> Tensor:
        return torch.stack((torch.zeros((), dtype=torch.float64), values[0].double()))

    rest = CameraPath(
        pan=from_rest(own.pan), tilt=from_rest(own.tilt), zoom=from_rest(own.zoom), roll=from_rest(own.roll)
    )
    # The way to the first state is one step more, cut off afterwards.
    there = differentiate(rest, size.height, size.width)

    def steps(first: Tensor, again: Tensor) -> Tensor:
        return torch.cat((first, again.double().cpu().expand(size.frames - 1)))

    path = integrate(
        CameraMotion(
            pan=steps(there.pan, step.pan),
            tilt=steps(there.tilt, step.tilt),
            zoom=steps(there.zoom, step.zoom),
            roll=steps(there.roll, step.roll),
        ),
        size.height,
        size.width,
    )
    return CameraPath(
        pan=path.pan[1:].float(), tilt=path.tilt[1:].float(), zoom=path.zoom[1:].float(), roll=path.roll[1:].float()
    )


def _times(step: CameraMotion, factor: float) -> CameraMotion:
    return CameraMotion(
        pan=step.pan * factor, tilt=step.tilt * factor, zoom=step.zoom * factor, roll=step.roll * factor
    )


def _slowed(subject: Subject, pace: float, middle: float) -> Subject:
    """The subject at `pace` times its speed, where it was on the first frame."""
    (x, y), (across, down) = subject.place, subject.velocity
    early = middle * (pace - 1)
    return replace(
        subject,
        place=(x + early * across, y + early * down),
        velocity=(pace * across, pace * down),
        spin=pace * subject.spin,
        angle=subject.angle + early * subject.spin,
    )
