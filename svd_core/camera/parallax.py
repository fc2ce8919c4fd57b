"""Views of a picture from another place: with a depth image, near things pass faster than far ones.

This file decides the geometry of truck, pedestal, dolly and orbit, and how the moved pixels are drawn: thrown forward,
the nearer covering the farther (softly: Niklaus and Liu 2020, arXiv:2003.05534), gaps filled from what lies behind
them. Depth is as common estimators give it: white is near, black far, in equal steps of 1 / distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError, explain
from .path import CameraMotion, CameraPath, integrate
from .presets import FIELD_OF_VIEW

DEPTH_RANGE = 4.0
"""How much farther black is than white."""

_PERCENT, _DEGREE = 0.01, math.pi / 180
# Samples of the picture a pixel of a view, along each side: closes the gaps of a picture that grows.
_SAMPLES = 2
# How firmly the nearer covers: a tenth of the depth range in front hides 98 %.
_COVERING = 40.0
# Steps in depth that belong to an outline: samples on them hang between the two sides and are left out.
_OUTLINE, _SLOPE = 0.15, 0.1
_COVERED = 0.3
_NOTHING = 1e-30
# Parts of the picture mirrored outside of it, on each side, for what the move brings in.
_MARGIN = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Travel:
    """How the camera's place changes from frame to frame, four tensors `T-1`; only depth shows it.

    truck, pedestal: to the right and up, in % of the frame's width and height by which the nearest things move.
    dolly: forward, % on the log scale by which they grow. orbit: to the right round the subject, degrees.
    """

    truck: Tensor
    pedestal: Tensor
    dolly: Tensor
    orbit: Tensor


def nearness(depth: Tensor, height: int, width: int) -> Tensor:
    """A depth image `H W`, `1 H W`, `H W C` or `1 H W C` of any size and range -> `height width` in [0, 1], 1 is near.

    Raises:
        InputError: another shape, not finite, or one value throughout, in which there is no depth.
    """
    plane = depth.detach().float()
    plane = plane.mean(dim=-1) if plane.ndim == 4 or (plane.ndim == 3 and plane.shape[-1] <= 4) else plane
    plane = plane[0] if plane.ndim == 3 and len(plane) == 1 else plane
    if plane.ndim != 2 or not bool(plane.isfinite().all()):
        expected = "one depth image of finite values"
        raise InputError(explain(expected, f"shape {tuple(depth.shape)}", "Wire in a single picture, white is near."))
    low, high = plane.min(), plane.max()
    if float(high - low) <= 1e-6:
        remedy = "Use the output of a depth estimator, or none: the move is then planar."
        raise InputError(explain("a depth image with near and far in it", "one value throughout", remedy))
    scaled = ((plane - low) / (high - low))[None, None]
    return F.interpolate(scaled, (height, width), mode="bilinear", antialias=True, align_corners=False)[0, 0]


def render_parallax(
    image: Tensor, near: Tensor, travel: Travel, motion: CameraMotion, *, depth_range: float = DEPTH_RANGE
) -> Tensor:
    """Draw the views of a camera that travels and turns over a picture with depth.

    Args:
        image: `3 H W` in [0, 1]; the views have its size. near: `H W` in [0, 1] (`nearness`).
        travel, motion: steps `T-1` of both kinds; the first view is the picture.

    Returns:
        `T 3 H W` float32.
    """
    height, width = image.shape[-2:]
    cloud = _cloud(image.float(), near.to(image.device), depth_range)
    path = integrate(motion, height, width)
    places = [_summed(steps) for steps in (travel.truck, travel.pedestal, travel.dolly, travel.orbit)]
    views = [image.float()]
    for frame in range(1, path.frames):
        truck, pedestal, dolly, orbit = (float(place[frame]) for place in places)
        seen = _travelled(cloud, truck, pedestal, dolly, orbit)
        x, y = _turned(seen, path, frame, height, width)
        views.append(_draw(cloud, x, y, height, width))
    return torch.stack(views)


@dataclass(frozen=True, slots=True)
class _Cloud:
    """Samples of a picture in space: colours `3 N`, place `x y z` each `N` (z of white is 1), weight `N`.

    x and y are already times the focal length, so that a point is seen at `x / z`, in pixels from the centre.
    """

    colours: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    weight: Tensor
    focal: float
    width: int
    height: int
    pivot: float


def _cloud(image: Tensor, near: Tensor, depth_range: float) -> _Cloud:
    height, width = image.shape[-2:]
    margin = [round(_MARGIN * side) for side in (width, height)]
    both = torch.cat((image, near[None]))[None]
    padded = F.pad(both, (margin[0], margin[0], margin[1], margin[1]), mode="reflect")
    dense = F.interpolate(padded, scale_factor=_SAMPLES, mode="bilinear", align_corners=False)[0]
    inverse = (1 + dense[3] * (depth_range - 1)) / depth_range
    rows, columns = dense.shape[-2:]
    x = (torch.arange(columns, device=image.device) + 0.5) / _SAMPLES - margin[0] - width / 2
    y = (torch.arange(rows, device=image.device) + 0.5) / _SAMPLES - margin[1] - height / 2
    z = 1 / inverse
    middle = near[height // 3 : -(height // 3) or None, width // 3 : -(width // 3) or None]
    return _Cloud(
        colours=dense[:3].flatten(1),
        x=(x[None, :] * z).flatten(),
        y=(y[:, None] * z).flatten(),
        z=z.flatten(),
        weight=_solid(dense[3]).flatten(),
        focal=width / 2 / math.tan(FIELD_OF_VIEW / 2 * _DEGREE),
        width=width,
        height=height,
        pivot=depth_range / (1 + float(middle.median()) * (depth_range - 1)),
    )


def _solid(near: Tensor) -> Tensor:
    """1 for samples that lie on a surface, 0 for those on the slope between two of them."""
    high, low = F.max_pool2d(near[None], 3, 1, 1)[0], -F.max_pool2d(-near[None], 3, 1, 1)[0]
    step = high - low
    between = (near - low > _SLOPE * step) & (high - near > _SLOPE * step)
    return 1 - ((step > _OUTLINE) & between).float()


def _travelled(
    cloud: _Cloud, truck: float, pedestal: float, dolly: float, orbit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The cloud as seen from elsewhere: x and y times the focal length, and z."""
    right = truck * _PERCENT * cloud.width
    down = -pedestal * _PERCENT * cloud.height
    forward = 1 - math.exp(-dolly * _PERCENT)
    x, y, z = cloud.x - right, cloud.y - down, cloud.z - forward
    if orbit == 0:
        return x, y, z
    # The camera goes right round the pivot and turns left by as much, so the pivot stays in the middle.
    angle, beyond = orbit * _DEGREE, z - cloud.pivot
    turned_x = math.cos(angle) * x + math.sin(angle) * beyond * cloud.focal
    turned_z = -math.sin(angle) * x / cloud.focal + math.cos(angle) * beyond
    return turned_x, y, turned_z + cloud.pivot


def _turned(
    seen: tuple[Tensor, Tensor, Tensor], path: CameraPath, frame: int, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Where the points are seen after the planar part, in pixels from the upper left corner."""
    x, y, z = seen
    behind = z < 0.05
    z = z.clamp(min=0.05)
    scale = float(path.scale[frame])
    angle = -float(path.roll[frame]) * _DEGREE
    across = x / z - float(path.pan[frame]) * _PERCENT * width
    down = y / z + float(path.tilt[frame]) * _PERCENT * height
    seen_x = scale * (math.cos(angle) * across - math.sin(angle) * down)
    seen_y = scale * (math.sin(angle) * across + math.cos(angle) * down)
    far_away = torch.full_like(seen_x, -1e6)
    return torch.where(behind, far_away, seen_x + width / 2 - 0.5), seen_y + height / 2 - 0.5


def _draw(cloud: _Cloud, x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """Throw the points onto `3 height width`; each lands on the four pixels around it."""
    left, top = x.floor(), y.floor()
    front = torch.exp(_COVERING * (1 / cloud.z - 1))
    values = torch.cat((cloud.colours, (1 / cloud.z)[None], torch.ones_like(cloud.z)[None]))
    # Colours, nearness and 1 are weighted by what covers what; the last row is bare coverage.
    total = torch.zeros(6, height * width, device=x.device)
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = left + dx, top + dy
            share = (1 - (x - column).abs()) * (1 - (y - row).abs()) * cloud.weight
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index = (row * width + column)[inside].long()
            part = share[inside]
            weighted = values[:, inside] * (part * front[inside])
            total.index_add_(1, index, torch.cat((weighted, part[None])))
    covered = total[5] >= _COVERED
    drawn = total[:4] / total[4].clamp(min=_NOTHING)
    known = torch.where(covered, torch.exp(-_COVERING / 4 * drawn[3]), 0.0)
    return _filled(drawn[:3].view(3, height, width), known.view(height, width))[0].clamp(0, 1)


def _filled(picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Gaps (weight 0) from their surroundings at the finest scale that has any, and the weights by which that was."""
    if bool((known > 0).all()):
        return picture, known
    height, width = known.shape
    if min(height, width) == 1:
        mean = (picture * known).sum(dim=(1, 2), keepdim=True) / known.sum().clamp(min=_NOTHING)
        return torch.where(known > 0, picture, mean), known.clamp(min=_NOTHING)
    size = ((height + 1) // 2, (width + 1) // 2)
    weight = F.adaptive_avg_pool2d(known[None], size)
    colours = F.adaptive_avg_pool2d(picture * known, size) / weight.clamp(min=_NOTHING)
    coarse, trust = _filled(colours, weight[0])
    # Weighted on the way up as well: the edge of what stands in front must not bleed into what it uncovers.
    both = torch.cat((coarse * trust, trust[None]))
    spread = F.interpolate(both[None], (height, width), mode="bilinear", align_corners=False)[0]
    behind, behind_weight = spread[:3] / spread[3].clamp(min=_NOTHING), spread[3]
    return torch.where(known > 0, picture, behind), torch.where(known > 0, known, behind_weight.clamp(min=_NOTHING))


def _summed(steps: Tensor) -> Tensor:
    return torch.cat((steps.new_zeros(1), steps.cumsum(dim=0)))
