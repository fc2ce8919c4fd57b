"""Affine layers: the few motions that explain most of a flow, and which of them each pixel follows.

A camera's pan, zoom or roll and a rigid subject are affine over large areas. Fitted over thousands of pixels such a
motion is exact to hundredths of a pixel, reaches beyond the frame and behind what hides it, and its course between the
frames is known: the real powers of the map, so that turns follow their arcs (a straight line over 9 degrees is
off by most of a pixel at the border of a 448 pixel frame).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .resample import gradient, inside, positions, read

_MOST_LAYERS = 8
_TILES = 4
# Pixels of misfit: the scale at which a flow counts half, coarse to fine.
_SCALES = (4.0, 2.0, 1.0, 0.5, 0.35, 0.35, 0.35)
_NEAR, _EXACT = 1.0, 0.25
# Of the flow within a pixel of a map, the part within a quarter: below it the motion is not affine, only smooth.
_TRULY_AFFINE = 0.6
# A layer must explain this share of the frame.
_LEAST_SHARE = 0.004
_MOST_OF_IT = 0.5
# Structure that stays: contrast a pixel, difference, share of the frame.
_STRUCTURE, _SAME_COLOUR, _LEAST_STILL = 0.1, 0.006, 0.0005
# Difference that is no more than sampling makes.
_LIKE_COLOUR = 0.02
# Pixels from which a flow is one.
_MOVING = 0.5
# Half the thickness of a title's strokes, pixels.
_STROKE = 16
# Pixels at the frame's corner.
_AT_REST, _MIXED = 0.05, 3.0
# Pixels of disagreement between a flow and its way back.
_RETURN = 0.3
_FIT_POINTS = 6000
_STEEPEST = 0.5
_LOG_TERMS = 24


@dataclass(frozen=True, slots=True)
class Layers:
    """Affine maps of one pair: `maps` `K 3 3` float64 carry a place of the first frame (pixels from the middle) to
    the second, those that explain most first. `back` says that the first explains most of the picture: it lies
    behind everything else. With `still` the last map is none, and lies in front where `still` `1 1 H W` is 1."""

    maps: Tensor
    back: bool
    still: Tensor | None = None

    def __len__(self) -> int:
        return len(self.maps)

    def between(self, start: float, end: float) -> Tensor:
        """The maps from time `start` to time `end`, 0 and 1 being the frames: `K 3 3`."""
        return torch.linalg.matrix_exp(_logarithms(self.maps) * (end - start)) if len(self) else self.maps

    def with_still(self, first: Tensor, second: Tensor, flow: Tensor) -> Layers:
        """With what stands still on a moving picture (titles, borders) as one more layer, in front of all.

        Seen as structure that is the same in both frames `1 3 H W` and that no motion, `flow` `1 2 H W` included,
        explains; too thin and too little for the fits.
        """
        same = (first - second).abs().amax(dim=1) < _SAME_COLOUR
        across, down = gradient(first)
        structure = (across.abs() + down.abs()).amax(dim=1) > _STRUCTURE
        still = torch.eye(3, dtype=self.maps.dtype, device=self.maps.device)[None]
        corner = max(first.shape[-2:]) / 2
        weight = self.maps.new_tensor([corner, corner, 1.0])
        away = [float(((one - still[0]).abs() * weight).sum()) for one in self.maps]
        if min([_NEAR, *away]) < _AT_REST or (self.back and away[0] <= _NEAR):
            return self
        # A fit that nearly stands still is titles and what moves behind them, mixed.
        others = [one for index, one in enumerate(self.maps) if away[index] > (_MIXED if index else _NEAR)]
        here = positions(first.shape[-2], first.shape[-1], first)
        moving = (flow.norm(dim=1, keepdim=True) > _MOVING).float()
        titles = (same & structure)[:, None].float() * (1 - moving * _explained(first, second, here + flow))
        if others:
            titles = titles * (1 - _explained(first, second, carry(torch.stack(others), here)))
        if titles.mean() < _LEAST_STILL:
            return self
        titles = _grown(titles, same[:, None].float())
        return Layers(torch.stack([*others, still[0]]), back=self.back, still=titles)


def _explained(first: Tensor, second: Tensor, places: Tensor) -> Tensor:
    """Where one of the places `K 2 H W` has the same colour: edges sliding along themselves look still and are not."""
    apart = (read(second.expand(len(places), -1, -1, -1), places) - first).abs().amax(dim=1, keepdim=True)
    return (apart.amin(dim=0, keepdim=True) < _LIKE_COLOUR).float()


def _grown(seeds: Tensor, same: Tensor) -> Tensor:
    """`seeds` spread through what is the same in both frames, as far as strokes of large titles are thick, and over
    the mixed colours of their edges: `1 1 H W`, 0 or 1."""
    for _ in range(_STROKE):
        seeds = F.max_pool2d(seeds, 3, 1, 1) * same
    return F.max_pool2d(seeds, 5, 1, 2)


def carry(maps: Tensor, places: Tensor) -> Tensor:
    """Places `1 2 H W` through maps `K 3 3` -> `K 2 H W` float32."""
    linear, offset = maps[:, :2, :2].float(), maps[:, :2, 2].float()
    return torch.einsum("kij,jhw->kihw", linear, places[0]) + offset[:, :, None, None]


def find_layers(there: Tensor, back: Tensor) -> Layers:
    """The affine motions of one pair from its flows `1 2 H W` to the second frame and back.

    Flows that do not lead back to where they began (hidden pixels, mistakes) have no say.
    """
    points, moves, weights = _correspondences(there, back)
    maps: list[Tensor] = []
    enough, left = _LEAST_SHARE * len(weights), weights
    back_share = 0.0
    for _ in range(_MOST_LAYERS):
        fitted = _fit(points, moves, left) if left.sum() > enough else None
        if fitted is None:
            break
        misfit = (_moves(fitted, points) - moves).norm(dim=1)
        near, exact = left * (misfit < _NEAR), left * (misfit < _EXACT)
        if near.sum() < enough:
            break
        if exact.sum() > _TRULY_AFFINE * near.sum():
            back_share = back_share if maps else float(exact.sum() / weights.sum())
            maps.append(fitted)
        left = left - near
    stacked = torch.stack(maps) if maps else points.new_zeros(0, 3, 2)
    return Layers(_as_matrices(stacked), back=back_share > _MOST_OF_IT)


def _correspondences(there: Tensor, back: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points `P 2` of the first frame, their moves `P 2` and trust `P`, from both directions alike, thinned out."""
    height, width = there.shape[-2:]
    here = positions(height, width, there)
    stride = max(1, round((height * width * 2 / _FIT_POINTS) ** 0.5))
    thin = slice(stride // 2, None, stride)
    rows: list[Tensor] = []
    for flow, other in ((there, back), (back, there)):
        landed = here + flow
        error = (flow + read(other, landed)).norm(dim=1, keepdim=True)
        trust = inside(landed, height, width) / (1 + (error / _RETURN) ** 4)
        ends = (here, flow) if flow is there else (landed, -flow)
        rows.append(torch.cat((*ends, trust), dim=1)[0, :, thin, thin].flatten(1).T.double())
    points, moves, trust = torch.cat(rows).split((2, 2, 1), dim=1)
    return points, moves, trust[:, 0]


def _fit(points: Tensor, moves: Tensor, weights: Tensor) -> Tensor | None:
    """The affine motion `3 2` with the most support, from a start in every tile; None where nothing fits."""
    reach = points.abs().amax(dim=0).clamp(min=1)
    tile = ((points / reach + 1) / 2 * _TILES).long().clamp(0, _TILES - 1)
    members = F.one_hot(tile[:, 1] * _TILES + tile[:, 0], _TILES**2).T.double() * weights
    members = members[members.sum(dim=1) > 0.02 * len(points) / _TILES**2]
    if not len(members):
        return None
    columns = torch.cat((points / reach, torch.ones_like(points[:, :1])), dim=1)
    # A tile may hold a border between motions: it starts from its median move, and the weights do the rest.
    starts = torch.stack([_median(moves, member) for member in members])
    models = torch.zeros(len(members), 3, 2, dtype=points.dtype, device=points.device)
    models[:, 2] = starts
    for index, scale in enumerate(_SCALES):
        misfit = (columns @ models - moves).norm(dim=2)
        trust = (members if index < 2 else weights) / (1 + (misfit / scale) ** 2) ** 2
        models = _least_squares(columns, moves, trust, models)
    misfit = (columns @ models - moves).norm(dim=2)
    support = (weights / (1 + (misfit / 0.5) ** 2) ** 2).sum(dim=1)
    steep = (models[:, :2] / reach[:, None]).abs().amax(dim=(1, 2)) > _STEEPEST
    best = models[support.masked_fill(steep, -1).argmax()]
    return torch.cat((best[:2] / reach[:, None], best[2:]))


def _median(moves: Tensor, weights: Tensor) -> Tensor:
    """Weighted median of each component, `2`."""
    order = moves.argsort(dim=0)
    mass = weights[order].cumsum(dim=0)
    place = (mass < mass[-1:] / 2).sum(dim=0, keepdim=True).clamp(max=len(moves) - 1)
    return moves.gather(0, order).gather(0, place)[0]


def _least_squares(columns: Tensor, moves: Tensor, weights: Tensor, before: Tensor) -> Tensor:
    """Weighted affine fits `K 3 2`, held near `before` where the points lie on a line."""
    weighted = columns[None] * weights[..., None]
    normal = weighted.mT @ columns
    hold = torch.eye(3, dtype=columns.dtype, device=columns.device) * (1e-6 * weights.sum(dim=1) + 1e-9)[:, None, None]
    return before + torch.linalg.solve(normal + hold, weighted.mT @ (moves - columns @ before))


def _moves(model: Tensor, points: Tensor) -> Tensor:
    return points @ model[:2] + model[2]


def _as_matrices(models: Tensor) -> Tensor:
    matrices = torch.eye(3, dtype=torch.float64, device=models.device).repeat(len(models), 1, 1)
    matrices[:, :2, :2] += models[:, :2].mT
    matrices[:, :2, 2] = models[:, 2]
    return matrices


def _logarithms(maps: Tensor) -> Tensor:
    """log(I + E) by its series, which converges for the gentle maps that are admitted."""
    excess = maps - torch.eye(3, dtype=maps.dtype, device=maps.device)
    power, total = excess, excess.clone()
    for term in range(2, _LOG_TERMS + 1):
        power = power @ excess
        total += power * ((-1) ** (term + 1) / term)
    return total
