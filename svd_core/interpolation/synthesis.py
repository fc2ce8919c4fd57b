"""A frame between two frames: motion found once for the pair, then drawn at any time.

Each layer is read from both frames along its own course and weighed by who still sees it; layers are laid over one
another, the most common motion at the back and free motion in front.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .flow import both_flows
from .labels import Labels, label
from .layers import Layers, carry, find_layers
from .light import Light
from .resample import inside, positions, read
from .splat import fill, splat

# A share of the frame below which a motion is not drawn.
_NOTHING = 2e-4
_FAINT = 1e-3
_DOUBTFUL = 0.03
# Pixels between a flow and the motion looked for, at which they no longer are the same.
_SAME = 1.0


@dataclass(frozen=True, slots=True)
class PairMotion:
    """What moves how between two frames `1 3 H W`; enough to draw any time between them."""

    layers: Layers
    first: Labels
    second: Labels
    light: Light

    def share(self, index: int) -> float:
        """Part of the frames that follows a layer, or its own flow at index K."""
        return float((self.first.shares[index].mean() + self.second.shares[index].mean()) / 2)


def find_motion(first: Tensor, second: Tensor) -> PairMotion:
    """The motion between two frames `1 3 H W`, float32 in [0, 1]."""
    flows, light = both_flows(first, second)
    second = light.undone(second)
    layers = find_layers(flows[:1], flows[1:]).with_still(first, second)
    return PairMotion(layers, *label(first, second, flows, layers), light)


def draw(first: Tensor, second: Tensor, motion: PairMotion, time: float) -> Tensor:
    """The frame `1 C H W` at `time` in (0, 1) between frames `1 C H W` of any number of channels."""
    height, width = first.shape[-2:]
    low, high = torch.minimum(first.amin(), second.amin()), torch.maximum(first.amax(), second.amax())
    if motion.light.changed:
        first, second = motion.light.done(first, time), motion.light.done(motion.light.undone(second), time)
    here = positions(height, width, first)
    to_first, to_second = motion.layers.between(time, 0.0), motion.layers.between(time, 1.0)
    count = len(motion.layers)
    back = motion.layers.back
    picture = None if back else _free(first, second, motion, time)[0]
    for index in [*range(int(back)), *range(count - 1, int(back) - 1, -1)]:
        if picture is not None and motion.share(index) < _NOTHING:
            continue
        places = carry(to_first[index : index + 1], here), carry(to_second[index : index + 1], here)
        seen = [
            read(labels.shares[index : index + 1], place) * inside(place, height, width)
            for labels, place in zip((motion.first, motion.second), places, strict=True)
        ]
        clear = seen if index or not back else [
            read(_away_from_borders(labels.shares[:1]), place) * sight * inside(place, height, width) + _DOUBTFUL * sight
            for labels, place, sight in zip((motion.first, motion.second), places, seen, strict=True)
        ]
        colours = _blend(first, second, places, clear, time)
        if picture is None:
            picture = colours
        else:
            known = inside(places[0], height, width) * inside(places[1], height, width)
            cover = torch.where(known > 0, torch.minimum(*seen), torch.maximum(*seen))
            picture = torch.lerp(picture, colours, cover)
    assert picture is not None
    if back and motion.share(count) > _NOTHING:
        colours, cover = _free(first, second, motion, time)
        picture = torch.lerp(picture, colours, cover)
    return picture.clamp(low, high)


def _blend(first: Tensor, second: Tensor, places: tuple[Tensor, Tensor], seen: list[Tensor], time: float) -> Tensor:
    """Colours read from both frames, by nearness in time and by who sees the place; the nearer frame where none does."""
    height, width = first.shape[-2:]
    weights = [
        near * (sight + _FAINT * (inside(place, height, width) + _FAINT))
        for near, sight, place in zip((1 - time, time), seen, places, strict=True)
    ]
    share = weights[1] / (weights[0] + weights[1])
    return torch.lerp(read(first, places[0], "bicubic"), read(second, places[1], "bicubic"), share)


def _free(first: Tensor, second: Tensor, motion: PairMotion, time: float) -> tuple[Tensor, Tensor]:
    """Colours and cover `1 1 H W` of the pixels that follow their own flow, splatted from both frames to `time`."""
    height, width = first.shape[-2:]
    here = positions(height, width, first)
    flows = motion.first.flow, motion.second.flow
    shares = motion.first.shares[-1:], motion.second.shares[-1:]
    forward, landed = splat(flows[0], shares[0], here + time * flows[0])
    backward, returned = splat(-flows[1], shares[1], here + (1 - time) * flows[1])
    weight = landed + returned
    move = fill((forward * landed + backward * returned) / weight.clamp(min=1e-9), weight.clamp(max=1))
    places = here - time * move, here + (1 - time) * move
    seen = [
        read(share, place) * inside(place, height, width) * _alike(read(flow, place), sign * move)
        for share, flow, place, sign in zip(shares, flows, places, (1, -1), strict=True)
    ]
    cover = (torch.maximum(landed, returned) * 1.25).clamp(0, 1)
    return _blend(first, second, places, seen, time), cover


def _alike(flow: Tensor, move: Tensor) -> Tensor:
    return 1 / (1 + ((flow - move).norm(dim=1, keepdim=True) / _SAME) ** 4)


def _away_from_borders(share: Tensor) -> Tensor:
    """Where all pixels around have the share too: border pixels hold some of both sides' colours."""
    return -F.max_pool2d(-share, 3, 1, 1)
