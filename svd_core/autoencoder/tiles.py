"""Spatial tiles over a latent picture: where they lie and how their pixels blend back into one picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from torch import Tensor

from .spans import Span, cover, shares


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its place in the grid and the latent rows and columns it covers."""

    place: tuple[int, int]
    rows: Span
    columns: Span


class Grid:
    """Overlapping tiles of about equal size over `height` x `width` latent cells."""

    def __init__(self, height: int, width: int, tile: int, overlap: int) -> None:
        self._rows = cover(height, tile, overlap)
        self._columns = cover(width, tile, overlap)

    def __len__(self) -> int:
        return len(self._rows) * len(self._columns)

    def __iter__(self) -> Iterator[Tile]:
        for (i, rows), (j, columns) in product(enumerate(self._rows), enumerate(self._columns)):
            yield Tile((i, j), rows, columns)

    def cut(self, x: Tensor, tile: Tile) -> Tensor:
        """The tile's part of `... h w` at latent resolution or a multiple of it, a view."""
        scale = x.shape[-1] // self._columns[-1].end
        rows, columns = (slice(span.start * scale, span.end * scale) for span in (tile.rows, tile.columns))
        return x[..., rows, columns]

    def canvas(self, tile: Tile, pixels: Tensor, frames: int) -> Tensor:
        """Zeros `frames 3 H W` for the whole picture, in the scale, dtype and place of one tile's pixels."""
        scale = pixels.shape[-1] // (tile.columns.end - tile.columns.start)
        return pixels.new_zeros(frames, pixels.shape[1], self._rows[-1].end * scale, self._columns[-1].end * scale)

    def paste(self, canvas: Tensor, tile: Tile, pixels: Tensor) -> None:
        """Add a tile's pixels `t 3 h w` to its place on `t 3 H W`, weighted so that all tiles add up to one."""
        scale = pixels.shape[-1] // (tile.columns.end - tile.columns.start)
        down = shares(self._rows, scale)[tile.place[0]].to(pixels.device)
        across = shares(self._columns, scale)[tile.place[1]].to(pixels.device)
        top, left = tile.rows.start * scale, tile.columns.start * scale
        target = canvas[..., top : top + len(down), left : left + len(across)]
        target.addcmul_(pixels, down[:, None] * across)
