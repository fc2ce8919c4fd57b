"""What is read from one clip: how fast its camera goes, how its last frame differs from its first."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..camera.meter import Track, measure
from ..camera.path import CameraMotion, integrate
from ..camera.virtual import flow
from .scores_arithmetic import squared_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """First and last frame of a clip: gradient energy, and mean and deviation of each channel in [0, 1]."""

    energy: tuple[float, float]
    mean: tuple[tuple[float, ...], tuple[float, ...]]
    deviation: tuple[tuple[float, ...], tuple[float, ...]]


def tracked(pixels: Tensor) -> Track:
    """The meter's reading of a clip `T 3 H W` in [-1, 1]."""
    return measure((pixels.float().permute(0, 2, 3, 1) + 1) / 2)


def mean_flow(pixels: Tensor) -> float:
    """Mean length of the camera's flow in pixels a frame, measured on one clip `T 3 H W` in [-1, 1]."""
    return flow_of(tracked(pixels))


def coherent_flow(pixels: Tensor) -> float:
    """The same of the clip's mean motion: what all steps share, in which flicker cancels."""
    return coherent_flow_of(tracked(pixels))


def flow_of(track: Track) -> float:
    """Mean length of the flow of a track in pixels a frame; pairs the meter does not trust count as standstill."""
    return _length(track.motion, track.height, track.width)


def coherent_flow_of(track: Track) -> float:
    """The flow of its mean motion."""
    return _length(mean_motion(track), track.height, track.width)


def mean_motion(track: Track) -> CameraMotion:
    """One step, the mean of a track's."""
    means = (values.mean(dim=-1, keepdim=True) for values in (track.pan, track.tilt, track.zoom, track.roll))
    pan, tilt, zoom, roll = means
    return CameraMotion(pan=pan, tilt=tilt, zoom=zoom, roll=roll)


def step_error(pixels: Tensor) -> float:
    """Mean squared difference of neighbouring frames of `T 3 H W` in [-1, 1], for a peak of 1."""
    return squared_error(pixels[1:], pixels[:-1])


def ends(pixels: Tensor) -> Ends:
    """First and last frame of a clip `T 3 H W` in [-1, 1]."""
    pair = (pixels[[0, -1]].float() + 1) / 2
    means, deviations = pair.mean(dim=(2, 3)).tolist(), pair.std(dim=(2, 3)).tolist()
    return Ends(
        energy=(gradient_energy(pair[:1]), gradient_energy(pair[1:])),
        mean=(tuple(means[0]), tuple(means[1])),
        deviation=(tuple(deviations[0]), tuple(deviations[1])),
    )


def gradient_energy(images: Tensor) -> float:
    """Mean squared difference of neighbouring pixels of `N 3 H W`."""
    return float(images.diff(dim=-1).square().mean() + images.diff(dim=-2).square().mean())


def _length(motion: CameraMotion, height: int, width: int) -> float:
    return float(flow(integrate(motion, height, width), height, width).norm(dim=-1).mean())
