"""How much memory decoding needs, counted from the widest layers: what a host is told, what an artist reads, and how
much of a clip is decoded together."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import AutoencoderConfig
from .seamless import WHOLE_FRAMES

CHUNK = 8
"""Frames decoded together unless something else is asked for."""
# The widest moment lies at full resolution: three tensors of the outermost width beside two of the next, for the
# frames of a chunk and the four that temporal layers hold back.
_HELD_BACK = 4
_OUTERMOST, _NEXT = 3, 2
# Latent cells: 384 pixels a side for SVD.
_LEAN_TILE = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodePlan:
    """Frames decoded together, and the longest side of a spatial tile in latent cells (None: whole frames)."""

    chunk: int
    tile: int | None

    def leaner(self) -> DecodePlan | None:
        """What to try after an out-of-memory error: a quarter of the frames, in tiles; None at the bottom."""
        fewer = DecodePlan(chunk=max(1, self.chunk // 4), tile=min(self.tile or _LEAN_TILE, _LEAN_TILE))
        return None if fewer == self else fewer


def choose_decode_plan(
    config: AutoencoderConfig, *, frames: int, height: int, width: int, bytes_per_value: int, room: int | None
) -> DecodePlan:
    """The plan nearest to decoding the clip whole whose activations fit into `room` bytes (None: not known).

    Frames stay whole as long as a single one fits: a tile changes more than a chunk does. Sizes in latent cells.
    """
    chunk = min(CHUNK, frames)
    chunks = [chunk, *(fewer for fewer in (4, 2, 1) if fewer < chunk)]
    plans = [*(DecodePlan(chunk=count, tile=None) for count in chunks), DecodePlan(chunk=1, tile=_LEAN_TILE)]
    for plan in plans:
        needed = decode_bytes(
            config, chunk=plan.chunk, tile=plan.tile, height=height, width=width, bytes_per_value=bytes_per_value
        )
        if room is None or needed <= room:
            return plan
    return plans[-1]


def decode_bytes(
    config: AutoencoderConfig, *, chunk: int, tile: int | None, height: int, width: int, bytes_per_value: int
) -> int:
    """Bytes of activations while `chunk` frames of `height` x `width` latent cells are decoded in tiles of `tile`.

    Ahead of tiles a few whole frames at a time are measured, which is what bounds tiling from below.
    """
    channels = _OUTERMOST * config.channels[0] + _NEXT * config.channels[min(1, len(config.channels) - 1)]
    cells = (chunk + _HELD_BACK) * height * width
    if tile is not None and tile < max(height, width):
        tiled = (chunk + _HELD_BACK) * min(height, tile) * min(width, tile)
        cells = max(tiled, min(WHOLE_FRAMES, chunk) * height * width)
    return config.downsampling**2 * cells * channels * bytes_per_value
