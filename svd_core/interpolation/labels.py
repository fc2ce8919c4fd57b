"""Which motion each pixel of the two frames follows: one of the affine layers, or its own flow.

A pixel follows the motion that carries its colour to the same colour. Where it is hidden in the other frame none does:
it is then taken for the layer that explains most of the picture (a subject hides its background), unless that
layer explains nothing near it. Flat areas, where every motion fits, take the choice of their own colour's textured
borders, by an edge-avoiding a-trous filter (Dammertz et al. 2010) over the costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .layers import Layers, carry
from .resample import blur, inside, positions, read, resize, resize_moves
from .splat import fill

# Mean colour difference from which a motion counts as wrong, above what noise makes of right ones.
_WRONG = 0.06
_NOISE = 3.0
# Where a layer and the pixel's own flow agree to these pixels the layer, being exact, is taken: the flow, which can fit
# anything, must then fit better by the margin, in parts of the cost of a wrong motion.
_AGREE, _DIFFER = 0.1, 0.4
_MARGIN = 0.25
_LATER = 1e-3
# Pixels of disagreement between a flow and its way back.
_RETURN = 1.0
_FINE, _SOFT = 0.6, 0.5
_GUIDED = 2.0
_COLOUR = 0.05
_PASSES = 4
_NEARBY = 6


@dataclass(frozen=True, slots=True)
class Labels:
    """For one frame: `shares` `K+1 1 H W` in [0, 1], how far each pixel follows each layer and, last, its own flow;
    `flow` `1 2 H W`, that flow with unreliable places filled from around."""

    shares: Tensor
    flow: Tensor

    def enlarged(self, size: tuple[int, int]) -> Labels:
        """The same labels on a frame of another size."""
        return Labels(resize(self.shares, size), resize_moves(self.flow, size))


def label(first: Tensor, second: Tensor, flows: Tensor, layers: Layers) -> tuple[Labels, Labels]:
    """The labels of both frames `1 3 H W`, from their flows `2 2 H W` there and back and their layers."""
    there = _misfits(first, second, flows[:1], flows[1:], layers.maps)
    back = _misfits(second, first, flows[1:], flows[:1], torch.linalg.inv(layers.maps))
    limit = _WRONG + _NOISE * float(torch.cat((there.cost, back.cost)).amin(dim=0).median())
    one, two = there.limited(limit), back.limited(limit)
    if layers.still is not None:
        for costs in (one, two):
            costs[-1:] -= limit * layers.still
    behind = layers.back
    return _decide(first, there, one, two, limit, behind), _decide(second, back, two, one, limit, behind)


@dataclass(frozen=True, slots=True)
class _Misfits:
    """Of one frame: colour differences `cost` `K+1 1 H W` under each motion, `known` where it lands in frame, the
    places it lands, and the flow with its trust `1 1 H W`."""

    cost: Tensor
    known: Tensor
    places: Tensor
    flow: Tensor
    trust: Tensor

    def limited(self, limit: float) -> Tensor:
        """Costs of the layers, no more than wrong."""
        known = self.known[:-1] > 0
        return torch.where(known, self.cost[:-1].clamp(max=limit), limit)


def _misfits(near: Tensor, far: Tensor, flow: Tensor, back: Tensor, maps: Tensor) -> _Misfits:
    height, width = near.shape[-2:]
    here = positions(height, width, near)
    places = torch.cat((carry(maps, here), here + flow))
    known = inside(places, height, width)
    landed = read(far.expand(len(places), -1, -1, -1), places, "bicubic")
    cost = (landed - near).abs().mean(dim=1, keepdim=True)
    error = (flow + read(back, places[-1:])).norm(dim=1, keepdim=True)
    trust = known[-1:] / (1 + (error / _RETURN) ** 4)
    return _Misfits(cost=cost, known=known, places=places, flow=flow, trust=trust)


def _decide(near: Tensor, mine: _Misfits, costs: Tensor, others: Tensor, limit: float, back: bool) -> Labels:
    flow = fill(mine.flow, mine.trust)
    # Where the flow is not to be trusted its cost says nothing; such places, hidden mostly, go to what lies behind.
    home = _at_home(costs[:1], mine, limit) if back else torch.zeros_like(mine.trust)
    own = torch.lerp(limit * (0.85 + 0.3 * home), mine.cost[-1:].clamp(max=limit), mine.trust)
    if len(costs):
        # Only what lies behind may be hidden: any other must also be the best choice where it lands.
        rest = others - others.amin(dim=0, keepdim=True)
        penalty = read(rest, mine.places[:-1]) * mine.known[:-1]
        penalty[: int(back)] = 0
        order = _LATER * torch.arange(len(costs), device=near.device)[:, None, None, None]
        costs = torch.cat((costs + penalty + order, own + _MARGIN * limit * (1 - _apart(mine, flow))))
    else:
        costs = own
    smooth = blur(costs, _FINE) + _GUIDED * _along_colours(costs, near)
    chosen = F.one_hot(smooth.argmin(dim=0)[0], len(costs)).permute(2, 0, 1)[:, None].float()
    return Labels(shares=blur(chosen, _SOFT), flow=flow)


def _apart(mine: _Misfits, flow: Tensor) -> Tensor:
    """How clearly the pixels' own motion differs from the nearest layer's: `1 1 H W`, 0 to 1."""
    here = positions(flow.shape[-2], flow.shape[-1], flow)
    apart = blur(mine.places[:-1] - here - flow, 2.0).norm(dim=1, keepdim=True).amin(dim=0, keepdim=True)
    return ((apart - _AGREE) / (_DIFFER - _AGREE)).clamp(0, 1) * mine.trust


def _at_home(cost: Tensor, mine: _Misfits, limit: float) -> Tensor:
    """Whether the first layer explains part of what is trusted around a place: `1 1 H W`, 0 to 1."""
    height, width = cost.shape[-2:]
    small = (max(1, height // 8), max(1, width // 8))
    fits = mine.trust * (cost < limit / 2)
    around = blur(F.adaptive_avg_pool2d(torch.cat((fits, mine.trust), dim=1), small), _NEARBY / 2)
    share = around[:, :1] / around[:, 1:].clamp(min=1e-6)
    return resize((share * 5).clamp(0, 1), (height, width))


def _along_colours(costs: Tensor, guide: Tensor) -> Tensor:
    """Costs `K 1 H W` averaged over areas of like colour, at half the size."""
    size = (costs.shape[-2], costs.shape[-1])
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    values, colours = F.adaptive_avg_pool2d(costs, half), F.adaptive_avg_pool2d(guide, half)
    for step in (2**index for index in range(_PASSES)):
        around, shades = (F.pad(plane, (step,) * 4, mode="replicate") for plane in (values, colours))
        total, weight = values.clone(), torch.ones_like(colours[:, :1])
        for dy in (0, step, 2 * step):
            for dx in (0, step, 2 * step):
                if dy == dx == step:
                    continue
                window = (..., slice(dy, dy + half[0]), slice(dx, dx + half[1]))
                distance = (shades[window] - colours).abs().sum(dim=1, keepdim=True)
                near = torch.exp(distance * (-1 / _COLOUR)) * (0.7 if step in (dx, dy) else 0.5)
                total += near * around[window]
                weight += near
        values = total / weight
    return resize(values, size)
