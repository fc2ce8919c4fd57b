"""What a camera LoRA is to learn: which way strength 1 moves the camera, how fast, and how clips are drawn from that.

One training teaches both directions: a clip that moves `s` times the reference speed is shown with the LoRA at strength
`s`, and `s` is negative half of the time. So strength is proportional to speed by construction, a negative one reverses
the move, and nothing has to be extrapolated. An eased clip is shown with the strength curve the camera stack would
use for that ease. Speeds are per frame, whatever rate a clip says it has: the adapter knows frames, not seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from ..camera.curves import EaseName, mean_speeds, speeds
from ..camera.moves import AXES, Axis
from ..camera.path import CameraMotion, CameraPath, integrate
from ..camera.presets import find_preset
from ..errors import InputError, choose_from, explain
from .camera_names import planar_channel, trainable
from .textures import integer, uniform

REFERENCE_SPEED: dict[Axis, float] = {"pan": 12.0, "tilt": 12.0, "zoom": 20.0, "roll": 12.0}
"""Amount per second that strength 1 stands for: % of width, % of height, % on the log scale, degrees."""
STRENGTHS = (0.3, 1.7)
"""Range of the strengths trained on, with either sign."""

_STATIC_STRENGTHS = (0.7, 1.3)
_EASES: tuple[EaseName, ...] = ("in", "out", "in-out")
_EASED_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One preset's move: axis (None for static), sign of a positive strength, and the speed of strength 1.

    `reference` is an amount per second when `fps` frames are played a second.
    """

    preset: str
    axis: Axis | None
    sign: int
    reference: float
    fps: float

    @property
    def step(self) -> float:
        """Signed amount along the axis from frame to frame at strength 1."""
        return self.sign * self.reference / self.fps

    def strength(self, step: float) -> float:
        """The strength that stands for a signed amount per frame; 1 for static."""
        return 1.0 if self.axis is None else step / self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How the clips of one group move: strength of each step, `T-1`, and the curve they are shown with, `T`."""

    steps: torch.Tensor
    curve: torch.Tensor


def target_of(preset: str, fps: float, reference: float | None = None) -> Target:
    """The target of a preset's name at a playback rate; `reference` replaces the table's speed of strength 1.

    Truck, pedestal, dolly and orbit are trained as the planar move that stands in for them.

    Raises:
        InputError: a name no clips can be made for, or a speed that is not positive.
    """
    if preset not in trainable():
        raise InputError(choose_from("preset", preset, trainable()))
    axis = planar_channel(preset)
    speed = reference if reference is not None else REFERENCE_SPEED[axis] if axis else 1.0
    if not 0 < speed < 1000:
        raise InputError(explain("a speed of strength 1 above 0", f"{speed:g}", "Give % or degrees a second."))
    planar = find_preset(find_preset(preset).planar or preset)
    return Target(preset=preset, axis=axis, sign=planar.sign, reference=speed, fps=fps)


def draw_lesson(generator: Generator, target: Target, frames: int) -> Lesson:
    """Speed, direction and ease of a group of clips."""
    if target.axis is None:
        strength = uniform(generator, *_STATIC_STRENGTHS)
        return Lesson(steps=torch.zeros(frames - 1), curve=torch.full((frames,), strength))
    strength = uniform(generator, *STRENGTHS) * (1 if uniform(generator, 0, 1) < 0.5 else -1)
    ease = _EASES[integer(generator, len(_EASES))] if uniform(generator, 0, 1) < _EASED_SHARE else "linear"
    steps = speeds(frames, None, ease) * strength
    return Lesson(steps=steps.float(), curve=mean_speeds(steps).float())


def path_of(target: Target, lesson: Lesson, size: tuple[int, int]) -> CameraPath:
    """The camera's way `T` in a clip of that lesson, from rest at zero; size is (height, width)."""
    along = lesson.steps * target.step
    still = torch.zeros_like(along)
    return integrate(CameraMotion(**{axis: along if axis == target.axis else still for axis in AXES}), *size)
