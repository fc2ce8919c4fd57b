"""Decoding in pieces with somebody else's decoder: overlapping chunks and tiles, cross-faded.

All that can be done from outside. Our own autoencoder does better (`seamless.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .precision import guarded
from .spans import cover, shares
from .tiles import Grid

Decode = Callable[[Tensor, int], Tensor]
"""`decode(latents t c h w, num_frames) -> pixels t 3 H W` for one clip."""


def decode_faded(decode: Decode, latents: Tensor, chunk: int, overlap: int) -> Iterator[Tensor]:
    """One clip of latents `t c h w` -> finished float32 frames in order; holds one chunk and one overlap."""
    spans = cover(latents.shape[0], chunk, overlap)
    pending: Tensor | None = None
    for index, (span, share) in enumerate(zip(spans, shares(spans), strict=True)):
        part = _decode_finite(decode, latents[span.cells], span.start)
        part = part * share.to(part.device).view(-1, 1, 1, 1)
        if pending is not None:
            part[: pending.shape[0]] += pending
        final = (spans[index + 1].start if index + 1 < len(spans) else span.end) - span.start
        pending = part[final:].clone()
        yield part[:final]


def tiled(decode: Decode, tile: int, overlap: int) -> Decode:
    """The same decoder working on spatial tiles of at most `tile` latent cells, with all frames in each."""

    def decode_tiled(latents: Tensor, num_frames: int) -> Tensor:
        height, width = latents.shape[-2:]
        grid = Grid(height, width, tile, overlap)
        canvas: Tensor | None = None
        for part in grid:
            pixels = decode(grid.cut(latents, part), num_frames).float()
            canvas = grid.canvas(part, pixels, num_frames) if canvas is None else canvas
            grid.paste(canvas, part, pixels)
        assert canvas is not None, "no tiles over an empty picture"
        return canvas

    return decode_tiled


def _decode_finite(decode: Decode, latents: Tensor, first: int) -> Tensor:
    """A foreign decoder chooses its own precision; float32 latents are the one hint it can be given."""

    def again(frame: int) -> Iterator[Tensor]:
        yield decode(latents.float(), latents.shape[0])[frame - first :]

    redo = None if latents.dtype == torch.float32 else again
    return torch.cat(list(guarded(iter([decode(latents, latents.shape[0])]), redo, first)))
