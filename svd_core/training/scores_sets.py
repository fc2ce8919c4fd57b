"""What a model is judged on: worlds, by set, that no training run of any seed draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from torch import Tensor

from ..errors import InputError, choose_from
from .photographs import read_photographs
from .worlds import HELD_OUT, World, WorldSize, clip_generator, draw_world, render, texels


class DrawWorld(Protocol):
    """A world of a seed; the same place and size give the same one."""

    def __call__(self, seed: int, index: int, size: WorldSize) -> World: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One held-out world as it moves of itself: pixels `T 3 H W` in [-1, 1], exact mean flow in pixels a frame."""

    world: World
    pixels: Tensor
    flow: float


# The worlds of two sets are different ones: what all sets say together is said by as many worlds as clips.
_APART = 1_000_000


def _trained_kinds(seed: int, index: int, size: WorldSize) -> World:
    """Another random stream, the kinds of texture and the shapes trained on."""
    return draw_world(clip_generator(seed, HELD_OUT, index), size)


def _held_out_kinds(seed: int, index: int, size: WorldSize) -> World:
    """Kinds of texture and shapes that are never trained on."""
    return draw_world(clip_generator(seed, HELD_OUT, index + _APART), size, kinds="held_out")


def _with_photographs(seed: int, index: int, size: WorldSize) -> World:
    """Backgrounds are photographs kept from training; where and how large they are cut is drawn."""
    generator = clip_generator(seed, HELD_OUT, index + 2 * _APART)
    return draw_world(generator, size, photographs=_photographs(texels(size.width)), photo_share=1.0)


@cache
def _photographs(side: int) -> Sequence[Tensor]:
    return read_photographs(side=side).held_out


_PHOTOGRAPHS = "photographs"
SETS: dict[str, DrawWorld] = {"worlds": _trained_kinds, "kinds": _held_out_kinds, _PHOTOGRAPHS: _with_photographs}
"""Worlds of the trained kinds, worlds of other kinds and shapes, and photographs kept from training."""


def available(width: int) -> list[str]:
    """The sets that can be drawn here, `width` pixels wide: the packages photographs come with may not be installed."""
    try:
        _photographs(texels(width))
    except InputError:
        return [name for name in SETS if name != _PHOTOGRAPHS]
    return list(SETS)


def scene(name: str, seed: int, index: int, size: WorldSize) -> Scene:
    """World `index` of a set.

    Raises:
        InputError: no such set, or no photograph is installed.
    """
    if name not in SETS:
        raise InputError(choose_from("set", name, list(SETS)))
    world = SETS[name](seed, index, size)
    pixels, flow = render(world, size)
    return Scene(world=world, pixels=pixels, flow=flow)
