"""How much memory decoding needs, counted from the widest layers: what a host is told, and what an artist reads."""

from __future__ import annotations

from ..config import AutoencoderConfig
from .seamless import WHOLE_FRAMES

# The widest moment lies at full resolution: three tensors of the outermost width beside two of the next, for the
# frames of a chunk and the four that temporal layers hold back.
_HELD_BACK = 4
_OUTERMOST, _NEXT = 3, 2


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
