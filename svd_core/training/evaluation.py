"""What a trained model is judged by, on worlds it never saw: fidelity, obedience of motion, steadiness.

Every figure is taken from samples made with the model's own defaults; motion is measured by the camera meter, never by
frame differences. Flicker still lends single steps some length, so the part all steps share stands beside.
This is the short judgement at the end of a training run, on the same worlds every time; `svd bench model` is the long
one, on worlds and photographs drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..config import SamplingDefaults
from .sampler import Model, Request, decode, generate
from .scores_arithmetic import decibels, decibels_of, slope, spearman
from .scores_clip import coherent_flow_of, flow_of, gradient_energy, step_error, tracked
from .scores_matched import matched
from .scores_sets import scene
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
    `neighbours` and `neighbours_real`: adjacent-frame decibels, the latter of real clips filmed at each sample's
    own measured flow (see `scores_matched`); `sharpness`: gradient energy of the last frame over the first;
    `sharpness_real`: likewise of those; `worst_blowup`: largest last-frame standard deviation over the first's.
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
    model: Model,
    *,
    clips: int,
    buckets: Sequence[float] = BUCKETS,
    sampling: SamplingDefaults | None = None,
    seed: int | None = None,
) -> tuple[Scores, Tensor]:
    """Scores over `clips` held-out worlds with one seed each, and samples `B T 3 H W` at the bucket near the default.

    seed: of the worlds and of the noise; None is always the same.
    """
    defaults = sampling or model.config.sampling
    size = WorldSize(frames=defaults.frames, height=defaults.height, width=defaults.width)
    origin = _EVALUATION_SEED if seed is None else seed
    scenes = [scene("worlds", origin, index, size) for index in range(clips)]
    pictures = torch.stack([one.pixels[0] for one in scenes])
    reconstruction = model.autoencoder.decode(model.autoencoder.encode(pictures)).clamp(-1, 1)
    usual = min(range(len(buckets)), key=lambda column: abs(buckets[column] - defaults.motion_bucket))
    flows, coherent = torch.zeros(clips, len(buckets)), torch.zeros(clips, len(buckets))
    samples, real = torch.zeros(0), torch.zeros(0)
    for column, bucket in enumerate(buckets):
        pixels = animate(model, pictures, defaults, bucket, first_seed=seed or 0)
        tracks = [tracked(clip) for clip in pixels]
        flows[:, column] = torch.tensor([flow_of(track) for track in tracks])
        coherent[:, column] = torch.tensor([coherent_flow_of(track) for track in tracks])
        if column == usual:
            samples = pixels
            real = torch.stack([matched(*pair).pixels for pair in zip(scenes, [size] * clips, tracks, strict=True)])
    means = flows.mean(0)
    asked = [requested_flow(bucket, defaults.fps, defaults.width) for bucket in buckets]
    order = torch.tensor(list(buckets))
    spread = samples.flatten(2).std(-1)
    scores = Scores(
        clips=clips,
        reconstruction=decibels(reconstruction, pictures),
        first_frame=decibels(samples[:, 0], pictures),
        first_frame_own=decibels(samples[:, 0], reconstruction),
        buckets=tuple(buckets),
        flow_requested=tuple(asked),
        flow_by_bucket=tuple(means.tolist()),
        coherent_by_bucket=tuple(coherent.mean(0).tolist()),
        rank_correlation=spearman(order, means),
        clip_rank_correlation=float(torch.tensor([spearman(order, row) for row in flows]).mean()),
        flow_ratio=float(means[-1] / means[0].clamp(min=1e-3)),
        flow_of_requested=slope(asked, means.tolist()),
        neighbours=decibels_of([step_error(clip) for clip in samples]),
        neighbours_real=decibels_of([step_error(clip) for clip in real]),
        sharpness=gradient_energy(samples[:, -1]) / gradient_energy(samples[:, 0]),
        sharpness_real=gradient_energy(real[:, -1]) / gradient_energy(real[:, 0]),
        worst_blowup=float((spread[:, -1] / spread[:, 0]).max()),
    )
    return scores, samples


def held_out(clips: int, sampling: SamplingDefaults) -> Clips:
    """The first worlds of the evaluation seed at the model's size."""
    size = WorldSize(frames=sampling.frames, height=sampling.height, width=sampling.width)
    return draw_clips(_EVALUATION_SEED, HELD_OUT, range(clips), size)


def animate(
    model: Model, pictures: Tensor, sampling: SamplingDefaults, bucket: float, *, first_seed: int = 0
) -> Tensor:
    """Samples `B T 3 H W` of pictures `B 3 H W` at one bucket; clip n has seed `first_seed + n`."""
    parts: list[Tensor] = []
    for first in range(0, len(pictures), _BATCH):
        some = pictures[first : first + _BATCH]
        request = Request(
            pictures=some,
            fps=torch.full((len(some),), float(sampling.fps)),
            motion_bucket=torch.full((len(some),), bucket),
            seeds=range(first_seed + first, first_seed + first + len(some)),
        )
        parts.append(decode(model, generate(model, request, sampling)))
    return torch.cat(parts)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    return value
