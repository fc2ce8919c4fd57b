"""One clip through our own decoder in chunks and tiles, as close to decoding it whole as measured statistics allow.

Convolutions along time carry their frames from chunk to chunk (`streaming.py`); what chunks and tiles would still
change are the norms' statistics, so these are measured over the whole clip in passes ahead of the last. Chunks are
measured as they are decoded. Tiles are not: their own statistics say little about the frame's, and correcting them
pass by pass was measured to diverge. So for tiles a few whole frames at a time are measured instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..errors import NumericsError, explain
from .decoder import Decoder
from .precision import float32_twin, guarded, logger
from .statistics import Statistics, Supplied
from .streaming import stream
from .tiles import Grid, Tile

# Most whole frames measured together ahead of tiles: enough for neighbours in time, few enough for memory.
WHOLE_FRAMES = 4

Tick = Callable[[int], None]
"""Told the number of frames that were just fed into the decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How a clip is cut: frames a chunk, latent cells a tile (None: no tiles), and how often norms are measured."""

    chunk: int
    tile: int | None
    tile_overlap: int
    measuring_passes: int


class SeamlessClip:
    """One clip of latents `t c h w` (after the post-quant convolution) on its way to pixels."""

    def __init__(self, decoder: Decoder, latents: Tensor, division: Division, tick: Tick) -> None:
        self._decoder = decoder
        self._latents = latents
        self._division = division
        self._tick = tick
        self._frames = latents.shape[0]
        self._chunked = decoder.temporal and self._frames > division.chunk
        height, width = latents.shape[-2:]
        self._grid = Grid(height, width, division.tile or max(height, width), division.tile_overlap)

    @property
    def work(self) -> int:
        """How many frames go into the decoder in all, each once for every tile and pass."""
        return self._frames * (self._measuring_passes + len(self._grid))

    @property
    def _tiled(self) -> bool:
        return len(self._grid) > 1

    @property
    def _measuring_passes(self) -> int:
        asked = self._division.measuring_passes
        return min(asked, 1) if self._tiled else asked if self._chunked else 0

    def frames(self) -> Iterator[Tensor]:
        """Finished float32 frames `n 3 H W` in order; with tiles all of them at the end."""
        known: Statistics | None = None
        for _ in range(self._measuring_passes):
            known = self._measure(known)
        if self._tiled:
            yield self._decode_tiles(known)
        else:
            yield from self._decode(next(iter(self._grid)), known)

    def _decode_tiles(self, known: Statistics | None) -> Tensor:
        canvas: Tensor | None = None
        for tile in self._grid:
            frame = 0
            for pixels in self._decode(tile, known):
                canvas = self._grid.canvas(tile, pixels, self._frames) if canvas is None else canvas
                self._grid.paste(canvas[frame : frame + pixels.shape[0]], tile, pixels)
                frame += pixels.shape[0]
        assert canvas is not None, "no tiles over an empty picture"
        return canvas

    def _decode(self, tile: Tile, known: Statistics | None) -> Iterator[Tensor]:
        redo = None if self._latents.dtype == torch.float32 else partial(self._redo, tile, known)
        return guarded(self._pieces(self._decoder, tile, self._latents, known=known), redo)

    def _redo(self, tile: Tile, known: Statistics | None, frame: int) -> Iterator[Tensor]:
        """The tile in float32 from a frame on, with as many frames before it as temporal layers reach."""
        # Without measured statistics a piece makes its own, which must see the frames they saw before.
        start = 0 if known is None else max(frame - self._decoder.temporal_reach, 0)
        to_drop = frame - start
        twin = float32_twin(self._decoder)
        for piece in self._pieces(twin, tile, self._latents[start:].float(), known=known, first_frame=start):
            if piece.shape[0] > to_drop:
                yield piece[to_drop:]
            to_drop = max(to_drop - piece.shape[0], 0)

    def _measure(self, known: Statistics | None) -> Statistics:
        """One pass over everything that only counts.

        Raises:
            NumericsError: the decoder overflows in float32 too.
        """
        measured = self._measured_by(self._decoder, self._latents, known)
        if not measured.finite() and self._latents.dtype != torch.float32:
            logger.warning("Norms are not finite in %s; measuring in float32.", self._latents.dtype)
            measured = self._measured_by(float32_twin(self._decoder), self._latents.float(), known)
        if not measured.finite():
            raise NumericsError(
                explain(
                    "finite activations in the decoder",
                    f"NaN or infinity in the clip of {self._frames} frames even in float32",
                    "The autoencoder's weights or the latents are damaged: load the file again or sample again.",
                )
            )
        return measured

    def _measured_by(self, decoder: Decoder, latents: Tensor, known: Statistics | None) -> Statistics:
        measured = Statistics()
        if self._tiled:
            self._measure_whole_frames(decoder, latents, measured)
            return measured
        for _ in self._pieces(decoder, next(iter(self._grid)), latents, known=known, measured=measured):
            pass
        return measured

    def _measure_whole_frames(self, decoder: Decoder, latents: Tensor, measured: Statistics) -> None:
        # Evenly, because a frame measured without neighbours would count for a clip of its own.
        size = math.ceil(self._frames / math.ceil(self._frames / min(WHOLE_FRAMES, self._division.chunk)))
        for index, few in enumerate(self._chunks(latents, size)):
            counting = Supplied(decoder, measured=measured, per_frame=True, first_frame=index * size)
            decoder(few, few.shape[0], counting)

    def _pieces(
        self,
        decoder: Decoder,
        tile: Tile,
        latents: Tensor,
        *,
        known: Statistics | None,
        measured: Statistics | None = None,
        first_frame: int = 0,
    ) -> Iterator[Tensor]:
        if not self._chunked and not self._tiled:
            return self._whole(decoder, latents)
        stem = Supplied(decoder, known=known, measured=measured)
        rise = Supplied(decoder, known=known, measured=measured, per_frame=self._tiled, first_frame=first_frame)
        return stream(decoder, self._chunks(latents), stem, rise, partial(self._grid.cut, tile=tile))

    def _whole(self, decoder: Decoder, latents: Tensor) -> Iterator[Tensor]:
        """All at once where it fits in a chunk; without temporal layers, chunk by chunk is the same."""
        for chunk in self._chunks(latents):
            yield decoder(chunk, chunk.shape[0])

    def _chunks(self, latents: Tensor, size: int | None = None) -> Iterator[Tensor]:
        for chunk in latents.split(size or self._division.chunk):
            self._tick(chunk.shape[0])
            yield chunk
