"""Robust alignment of picture pairs by a similarity: which one carries the first picture's background to the second's.

This file decides the method: a start from matched blocks, then direct Gauss-Newton steps from coarse to fine (the
efficient second-order minimisation of Benhimane and Malis 2004) under Geman-McClure weights. Their scale is the noise
plus a registration error in pixels, so that what moves otherwise drops out whatever its contrast. Units of the track,
signs and verdicts are `meter`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from .blocks import SMALLEST_SIDE, edge_prior, guess

_START_AREA = 80**2
_FINE_AREA = 320**2
# Registration error that still counts as background, in pixels of the level, iteration by iteration.
_START_TOLERANCES = (1.0, 0.8, 0.7, 0.55, 0.45, 0.4, 0.3, 0.25)
_FINER_TOLERANCES = (1.0, 0.6, 0.4, 0.25)
_EIGHT_BIT_STEP = 1 / 255
_NEIGHBOURHOOD = 5
_STRICTNESS = 3.0
# A least-squares step may not be led by gain and offset alone where the picture has no gradient.
_DAMPING = 1e-6
_COST_TOLERANCE = 0.5
_LEAST_OVERLAP = 0.5
_EFFORT = 0.1
# Standard deviation in half widths: stripes or a sky's gradient leave one direction open.
_UNCERTAIN = 0.005
# Along the shorter side.
_JUDGED_BLOCKS = 16
_TEXTURED_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How N pairs align.

    `motion` N 4 is (a, b, x, y): a point (u, v) of the first picture, in half widths from the centre with y down,
    lies at `(a u - b v + x, b u + a v + y)` in the second. `explained` N is the share in [0, 1] of the first picture's
    texture found again in the second, 0 where there is too little texture to fix all four numbers. `residual` N is the
    root mean square difference of the aligned pair, in the pictures' range.
    """

    motion: Tensor
    explained: Tensor
    residual: Tensor


def register(first: Tensor, second: Tensor) -> Registration:
    """Align N pairs of grey float32 pictures `N H W` in [0, 1], both sides at least 24 pixels.

    Sees motions up to 12 % of a side and some 10 % of zoom and 10 degrees of roll between the two.
    """
    aspect = first.shape[-2] / first.shape[-1]
    sizes = level_sizes(first.shape[-2], first.shape[-1])
    levels = [(resize(first, size), resize(second, size)) for size in sizes]
    motion = _start(*levels[0], aspect)
    for level in levels[1:]:
        motion = _refine(*level, motion, aspect, _FINER_TOLERANCES)
    explained, residual = _judge(*levels[-1], motion, aspect)
    return Registration(motion=motion, explained=explained, residual=residual)


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes (height, width) from coarse to fine, at most a factor 2 apart, never above the pictures' own."""
    area = height * width
    fine, coarse = min(area, _FINE_AREA), min(area, _START_AREA)
    steps = math.ceil(math.log2(fine / coarse) / 2)
    ratios = [math.sqrt(coarse / area * (fine / coarse) ** (step / max(1, steps))) for step in range(steps + 1)]
    return [(max(SMALLEST_SIDE, round(height * ratio)), max(SMALLEST_SIDE, round(width * ratio))) for ratio in ratios]


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased copy `N h w` of `N H W`; as it is where the size is already right."""
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    return F.interpolate(pictures[:, None], size=size, mode="bilinear", antialias=True, align_corners=False)[:, 0]


def _start(first: Tensor, second: Tensor, aspect: float) -> Tensor:
    """The best of the guessed motions after refinement, `N 4`."""
    candidates = rearrange(torch.view_as_real(guess(first, second)), "n k c part -> n k (c part)")
    unit = candidates.new_tensor([1.0, 1.0, 2 / first.shape[-1], 2 * aspect / first.shape[-2]])
    many = candidates.shape[1]
    firsts, seconds = repeat(first, "n h w -> (n k) h w", k=many), repeat(second, "n h w -> (n k) h w", k=many)
    refined = _refine(firsts, seconds, rearrange(candidates * unit, "n k p -> (n k) p"), aspect, _START_TOLERANCES)
    best = _cost(firsts, seconds, refined, aspect, many).argmin(dim=1)
    return rearrange(refined, "(n k) p -> n k p", k=many)[torch.arange(len(first), device=first.device), best]


def _refine(first: Tensor, second: Tensor, start: Tensor, aspect: float, tolerances: tuple[float, ...]) -> Tensor:
    """Gauss-Newton steps from the motions `start` `N 4` at one level, one a tolerance."""
    motion = start
    u, v = _coordinates(first, aspect)
    prior = edge_prior(u, v / aspect)
    still = _gradient(first)
    per_unit = first.shape[-1] / 2, first.shape[-2] / (2 * aspect)
    for tolerance in tolerances:
        warped, inside = _warp(second, motion, u, v, aspect)
        residual = warped - first
        across, down = ((mine + theirs) / 2 for mine, theirs in zip(still, _gradient(warped), strict=True))
        misfit = _misfit(residual, across**2 + down**2, inside, _noise(residual, inside), tolerance)
        weight = inside * prior / (1 + misfit) ** 2
        columns = _columns(first, across * per_unit[0], down * per_unit[1], u, v)
        normal = _normal(columns, weight)
        target = (columns * weight[:, None]).flatten(2) @ residual.flatten(1)[..., None]
        motion = _compose(motion, -torch.linalg.solve(normal, target)[:, :4, 0])
    return motion


def _columns(first: Tensor, across: Tensor, down: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """How the picture changes with (a, b, x, y), and with gain and offset, for flicker is no motion: `N 6 H W`."""
    ones = torch.ones_like(first)
    return torch.stack((across * u + down * v, down * u - across * v, across, down, first - 0.5, ones), dim=1)


def _normal(columns: Tensor, weight: Tensor) -> Tensor:
    """The normal matrix `N 6 6` of weighted least squares, damped so that an empty picture can be solved too."""
    matrix = columns.flatten(2)
    normal = (matrix * weight.flatten(1)[:, None]) @ matrix.mT
    damping = _DAMPING * normal.diagonal(dim1=1, dim2=2).amax(dim=1, keepdim=True) + 1e-9
    return normal + torch.diag_embed(damping.expand(-1, normal.shape[1]))


def _compose(motion: Tensor, step: Tensor) -> Tensor:
    """The motion that first makes the small step (a - 1, b, x, y), then `motion`; both `N 4`."""
    a, b, x, y = motion.unbind(dim=1)
    da, db, dx, dy = step[:, 0] + 1, step[:, 1], step[:, 2], step[:, 3]
    return torch.stack((a * da - b * db, b * da + a * db, a * dx - b * dy + x, b * dx + a * dy + y), dim=1)


def _coordinates(pictures: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """Pixel centres in half widths from the picture's centre, `H W` each; `aspect` is the true height over width."""
    height, width = pictures.shape[-2:]
    u = (torch.arange(width, device=pictures.device, dtype=pictures.dtype) + 0.5) * (2 / width) - 1
    v = (torch.arange(height, device=pictures.device, dtype=pictures.dtype) + 0.5) * (2 / height) - 1
    return u.expand(height, width), (v * aspect)[:, None].expand(height, width)


def _warp(pictures: Tensor, motion: Tensor, u: Tensor, v: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """The pictures drawn back along the motion, and a mask of the pixels that are safely inside both, `N H W` each."""
    a, b, x, y = (value[:, None, None] for value in motion.unbind(dim=1))
    grid = torch.stack((a * u - b * v + x, (b * u + a * v + y) / aspect), dim=-1)
    warped = F.grid_sample(pictures[:, None], grid, mode="bicubic", padding_mode="border", align_corners=False)[:, 0]
    # Two pixels: the reach of the cubic and of the gradient.
    margin = grid.new_tensor([4 / pictures.shape[-1], 4 / pictures.shape[-2]])
    inside = F.pad(torch.ones_like(u[2:-2, 2:-2]), (2, 2, 2, 2)) * (grid.abs() < 1 - margin).all(dim=-1)
    return warped, inside


def _gradient(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences per pixel, `N H W` each."""
    padded = F.pad(pictures[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def _noise(residual: Tensor, inside: Tensor) -> Tensor:
    """Robust standard deviation of the residual, `N 1 1`, never below half an 8-bit step."""
    deviation = torch.where(inside > 0, residual.abs(), torch.nan).flatten(1)
    median = deviation[:, ::3].nanmedian(dim=1).values
    return (1.4826 * median.nan_to_num(1.0) + _EIGHT_BIT_STEP / 2)[:, None, None]


def _misfit(residual: Tensor, slope: Tensor, inside: Tensor, noise: Tensor, tolerance: float) -> Tensor:
    """How little the motion suits a place, `N H W`: 0 and up, about 1 where doubt begins.

    The residual's energy around the place beyond the noise, over what noise and a registration error of `tolerance`
    pixels explain; `slope` is the squared gradient per pixel. A neighbourhood, because one pixel of a subject looks
    like noise and a patch of it does not.
    """
    energies = torch.stack((residual**2, slope), dim=1) * inside[:, None]
    around, slope_around = F.avg_pool2d(energies, _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2).unbind(dim=1)
    return _STRICTNESS * (around - noise**2).clamp(min=0) / (noise**2 + tolerance**2 * slope_around)


def _cost(first: Tensor, second: Tensor, motion: Tensor, aspect: float, many: int) -> Tensor:
    """Share of the frame each of `many` motions of a pair leaves unexplained, `N K`, all by the same measure."""
    u, v = _coordinates(first, aspect)
    warped, inside = _warp(second, motion, u, v, aspect)
    residual = warped - first
    noise = rearrange(_noise(residual, inside), "(n k) h w -> n k h w", k=many).amin(dim=1)
    noise = repeat(noise, "n h w -> (n k) h w", k=many)
    across, down = _gradient(first)
    ratio = residual**2 / (noise**2 + _COST_TOLERANCE**2 * (across**2 + down**2))
    area = inside * edge_prior(u, v / aspect)
    cost = (ratio / (1 + ratio) * area).sum(dim=(1, 2)) / area.sum(dim=(1, 2)).clamp(min=1)
    # Of the equal shifts of a repeating pattern the shortest is meant.
    cost = cost + _EFFORT * motion[:, 2:].square().sum(dim=1)
    # A motion that leaves the frame explains the little that stays as well as it likes.
    cost = cost.masked_fill(inside.mean(dim=(1, 2)) < _LEAST_OVERLAP, math.inf)
    return rearrange(cost, "(n k) -> n k", k=many)


def _judge(first: Tensor, second: Tensor, motion: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """Share of the texture explained and root mean square difference of the aligned pairs, `N` each."""
    u, v = _coordinates(first, aspect)
    warped, inside = _warp(second, motion, u, v, aspect)
    residual = warped - first
    rms = ((residual**2 * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)).sqrt()
    block = max(6, min(first.shape[-2:]) // _JUDGED_BLOCKS)
    share = F.avg_pool2d(inside, block, block // 2)
    texture, left = _block_variance(first, inside, block), _block_variance(residual, inside, block)
    usable = (texture > _EIGHT_BIT_STEP**2) & (share > 0.5)
    explained = (1 - left / texture.clamp(min=1e-12)).clamp(0, 1) * usable
    # A picture textured in one corner only is not to be trusted like one that is textured all over.
    least = _TEXTURED_SHARE * usable[0].numel()
    share_explained = explained.sum(dim=(1, 2)) / usable.sum(dim=(1, 2)).clamp(min=least)
    noise = _noise(residual, inside)
    across, down = _gradient(first)
    columns = _columns(first, across * (first.shape[-1] / 2), down * (first.shape[-2] / (2 * aspect)), u, v)
    spread = torch.linalg.inv(_normal(columns, inside)).diagonal(dim1=1, dim2=2)[:, :4].amax(dim=1).sqrt()
    sure = (spread * noise[:, 0, 0] < _UNCERTAIN) & (inside.mean(dim=(1, 2)) > _LEAST_OVERLAP)
    return share_explained * sure, rms


def _block_variance(pictures: Tensor, inside: Tensor, block: int) -> Tensor:
    share = F.avg_pool2d(inside, block, block // 2).clamp(min=1e-6)
    mean = F.avg_pool2d(pictures * inside, block, block // 2) / share
    return F.avg_pool2d(pictures**2 * inside, block, block // 2) / share - mean**2
