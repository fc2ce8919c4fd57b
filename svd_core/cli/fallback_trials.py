"""What the training-free camera does on a model, measured: whether each move goes its way, and the subject still moves.

Every clip is held against the plain run of the same picture and seed. The direction is judged by the camera meter, the
subject's motion after the measured camera is taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean, median

from torch import Tensor

from ..camera.meter import measure
from ..camera.move import CameraStack, Move
from ..camera.moves import AXES, Axis
from ..camera.presets import find_preset
from ..camera.stack import find_nothing
from ..metrics.report import clip_report
from ..pipeline import animate_clips
from ..settings import AnimateSettings
from ..types import Frames
from ..weights.build import SvdModel

_BATCH = 4
# Clips of a trial are decoded whole: that is the cheapest where they are small.
_WHOLE = 256
_HELD = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackScore:
    """One preset over all clips; camera figures are % of the frame's width a frame.

    right: share of clips whose mean motion along the axis has the asked sign (for static: whose camera stays below
    0.3 %). along: mean motion along the axis over the asked one, its median over the clips; 1 is as asked, for static
    0. camera: mean length of the camera's displacement. subject: the subject's motion over the plain run's, the median.
    subject_motion, plain_motion, plain_camera: the lengths themselves, mean of the clips.
    """

    preset: str
    clips: int
    right: float
    along: float
    camera: float
    subject: float
    subject_motion: float
    plain_motion: float
    plain_camera: float

    def to_json(self) -> dict[str, object]:
        """Plain values by name, rounded to what they mean."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def fallback_trials(
    model: SvdModel,
    pictures: Tensor,
    presets: Sequence[str],
    *,
    motion_bucket: float | None = None,
    camera_freedom: float = 1.0,
    tell: Callable[[FallbackScore], None] | None = None,
) -> list[FallbackScore]:
    """Scores of the training-free way on pictures `N 3 H W` in [0, 1]; clip n has seed n.

    presets: planar ones (`pan_left`, ..., `static`) at their usual amount.
    """
    settings = AnimateSettings(motion_bucket=motion_bucket, camera_freedom=camera_freedom, find_lora=find_nothing)
    plain = [_reading(clip) for clip in _clips(model, pictures, settings, None)]
    scores: list[FallbackScore] = []
    for preset in presets:
        made = [_reading(clip) for clip in _clips(model, pictures, settings, preset)]
        scores.append(_score(preset, plain, made))
        if tell is not None:
            tell(scores[-1])
    return scores


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read off one clip: mean step by axis, mean length of the camera's displacement, the subject's motion."""

    mean: dict[Axis, float]
    camera: float
    subject: float
    fps: float


def _clips(model: SvdModel, pictures: Tensor, settings: AnimateSettings, preset: str | None) -> list[Frames]:
    camera = CameraStack() if preset is None else CameraStack((Move(preset=preset),))
    clips: list[Frames] = []
    for first in range(0, len(pictures), _BATCH):
        some = list(pictures[first : first + _BATCH])
        clips += animate_clips(model, some, replace(settings, camera=camera, seed=first), decode_chunk=_WHOLE)
    return clips


def _reading(clip: Frames) -> _Reading:
    track = measure(clip)
    report = clip_report(clip, track)
    return _Reading(track.mean, report.camera_motion, report.subject_motion, float(clip.fps))


def _score(preset: str, plain: Sequence[_Reading], made: Sequence[_Reading]) -> FallbackScore:
    known = find_preset(preset)
    axes: list[Axis] = [axis for axis in AXES if axis == known.channel]
    if not axes:
        right = [one.camera < _HELD for one in made]
        along = [0.0]
    else:
        (axis,) = axes
        right = [one.mean[axis] * known.sign > 0 for one in made]
        along = [one.mean[axis] * known.sign * one.fps / known.usual for one in made]
    subject = [one.subject / max(before.subject, 1e-6) for one, before in zip(made, plain, strict=True)]
    return FallbackScore(
        preset=preset,
        clips=len(made),
        right=sum(right) / len(made),
        along=median(along),
        camera=mean(one.camera for one in made),
        subject=median(subject),
        subject_motion=mean(one.subject for one in made),
        plain_motion=mean(one.subject for one in plain),
        plain_camera=mean(one.camera for one in plain),
    )
