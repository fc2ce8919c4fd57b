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
from .resample import inside, positions, read, resize
from .splat import fill, splat

# A share of the frame below which a motion is not drawn.
_NOTHING = 2e-4
_FAINT = 1e-3
_DOUBTFUL = 0.03
# Splats thin out where the picture grows; up to this they count as whole.
_CLOSED = 1.25
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


def find_motion(first: Tensor, second: Tensor, scale: float = 1.0) -> PairMotion:
    """The motion between two frames `1 3 H W`, float32 in [0, 1], looked for at `scale` times their size.

    The cost goes with the square of the scale; what is thinner than a pixel there is no longer told apart.
    """
    size = (first.shape[-2], first.shape[-1])
    smaller = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    if smaller == size:
        return _motion(first, second)
    motion = _motion(resize(first, smaller), resize(second, smaller))
    grown = torch.tensor([size[1] / smaller[1], size[0] / smaller[0], 1.0], dtype=torch.float64, device=first.device)
    maps = motion.layers.maps * grown[:, None] / grown
    layers = Layers(maps, motion.layers.back)
    return PairMotion(layers, motion.first.enlarged(size), motion.second.enlarged(size), motion.light)


def _motion(first: Tensor, second: Tensor) -> PairMotion:
    flows, light = both_flows(first, second)
    second = light.undone(second)
    layers = find_layers(flows[:1], flows[1:]).with_still(first, second, flows[:1])
    return PairMotion(layers, *label(first, second, flows, layers), light)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A frame in between and what it was made of, composed as the frame was.

    picture: `1 C H W`, each channel within its range in both frames.
    warped: both frames carried to the time, `2 C H W`.
    share: `1 1 H W` in [0, 1], the second frame's part in the picture.
    seen: `2 1 H W`, how far each frame shows what is shown.
    move: `1 2 H W`, pixels from the first frame to the second.
    """

    picture: Tensor
    warped: Tensor
    share: Tensor
    seen: Tensor
    move: Tensor


def draw(first: Tensor, second: Tensor, motion: PairMotion, time: float) -> Tensor:
    """The frame `1 C H W` at `time` in (0, 1) between frames `1 C H W` of any number of channels."""
    return _compose(first, second, motion, time, evidence=False)


def draw_with_evidence(first: Tensor, second: Tensor, motion: PairMotion, time: float) -> Drawn:
    """As `draw`, with what the frame was made of."""
    sheet = _compose(first, second, motion, time, evidence=True)
    count = first.shape[1]
    picture, one, two, share, seen, move = sheet.split((count, count, count, 1, 2, 2), dim=1)
    return Drawn(picture, torch.cat((one, two)), share, seen.transpose(0, 1), move)


def _compose(first: Tensor, second: Tensor, motion: PairMotion, time: float, *, evidence: bool) -> Tensor:
    """The picture `1 C H W`, with `evidence` the parts of `Drawn` along the channels behind it."""
    low, high = torch.cat((first, second)).aminmax(dim=0, keepdim=True)
    low, high = low.amin(dim=(2, 3), keepdim=True), high.amax(dim=(2, 3), keepdim=True)
    if motion.light.changed:
        first, second = motion.light.done(first, time), motion.light.done(motion.light.undone(second), time)
    view = _View(first, second, motion, time, evidence)
    back, count = motion.layers.back, len(motion.layers)
    sheet = (view.layer(0, behind=True) if back else view.free())[0]
    # Later layers explain less: they are what moves in front.
    for index in range(count - 1, int(back) - 1, -1):
        if motion.share(index) > _NOTHING:
            sheet = torch.lerp(sheet, *view.layer(index, behind=False))
    if back and motion.share(count) > _NOTHING:
        sheet = torch.lerp(sheet, *view.free())
    channels = first.shape[1]
    picture = sheet[:, :channels].clamp(low, high)
    return torch.cat((picture, sheet[:, channels:]), dim=1) if evidence else picture


@dataclass(frozen=True, slots=True)
class _View:
    """Both frames, in the light of `time`, and the motion between them; each motion is drawn as (colours, cover).

    With `evidence` what the colours were made of follows them along the channels."""

    first: Tensor
    second: Tensor
    motion: PairMotion
    time: float
    evidence: bool

    def layer(self, index: int, *, behind: bool) -> tuple[Tensor, Tensor]:
        """A layer read along its course from both frames; `behind` says that others may hide it."""
        height, width = self.first.shape[-2:]
        here = positions(height, width, self.first)
        row = slice(index, index + 1)
        places = tuple(carry(self.motion.layers.between(self.time, end)[row], here) for end in (0.0, 1.0))
        seen: list[Tensor] = []
        clear: list[Tensor] = []
        for labels, place in zip((self.motion.first, self.motion.second), places, strict=True):
            known = inside(place, height, width)
            share = labels.shares[row]
            seen.append(read(share, place) * known)
            clear.append(read(_away_from_borders(share), place) * known + _DOUBTFUL if behind else seen[-1])
        weights = [sight * sure for sight, sure in zip(seen, clear, strict=True)] if behind else seen
        known = inside(places[0], height, width) * inside(places[1], height, width)
        cover = torch.where(known > 0, torch.minimum(*seen), torch.maximum(*seen))
        return self._blend(places, weights), cover

    def free(self) -> tuple[Tensor, Tensor]:
        """The pixels that follow their own flow, splatted from both frames."""
        height, width = self.first.shape[-2:]
        here = positions(height, width, self.first)
        flows = self.motion.first.flow, self.motion.second.flow
        shares = self.motion.first.shares[-1:], self.motion.second.shares[-1:]
        forward, landed = splat(flows[0], shares[0], here + self.time * flows[0])
        backward, returned = splat(-flows[1], shares[1], here + (1 - self.time) * flows[1])
        weight = landed + returned
        move = fill((forward * landed + backward * returned) / weight.clamp(min=1e-9), weight.clamp(max=1))
        places = here - self.time * move, here + (1 - self.time) * move
        seen = [
            read(share, place) * inside(place, height, width) * _alike(read(flow, place), sign * move)
            for share, flow, place, sign in zip(shares, flows, places, (1, -1), strict=True)
        ]
        return self._blend(places, seen), (torch.maximum(landed, returned) * _CLOSED).clamp(0, 1)

    def _blend(self, places: tuple[Tensor, ...], seen: list[Tensor]) -> Tensor:
        """Colours from both frames by nearness in time and by who sees the place; the nearer frame where none does."""
        height, width = self.first.shape[-2:]
        weights = [
            near * (sight + _FAINT * (inside(place, height, width) + _FAINT))
            for near, sight, place in zip((1 - self.time, self.time), seen, places, strict=True)
        ]
        share = weights[1] / (weights[0] + weights[1])
        one, two = read(self.first, places[0], "bicubic"), read(self.second, places[1], "bicubic")
        picture = torch.lerp(one, two, share)
        return torch.cat((picture, one, two, share, *seen, places[1] - places[0]), dim=1) if self.evidence else picture


def _alike(flow: Tensor, move: Tensor) -> Tensor:
    return 1 / (1 + ((flow - move).norm(dim=1, keepdim=True) / _SAME) ** 4)


def _away_from_borders(share: Tensor) -> Tensor:
    """Where all pixels around have the share too: border pixels hold some of both sides' colours."""
    return -F.max_pool2d(-share, 3, 1, 1)
