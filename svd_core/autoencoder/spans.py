"""How a length is covered by overlapping pieces, and how much each piece counts where they overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """One piece from `start` to `end`."""

    start: int
    end: int

    @property
    def cells(self) -> slice:
        """The piece as an index."""
        return slice(self.start, self.end)


def cover(length: int, size: int, overlap: int) -> tuple[Span, ...]:
    """As few pieces of at most `size` as sharing `overlap` with each neighbour allows, about equally long."""
    if length <= size:
        return (Span(0, length),)
    count = math.ceil((length - overlap) / (size - overlap))
    stride = math.ceil((length - overlap) / count)
    starts = range(0, length - overlap, stride)
    return tuple(Span(start, min(start + stride + overlap, length)) for start in starts)


def shares(spans: tuple[Span, ...], scale: int = 1) -> tuple[Tensor, ...]:
    """For every span its float32 weight at each of its `(end - start) * scale` places; they add up to one everywhere.

    The weight grows with the square of the distance to the span's inner edges, where its content is worst.
    """
    length = spans[-1].end * scale
    places = torch.arange(length) + 0.5
    raw = torch.zeros(len(spans), length)
    for row, span in zip(raw, spans, strict=True):
        start, end = span.start * scale, span.end * scale
        from_start = places - start if start > 0 else torch.full_like(places, length)
        to_end = end - places if end < length else torch.full_like(places, length)
        row[start:end] = torch.minimum(from_start, to_end)[start:end].square()
    raw = raw / raw.sum(dim=0)
    return tuple(row[span.start * scale : span.end * scale] for row, span in zip(raw, spans, strict=True))
