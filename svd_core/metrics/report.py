"""The clip report: motion, flicker, colour drift and loss of sharpness of a finished clip, the camera taken out.

This file decides what the four words mean. Everything is computed between successive frames laid over one another by
the measured track, at a working size of at most about 192 x 192 pixels; pairs the meter does not trust are left out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..camera.meter import Track, luma
from ..camera.path import displacement
from ..errors import InputError, explain
from ..types import Frames
from .colour import to_lab
from .stabilise import AlignedPairs, align_pairs

_CELLS = 8
_NO_ENERGY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipReport:
    """Numbers about one clip; all 0 (sharpness 1) for a clip in which nothing ever changes.

    `camera_motion`: mean length of the displacement the camera gives a pixel from one frame to the next, over all
    pixels and pairs, in % of the frame's width. `subject_motion`: what moves on top of it, as the displacement along
    the picture's gradient, `sum |difference| |gradient| / sum |gradient|^2` over the aligned pairs, same unit; exact
    for small motions of the whole picture, less than the truth beyond the size of the texture, never quite 0 under
    noise. `motion`: the sum of both.
    `flicker`: change of brightness that comes and goes, in % of full range: half the mean absolute change, from one
    pair to the next, of the brightness step in each of 8 x 8 parts of the frame. Frames brighter and darker by turns by
    d % give d; a steady fade gives 0.
    `colour_drift`: CIE 1976 difference (1 is about just visible) between the colours of the last and the first frame:
    the length of the sum, over the pairs, of the mean L*a*b* step of what both frames show.
    `sharpness`: gradient energy of the last frame over the first's, as the product over the pairs of the ratios within
    what both frames show, a zoom's stretch taken out; below 1 the clip softened.
    """

    motion: float
    camera_motion: float
    subject_motion: float
    flicker: float
    colour_drift: float
    sharpness: float

    def to_json(self) -> dict[str, float]:
        """The numbers by name."""
        return asdict(self)


def clip_report(frames: Frames, track: Track) -> ClipReport:
    """Report on a clip `T H W 3` whose camera was measured as `track`.

    Raises:
        InputError: the track was measured on a clip of another length.
    """
    if len(frames) != track.frames:
        raise InputError(
            explain(
                f"the track of a clip of {len(frames)} frames", f"{track.frames}", "Measure this clip and pass that."
            )
        )
    pairs = align_pairs(frames, track)
    camera, subject = _camera_motion(pairs), _subject_motion(pairs)
    return ClipReport(
        motion=camera + subject,
        camera_motion=camera,
        subject_motion=subject,
        flicker=_flicker(pairs),
        colour_drift=_colour_drift(pairs),
        sharpness=_sharpness(pairs),
    )


def _camera_motion(pairs: AlignedPairs) -> float:
    height, width = pairs.first.shape[-2:]
    return _mean(displacement(pairs.motion, height, width).norm(dim=-1)) * 100 / width


def _subject_motion(pairs: AlignedPairs) -> float:
    first, second = _grey(pairs.first), _grey(pairs.drawn_back)
    gradient = _gradient_energy(first).sqrt()
    seen = pairs.seen_later
    difference = second - first
    offset = (difference * seen).sum(dim=(1, 2), keepdim=True) / seen.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    energy = float((gradient**2 * seen).sum())
    if energy <= _NO_ENERGY:
        return 0.0
    return float(((difference - offset).abs() * gradient * seen).sum()) / energy * 100 / first.shape[-1]


def _flicker(pairs: AlignedPairs) -> float:
    step = (_grey(pairs.drawn_back) - _grey(pairs.first)) * pairs.seen_later
    share = F.adaptive_avg_pool2d(pairs.seen_later, _CELLS)
    cells = F.adaptive_avg_pool2d(step, _CELLS) / share.clamp(min=1e-6)
    following = pairs.starts.diff() == 1
    both = (share[1:] > 0.25) & (share[:-1] > 0.25) & following[:, None, None]
    return 50 * _mean((cells[1:] - cells[:-1]).abs()[both])


def _colour_drift(pairs: AlignedPairs) -> float:
    step = (to_lab(pairs.drawn_back) - to_lab(pairs.first)) * pairs.seen_later[:, None]
    return float((step.sum(dim=(2, 3)) / pairs.seen_later.sum(dim=(1, 2)).clamp(min=1)[:, None]).sum(dim=0).norm())


def _sharpness(pairs: AlignedPairs) -> float:
    before = _masked_energy(pairs.first, pairs.seen_later)
    # Zooming in by s spreads the same edge over s times the pixels.
    after = _masked_energy(pairs.second, pairs.seen_before) * torch.exp(pairs.motion.zoom / 50)
    return float(torch.where((before > _NO_ENERGY) & (after > _NO_ENERGY), after / before, 1.0).prod())


def _masked_energy(pictures: Tensor, mask: Tensor) -> Tensor:
    return (_gradient_energy(_grey(pictures)) * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp(min=1)


def _gradient_energy(grey: Tensor) -> Tensor:
    """Squared length of the central differences per pixel, `N H W`."""
    padded = F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across, down = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return (across**2 + down**2) / 4


def _grey(pictures: Tensor) -> Tensor:
    return luma(rearrange(pictures, "n c h w -> n h w c"))


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else 0.0
