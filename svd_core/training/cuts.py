"""Where a film changes its shot: hard cuts, and slow ones that only a lower frame rate shows.

A cut is named by two witnesses. The colours of the frame change (histograms, as in Zhang et al. 1993), which motion of
the camera hardly does; and the camera meter finds nothing of one frame in the other, which a change of light does not
bring about. Both look at the film at several rates, so that dissolves and fades, small from frame to frame, are seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..camera.meter import Track, measure
from ..camera.path import pair
from ..camera.virtual import flow

STRIDES = (1, 4, 12)
"""Frames apart that are compared: every frame, and rates at which a dissolve of half a second shows."""
SIDE = 64
"""Working height in pixels."""

_BINS = 6
# Share of the pixels that must have changed their colour class, at the first and at the larger strides.
_CHANGED, _CHANGED_SLOWLY = 0.30, 0.45
# Below this share of recognised texture one frame is not found in the other.
_LOST = 0.3
# Where the camera's way leaves less than this of the first frame in view, not finding it again proves nothing.
_IN_VIEW = 0.5
_FLAT = 0.01
# Transitions nearer than this are one: a fade has a beginning and an end, and what is between is no shot.
_SHORTEST = 8
# The first and last frames of a dissolve differ too little to be seen.
_SOFT_ENDS = 4


@dataclass(frozen=True, slots=True)
class Transition:
    """Frames `first` and `last` belong to different shots; what lies between belongs to neither."""

    first: int
    last: int


def small(frames: Iterable[Tensor]) -> Tensor:
    """Frames `H W 3` in [0, 1], one in memory at a time -> `T h w 3` at the working size."""
    reduced: list[Tensor] = []
    for frame in frames:
        picture = rearrange(frame, "h w c -> 1 c h w")
        size = (SIDE, max(24, round(SIDE * frame.shape[1] / frame.shape[0])))
        shrunk = F.interpolate(picture, size, mode="bilinear", antialias=True, align_corners=False)
        reduced.append(rearrange(shrunk[0], "c h w -> h w c"))
    return torch.stack(reduced) if reduced else torch.zeros(0, SIDE, SIDE, 3)


def find_transitions(frames: Tensor, strides: Sequence[int] = STRIDES) -> list[Transition]:
    """The changes of shot in a film `T h w 3` in [0, 1] at the working size, in order, none overlapping."""
    histograms = _histograms(frames)
    found: list[Transition] = []
    for stride in strides:
        for index in _peaks(_changed(histograms, stride), _CHANGED if stride == 1 else _CHANGED_SLOWLY, stride):
            candidate = Transition(index, index + stride)
            if not any(_touch(candidate, other) for other in found) and _is_cut(frames, candidate):
                found.append(candidate)
    return _merged(sorted(found, key=lambda transition: transition.first))


def shots(frames: int, transitions: Sequence[Transition]) -> list[tuple[int, int]]:
    """First and last frame of every shot between the transitions; slow ones take a few more frames on either side."""
    starts = [0, *(transition.last + _margin(transition) for transition in transitions)]
    ends = [*(transition.first - _margin(transition) for transition in transitions), frames - 1]
    return [(first, last) for first, last in zip(starts, ends, strict=True) if first <= last]


def _margin(transition: Transition) -> int:
    return 0 if transition.last - transition.first == 1 else _SOFT_ENDS


def _histograms(frames: Tensor) -> Tensor:
    """Share of the pixels in each of 6 x 6 x 6 colour classes: `T 216`."""
    classes = (frames.clamp(0, 1) * (_BINS - 1)).round().long()
    index = (classes[..., 0] * _BINS + classes[..., 1]) * _BINS + classes[..., 2]
    counts = torch.zeros(len(frames), _BINS**3)
    flat = index.flatten(1)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float32))
    return counts / max(1, flat.shape[1])


def _changed(histograms: Tensor, stride: int) -> Tensor:
    """Share of the pixels that left their colour class, from each frame to the one `stride` later."""
    if len(histograms) <= stride:
        return torch.zeros(0)
    return (histograms[stride:] - histograms[:-stride]).abs().sum(dim=1) / 2


def _peaks(values: Tensor, threshold: float, reach: int) -> list[int]:
    """Places above the threshold that are the largest within `reach` on either side, the largest first."""
    if not len(values):
        return []
    best = F.max_pool1d(values[None], 2 * reach + 1, 1, reach)[0]
    places = ((values >= threshold) & (values == best)).nonzero().flatten().tolist()
    return sorted(places, key=lambda place: -float(values[place]))


def _touch(one: Transition, other: Transition) -> bool:
    return one.first < other.last and other.first < one.last


def _merged(transitions: Sequence[Transition]) -> list[Transition]:
    merged: list[Transition] = []
    for transition in transitions:
        if merged and transition.first - merged[-1].last < _SHORTEST:
            merged[-1] = Transition(merged[-1].first, transition.last)
        else:
            merged.append(transition)
    return merged


def _is_cut(frames: Tensor, candidate: Transition) -> bool:
    """Whether the second frame shows nothing of the first although the camera's way has not led out of it."""
    ends = frames[[candidate.first, candidate.last]]
    flat = ends.flatten(1).std(dim=1) < _FLAT
    if bool(flat.any()):
        # Black or white says nothing to the meter; that only one of the two is flat says enough.
        return not bool(flat.all()) or bool((ends[0] - ends[1]).abs().mean() > 0.1)
    if float(measure(_evenly_lit(ends)).confidence[0]) > _LOST:
        return False
    if candidate.last - candidate.first == 1:
        return True
    return _in_view(measure(frames[candidate.first : candidate.last + 1])) > _IN_VIEW


def _evenly_lit(frames: Tensor) -> Tensor:
    """The same brightness and contrast in every frame: a flash is no cut."""
    mean, spread = frames.mean(dim=(1, 2, 3), keepdim=True), frames.std(dim=(1, 2, 3), keepdim=True)
    return ((frames - mean) / spread.clamp(min=_FLAT) * 0.2 + 0.5).clamp(0, 1)


def _in_view(track: Track) -> float:
    """Share of the first frame the camera's way still shows on the last."""
    height, width = track.height, track.width
    moved = flow(pair(track.path, 0, -1), height, width)[0]
    x = torch.arange(width) + moved[..., 0]
    y = torch.arange(height)[:, None] + moved[..., 1]
    return float(((x >= 0) & (x < width) & (y >= 0) & (y < height)).float().mean())
