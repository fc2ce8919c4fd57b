"""Transparent pictures: colours weighed by how much of them is seen, so that what is hidden colours nothing.

A picture `N C H W` in [0, 1] has one colour (C 1 or 2) or three (C 3 or 4); an even C ends with alpha, and colours are
straight, as files hold them. What is said here of alpha leaves pictures without it as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Half a level of 8 bits: fainter colours are nobody's.
_TRANSPARENT = 1 / 510
_GREY = 0.5


def colours_in(channels: int) -> int:
    """How many of the channels are colours."""
    return channels - 1 if has_alpha(channels) else channels


def has_alpha(channels: int) -> bool:
    """Whether the last channel is alpha."""
    return channels % 2 == 0


def weighed(picture: Tensor) -> Tensor:
    """Colours times alpha, then alpha."""
    if not has_alpha(picture.shape[1]):
        return picture
    colours, alpha = picture[:, :-1], picture[:, -1:]
    return torch.cat((colours * alpha, alpha), dim=1)


def unweighed(picture: Tensor) -> Tensor:
    """The straight picture in [0, 1] of a weighed one."""
    if not has_alpha(picture.shape[1]):
        return picture
    alpha = picture[:, -1:].clamp(0, 1)
    return torch.cat((picture[:, :-1] / alpha.clamp(min=_TRANSPARENT), alpha), dim=1).clamp(0, 1)


def laid(picture: Tensor) -> Tensor:
    """Colours over mid grey, so that dark shapes have edges too, then alpha: mixtures of such pictures are right."""
    if not has_alpha(picture.shape[1]):
        return picture
    colours, alpha = picture[:, :-1], picture[:, -1:]
    return torch.cat((torch.lerp(torch.full_like(colours, _GREY), colours, alpha), alpha), dim=1)


def lifted(picture: Tensor) -> Tensor:
    """The straight picture in [0, 1] of a laid one."""
    if not has_alpha(picture.shape[1]):
        return picture
    alpha = picture[:, -1:].clamp(0, 1)
    return unweighed(torch.cat((picture[:, :-1] - _GREY * (1 - alpha), alpha), dim=1))


def mixed(first: Tensor, second: Tensor, time: float) -> Tensor:
    """The cross-fade of two frames `H W C`, each counting by what is seen of it."""
    if not has_alpha(first.shape[-1]):
        return torch.lerp(first, second, time)
    one, two = (weighed(frame.movedim(-1, 0)[None]) for frame in (first, second))
    return unweighed(torch.lerp(one, two, time))[0].movedim(0, -1)
