"""Where one shot ends and the next begins, and which frames are only repeated.

A cut is a pair whose difference no motion explains: the part left after the best flow, over the difference before it.
Fast pans differ as much as cuts do, but flow explains them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .alpha import has_alpha, laid
from .flow import both_flows
from .resample import inside, positions, read, resize, where_flow_runs

_UNEXPLAINED = 0.9
_OTHER_COLOURS, _PARTLY_EXPLAINED = 0.5, 0.85
# Mean difference from which two frames may be of two shots: in parts of their contrast, and in levels.
_OF_CONTRAST, _DIFFERENT = 0.35, 0.012
# What has less contrast is a blank picture; a fade ends in one, and so does a cut from this difference on.
_BLANK, _CUT_TO_BLANK = 0.004, 0.2
# Pixels, at the judged size.
_RETURN = 1.0
_JUDGED_SIDE = 96
# Answers to noise and hardly to edges (Immerkaer 1996).
_GRAIN = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
_PLAIN_PLACES = 0.25
_BINS = 8
# One level of 8 bits is what encoders and dithering leave between repeated frames; a mean of a third of it.
_REPEATED, _REPEATED_ANYWHERE = 0.4 / 255, 6 / 255


def is_cut(first: Tensor, second: Tensor) -> bool:
    """Whether a new shot begins with the second of two frames `H W C` in [0, 1]."""
    one, two = small(first), small(second)
    noise = _noise(one, two)
    difference = float((one - two).abs().mean())
    contrasts = [float((picture - picture.mean(dim=(2, 3), keepdim=True)).abs().mean()) for picture in (one, two)]
    if min(contrasts) < _BLANK:
        return difference > _CUT_TO_BLANK
    if difference - noise < max(_DIFFERENT, _OF_CONTRAST * sum(contrasts) / 2):
        return False
    ratio = unexplained(one, two)
    return ratio > _UNEXPLAINED or (ratio > _PARTLY_EXPLAINED and histogram_distance(one, two) > _OTHER_COLOURS)


def unexplained(first: Tensor, second: Tensor) -> float:
    """Part of the difference between two pictures `1 3 H W` that motion and a change of light leave: 0 to about 1.

    Noise, which nothing explains, is left out of both. Flow can make anything look alike a little; where it does not
    lead back to where it began it explains nothing.
    """
    flows, light = both_flows(first, second)
    second = light.undone(second)
    height, width = first.shape[-2:]
    places = positions(height, width, first) + flows
    known = inside(places, height, width)
    returned = (flows + read(flows.flip(0), places)).norm(dim=1, keepdim=True)
    trust = 1 / (1 + (returned / _RETURN) ** 4)
    before = (first - second).abs().mean(dim=1, keepdim=True)
    after = (read(torch.cat((second, first)), places) - torch.cat((first, second))).abs().mean(dim=1, keepdim=True)
    left = torch.lerp(before.expand_as(after), after, trust)
    noise = _noise(first, second)
    total = known.sum().clamp(min=1)
    rest, whole = (float((one * known).sum() / total) - noise for one in (left, before))
    return max(rest, 0.0) / max(whole, 1e-6)


def _noise(first: Tensor, second: Tensor) -> float:
    """Mean difference that noise alone makes between two pictures, from their least textured places."""
    if min(first.shape[-2:]) < len(_GRAIN):
        return 0.0
    kernel = first.new_tensor(_GRAIN)[None, None].expand(3, 1, -1, -1)
    grain = F.conv2d(torch.cat((first, second)), kernel, groups=3).abs().mean(dim=1, keepdim=True)
    plain = F.avg_pool2d(grain, 3, 1, 1).flatten(1).quantile(_PLAIN_PLACES, dim=1)
    # The kernel makes 6 deviations of one; what a mean size is of a deviation cancels.
    return float((plain / 6).square().sum().sqrt())


def histogram_distance(first: Tensor, second: Tensor) -> float:
    """Part of the pixels `1 3 H W` whose colours, in 8 x 8 x 8 bins, the other picture has not: 0 to 1."""
    counts = [_histogram(picture) for picture in (first, second)]
    return 1 - float(torch.minimum(*counts).sum())


def is_repeat(first: Tensor, second: Tensor) -> bool:
    """Whether the second of two frames `H W C` only repeats the first, as animation on twos does."""
    apart = (seen(first) - seen(second)).abs()
    if has_alpha(first.shape[-1]):
        apart = torch.cat((apart.flatten(), (first[..., -1] - second[..., -1]).abs().flatten()))
    return bool(apart.mean() < _REPEATED) and bool(apart.max() < _REPEATED_ANYWHERE)


def small(frame: Tensor) -> Tensor:
    """`H W C` as a picture `1 3 h w` with a shorter side of at most 96 pixels."""
    picture = seen(where_flow_runs(frame))
    height, width = picture.shape[-2:]
    scale = _JUDGED_SIDE / min(height, width)
    return resize(picture, (max(1, round(height * scale)), max(1, round(width * scale)))) if scale < 1 else picture


def colours(frame: Tensor) -> Tensor:
    """The colours of a frame `H W C` as `1 3 H W`; grey is repeated, alpha left out."""
    picture = frame.permute(2, 0, 1)[None].float()
    return picture[:, :3] if picture.shape[1] >= 3 else picture[:, :1].expand(-1, 3, -1, -1)


def seen(frame: Tensor) -> Tensor:
    """As `colours`, transparent frames laid over mid grey."""
    return colours(laid(frame.permute(2, 0, 1)[None].float())[0].permute(1, 2, 0))


def _histogram(picture: Tensor) -> Tensor:
    levels = (picture[0].flatten(1) * _BINS).long().clamp(0, _BINS - 1)
    index = (levels[0] * _BINS + levels[1]) * _BINS + levels[2]
    return torch.bincount(index, minlength=_BINS**3).float() / index.numel()
