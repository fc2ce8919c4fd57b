"""Successive frames laid over one another by the measured camera, so that what differs is not the camera's doing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..camera.meter import Track
from ..camera.path import CameraMotion, displacement
from ..types import Frames

_WORKING_AREA = 192**2


@dataclass(frozen=True, slots=True)
class AlignedPairs:
    """The N trusted pairs of a clip at a working size.

    `first` and `second` `N 3 H W` are the frames as they are, `drawn_back` `N 3 H W` is the second moved onto the
    first. `seen_later` and `seen_before` `N H W` in {0, 1} mark what of the first frame the second shows too, and the
    other way round. `starts` N holds the index of each first frame.
    """

    first: Tensor
    second: Tensor
    drawn_back: Tensor
    seen_later: Tensor
    seen_before: Tensor
    starts: Tensor
    motion: CameraMotion


def align_pairs(frames: Frames, track: Track) -> AlignedPairs:
    """Lay each trusted pair of frames over one another, reduced to about 192 x 192 pixels if larger."""
    pixels = _reduce(rearrange(frames.pixels.float(), "t h w c -> t c h w"))
    starts = track.trusted.nonzero().flatten()
    motion = _steps(track, starts, pixels)
    # The motion of a clip played backwards is the negated one.
    backwards = CameraMotion(pan=-motion.pan, tilt=-motion.tilt, zoom=-motion.zoom, roll=-motion.roll)
    first, second = pixels[starts], pixels[starts + 1]
    grid = _targets(motion, pixels)
    drawn_back = F.grid_sample(second, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return AlignedPairs(
        first, second, drawn_back, _inside(grid), _inside(_targets(backwards, pixels)), starts.to(pixels.device), motion
    )


def _reduce(pictures: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    ratio = math.sqrt(_WORKING_AREA / (height * width))
    if ratio >= 1:
        return pictures
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    return F.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False)


def _steps(track: Track, starts: Tensor, like: Tensor) -> CameraMotion:
    def pick(values: Tensor) -> Tensor:
        return values[starts].to(like)

    return CameraMotion(pan=pick(track.pan), tilt=pick(track.tilt), zoom=pick(track.zoom), roll=pick(track.roll))


def _targets(motion: CameraMotion, like: Tensor) -> Tensor:
    """Where each pixel's content goes, as `grid_sample` coordinates `N H W 2`."""
    height, width = like.shape[-2:]
    rest = F.affine_grid(torch.eye(2, 3).to(like)[None], [1, 1, height, width], align_corners=False)
    return rest + displacement(motion, height, width) * like.new_tensor([2 / width, 2 / height])


def _inside(grid: Tensor) -> Tensor:
    """Pixels that land in the frame, half a pixel of rounding allowed: at rest that is all of them."""
    return (grid.abs() <= 1).all(dim=-1).to(grid.dtype)
