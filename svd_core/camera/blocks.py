"""A first guess of the background's motion: where small blocks went, and what similarity most of them agree on.

This file decides only the start of `registration`, to within a pixel of a small copy. Each block is matched on its own
over the whole search range, so neither a large motion nor a moving subject can trap it; the vote counts area, not
contrast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_BLOCK = 16
_STRIDE = 8
# Two blocks a side: fewer define no turn.
SMALLEST_SIDE = _BLOCK + _STRIDE
# Share of the frame a block may move between two frames.
_REACH = 0.12
# A block agrees with a motion to about a pixel: matches are whole pixels, and blocks also turn and grow.
_AGREEMENT = 0.8
_POLISH = 5
_EFFORT = 0.01
# The frame's centre counts this much, its corners 1.
_MIDDLE = 0.4


@dataclass(frozen=True, slots=True)
class BlockMatches:
    """Complex positions and targets of K blocks in N pairs, `N K`, in pixels from the centre, and trust in [0, 1]."""

    position: Tensor
    target: Tensor
    trust: Tensor


def guess(first: Tensor, second: Tensor) -> Tensor:
    """Candidate motions of N pairs of small grey pictures `N H W`: `N 3 2` complex, content goes from z to `m z + c`.

    The first is what most of the area does, the second what most of the rest does, the third is rest. Coordinates are
    pixels from the centre, x + i y, y down.
    """
    found = match_blocks(first, second)
    prior = edge_prior(found.position.real * (2 / first.shape[-1]), found.position.imag * (2 / first.shape[-2]))
    matches = BlockMatches(found.position, found.target, found.trust * prior)
    winner = _vote(matches)
    rest = BlockMatches(matches.position, matches.target, matches.trust * (1 - _agreement(matches, winner)))
    still = torch.zeros_like(winner)
    still[:, 0] = 1
    return torch.stack((winner, _vote(rest), still), dim=1)


def edge_prior(x: Tensor, y: Tensor) -> Tensor:
    """Weight of a place in the vote for the background, x and y in [-1, 1]: subjects stand in the middle."""
    return _MIDDLE + (1 - _MIDDLE) * (x**2 + y**2) / 2


def match_blocks(first: Tensor, second: Tensor) -> BlockMatches:
    """Move each block of the first picture over the second to where the difference varies least, in whole pixels."""
    height, width = first.shape[-2:]
    reach_y, reach_x = max(1, math.ceil(_REACH * height)), max(1, math.ceil(_REACH * width))
    padded = F.pad(second, (reach_x, reach_x, reach_y, reach_y))
    costs: list[Tensor] = []
    for dy in range(2 * reach_y + 1):
        windows = rearrange(padded[:, dy : dy + height].unfold(2, width, 1), "n h s w -> n s h w")
        costs.append(_block_variance(windows - first[:, None]))
    texture = _block_variance(first[:, None])
    cost = torch.stack(costs, dim=1) + texture[:, None] * _effort(reach_y, reach_x, first)
    left, top = _corners(width, first), _corners(height, first)
    cost = cost.masked_fill(_outside(top, reach_y, height)[:, None, :, None], math.inf)
    cost = cost.masked_fill(_outside(left, reach_x, width)[None, :, None, :], math.inf)
    least, index = rearrange(cost, "n dy dx r c -> n (r c) (dy dx)").min(dim=-1)
    span = 2 * reach_x + 1
    shift = torch.complex((index % span - reach_x).to(first.dtype), (index // span - reach_y).to(first.dtype))
    middle_x, middle_y = left + (_BLOCK - width) / 2, top + (_BLOCK - height) / 2
    position = torch.complex(middle_x.expand(len(top), -1), middle_y[:, None].expand(-1, len(left))).flatten()
    trust = _trust(texture[:, 0].flatten(1), least)
    return BlockMatches(position.expand_as(shift), position + shift, trust)


def _effort(reach_y: int, reach_x: int, like: Tensor) -> Tensor:
    """A little cost for going far, `dy dx 1 1`: among the equal matches of a repeating pattern the nearest is meant."""
    y = torch.arange(-reach_y, reach_y + 1, device=like.device, dtype=like.dtype)[:, None] / reach_y
    x = torch.arange(-reach_x, reach_x + 1, device=like.device, dtype=like.dtype) / reach_x
    return _EFFORT * (x**2 + y**2)[:, :, None, None]


def _trust(texture: Tensor, unexplained: Tensor) -> Tensor:
    """Part of a block's variance its match explains; a block flatter than the 8-bit step says nothing."""
    return (1 - unexplained / texture.clamp(min=1e-12)).clamp(0, 1) * (texture > (1 / 255) ** 2)


def _vote(matches: BlockMatches) -> Tensor:
    """The similarity with most trusted blocks behind it among those any two blocks define, polished; `N 2` complex."""
    count = matches.position.shape[1]
    one, two = torch.triu_indices(count, count, 1, device=matches.position.device)
    z, w = matches.position, matches.target
    turn = (w[:, one] - w[:, two]) / (z[:, one] - z[:, two])
    candidates = torch.stack((turn, w[:, one] - turn * z[:, one]), dim=-1)
    votes = torch.stack([_support(BlockMatches(*pair), motion) for *pair, motion in _pairs(matches, candidates)])
    best = candidates.gather(1, votes.argmax(dim=1)[:, None, None].expand(-1, 1, 2))[:, 0]
    for _ in range(_POLISH):
        best = _fit(matches, matches.trust * _agreement(matches, best), best)
    return best


def _pairs(matches: BlockMatches, candidates: Tensor) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """One pair of pictures at a time: candidates times blocks is large."""
    return list(zip(matches.position, matches.target, matches.trust, candidates, strict=True))


def _support(matches: BlockMatches, motions: Tensor) -> Tensor:
    """Trusted area behind each of M motions of one pair, `M`."""
    error = (motions[:, :1] * matches.position + motions[:, 1:] - matches.target).abs() / _AGREEMENT
    return (matches.trust / (1 + error**4)).sum(dim=-1)


def _agreement(matches: BlockMatches, motion: Tensor) -> Tensor:
    error = (motion[:, :1] * matches.position + motion[:, 1:] - matches.target).abs() / _AGREEMENT
    return 1 / (1 + error**4)


def _fit(matches: BlockMatches, weight: Tensor, fallback: Tensor) -> Tensor:
    """Weighted least squares for `m z + c`; too few blocks leave the fallback."""
    total = weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
    z_mean = (weight * matches.position).sum(dim=1, keepdim=True) / total
    w_mean = (weight * matches.target).sum(dim=1, keepdim=True) / total
    z, w = matches.position - z_mean, matches.target - w_mean
    spread = (weight * z.abs() ** 2).sum(dim=1, keepdim=True)
    turn = (weight * z.conj() * w).sum(dim=1, keepdim=True) / spread.clamp(min=1e-6)
    enough = (total > 1) & (spread > _BLOCK**2)
    return torch.where(enough, torch.cat((turn, w_mean - turn * z_mean), dim=1), fallback)


def _block_variance(pictures: Tensor) -> Tensor:
    """Variance in every block: `N S H W` -> `N S rows columns`."""
    mean = F.avg_pool2d(pictures, _BLOCK, _STRIDE)
    return (F.avg_pool2d(pictures**2, _BLOCK, _STRIDE) - mean**2).clamp(min=0)


def _corners(side: int, like: Tensor) -> Tensor:
    return torch.arange(0, side - _BLOCK + 1, _STRIDE, device=like.device, dtype=like.dtype)


def _outside(start: Tensor, reach: int, side: int) -> Tensor:
    """Which shifts push which block over the edge, `2 reach + 1, blocks`."""
    moved = start + torch.arange(-reach, reach + 1, device=start.device, dtype=start.dtype)[:, None]
    return (moved < 0) | (moved > side - _BLOCK)
