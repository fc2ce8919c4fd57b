"""The common currency of the name tables: one row a tensor, with both of its names and its shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .reader import Shape


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor of a network: its name here (the original one), its name in diffusers, its shape here.

    `pointwise` marks 1x1 convolutions that diffusers stores as matrices, without the two trailing axes.
    """

    name: str
    diffusers: str
    shape: Shape
    pointwise: bool = False


def layer(name: str, diffusers: str, *shape: int, bias: bool = True, pointwise: bool = False) -> Iterator[Row]:
    """Weight and bias of a linear map `(out, in)`, a convolution `(out, in, k, ...)` or a norm `(width,)`."""
    yield Row(f"{name}.weight", f"{diffusers}.weight", shape, pointwise)
    if bias:
        yield Row(f"{name}.bias", f"{diffusers}.bias", shape[:1])
