"""What a trained model is judged by, on worlds it never saw: fidelity, obedience of motion, steadiness.

Every figure is taken from samples made with the model's own defaults; motion is measured by the camera meter, never by
frame differences. Flicker still lends single steps some length, so the part all steps share stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..camera.meter import Track, measure
from ..camera.path import CameraMotion, integrate
from ..camera.virtual import flow
from ..config import SamplingDefaults
from .sampler import Model, Request, decode, generate
from .worlds import HELD_OUT, Clips, WorldSize, draw_clips, requested_flow

BUCKETS = (1.0, 48.0, 90.0, 127.0, 255.0)
_EVALUATION_SEED = 7_777
_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Decibels are peak signal to noise over mean squared errors averaged first; flows are pixels a frame.

    `reconstruction`: decode(encode(x)) of single frames; `first_frame`: frame 0 of a sample against the input picture;
    `first_frame_own`: against the picture's own reconstruction. `flow_by_bucket`: mean measured flow of all clips;
    `coherent_by_bucket`: the same of each clip's mean motion;
    `rank_correlation`: Spearman's, over (bucket, mean flow); `clip_rank_correlation`: mean of each clip's own;
    `flow_ratio`: highest bucket over lowest; `flow_of_requested`: slope through the bucket-1 reading.
    `neighbours` and `neighbours_real`: adjacent-frame decibels; `sharpness`: gradient energy of the last frame over the
    first; `sharpness_real` likewise; `worst_blowup`: largest last-frame standard deviation over the first's.
    """

    clips: int
    reconstruction: float
    first_frame: float
    first_frame_own: float
    buckets: tuple[float, ...]
    flow_requested: tuple[float, ...]
    flow_by_bucket: tuple[float, ...]
    coherent_by_bucket: tuple[float, ...]
    rank_correlation: float
    clip_rank_correlation: float
    flow_ratio: float
    flow_of_requested: float
    neighbours: float
    neighbours_real: float
    sharpness: float
    sharpness_real: float
    worst_blowup: float

    def to_json(self) -> dict[str, object]:
        """Plain numbers, rounded to what they mean."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


@torch.no_grad()
def evaluate(
    model: Model, *, clips: int, buckets: Sequence[float] = BUCKETS, sampling: SamplingDefaults | None = None
) -> tuple[Scores, Tensor]:
    """Scores over `clips` held-out worlds with one seed each, and samples `B T 3 H W` at the default bucket."""
    defaults = sampling or model.config.sampling
    real = held_out(clips, defaults)
    pictures = real.pixels[:, 0]
    reconstruction = model.autoencoder.decode(model.autoencoder.encode(pictures)).clamp(-1, 1)
    flows, coherent = torch.zeros(clips, len(buckets)), torch.zeros(clips, len(buckets))
    samples = torch.zeros(0)
    for column, bucket in enumerate(buckets):
        pixels = animate(model, pictures, defaults, bucket)
        tracks = [measure((clip.permute(0, 2, 3, 1) + 1) / 2) for clip in pixels]
        flows[:, column] = torch.tensor([_flow(track.motion, defaults.height, defaults.width) for track in tracks])
        coherent[:, column] = torch.tensor(
            [_flow(_mean_motion(track), defaults.height, defaults.width) for track in tracks]
        )
        if abs(bucket - defaults.motion_bucket) <= min(abs(other - defaults.motion_bucket) for other in buckets):
            samples = pixels
    means = flows.mean(0)
    asked = torch.tensor([requested_flow(bucket, defaults.fps, defaults.width) for bucket in buckets])
    order = torch.tensor(list(buckets))
    spread = samples.flatten(2).std(-1)
    scores = Scores(
        clips=clips,
        reconstruction=decibels(reconstruction, pictures),
        first_frame=decibels(samples[:, 0], pictures),
        first_frame_own=decibels(samples[:, 0], reconstruction),
        buckets=tuple(buckets),
        flow_requested=tuple(asked.tolist()),
        flow_by_bucket=tuple(means.tolist()),
        coherent_by_bucket=tuple(coherent.mean(0).tolist()),
        rank_correlation=spearman(order, means),
        clip_rank_correlation=float(torch.tensor([spearman(order, row) for row in flows]).mean()),
        flow_ratio=float(means[-1] / means[0].clamp(min=1e-3)),
        flow_of_requested=float(((means - means[0]) * asked).sum() / asked.square().sum()),
        neighbours=decibels(samples[:, 1:], samples[:, :-1]),
        neighbours_real=decibels(real.pixels[:, 1:], real.pixels[:, :-1]),
        sharpness=_sharpness(samples[:, -1]) / _sharpness(samples[:, 0]),
        sharpness_real=_sharpness(real.pixels[:, -1]) / _sharpness(real.pixels[:, 0]),
        worst_blowup=float((spread[:, -1] / spread[:, 0]).max()),
    )
    return scores, samples


def held_out(clips: int, sampling: SamplingDefaults) -> Clips:
    """The first worlds of the evaluation seed at the model's size."""
    size = WorldSize(frames=sampling.frames, height=sampling.height, width=sampling.width)
    return draw_clips(_EVALUATION_SEED, HELD_OUT, range(clips), size)


def animate(model: Model, pictures: Tensor, sampling: SamplingDefaults, bucket: float) -> Tensor:
    """Samples `B T 3 H W` of pictures `B 3 H W` at one bucket; clip n has seed n."""
    parts: list[Tensor] = []
    for first in range(0, len(pictures), _BATCH):
        some = pictures[first : first + _BATCH]
        request = Request(
            pictures=some,
            fps=torch.full((len(some),), float(sampling.fps)),
            motion_bucket=torch.full((len(some),), bucket),
            seeds=range(first, first + len(some)),
        )
        parts.append(decode(model, generate(model, request, sampling)))
    return torch.cat(parts)


def mean_flow(pixels: Tensor) -> float:
    """Mean length of the camera's flow in pixels a frame, measured on one clip `T 3 H W` in [-1, 1]."""
    return _flow(measure((pixels.permute(0, 2, 3, 1) + 1) / 2).motion, *pixels.shape[-2:])


def coherent_flow(pixels: Tensor) -> float:
    """The same of the clip's mean motion: what all steps share, in which flicker cancels."""
    return _flow(_mean_motion(measure((pixels.permute(0, 2, 3, 1) + 1) / 2)), *pixels.shape[-2:])


def decibels(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise of images in [-1, 1]; errors are averaged before the logarithm."""
    return float(-10 * torch.log10(((a - b) / 2).square().mean().clamp(min=1e-12)))


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two vectors without ties."""
    first, second = (values.argsort().argsort().double() for values in (a, b))
    first, second = first - first.mean(), second - second.mean()
    return float((first * second).sum() / (first.norm() * second.norm()))


def _flow(motion: CameraMotion, height: int, width: int) -> float:
    return float(flow(integrate(motion, height, width), height, width).norm(dim=-1).mean())


def _mean_motion(track: Track) -> CameraMotion:
    """One step, the mean of a track's."""
    means = (values.mean(dim=-1, keepdim=True) for values in (track.pan, track.tilt, track.zoom, track.roll))
    pan, tilt, zoom, roll = means
    return CameraMotion(pan=pan, tilt=tilt, zoom=zoom, roll=roll)


def _sharpness(images: Tensor) -> float:
    return float(images.diff(dim=-1).square().mean() + images.diff(dim=-2).square().mean())


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    return value
