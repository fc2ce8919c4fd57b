"""How much memory decoding needs, counted from the widest layers: what a host is told, and what an artist reads."""

from __future__ import annotations

from ..config import AutoencoderConfig

# The widest moment lies at full resolution: three tensors of the outermost width beside two of the next, for the
# frames of a chunk and the four that temporal layers hold back.
_HELD_BACK = 4
_OUTERMOST, _NEXT = 3, 2


def decode_bytes(
    config: AutoencoderConfig, *, chunk: int, tile: int | None, height: int, width: int, bytes_per_value: int
) -> int:
    """Bytes of activations while `chunk` frames of `height` x `width` latent cells are decoded in tiles of `tile`."""
    if tile is not None:
        height, width = min(height, tile), min(width, tile)
    channels = _OUTERMOST * config.channels[0] + _NEXT * config.channels[min(1, len(config.channels) - 1)]
    pixels = config.downsampling**2 * height * width
    return (chunk + _HELD_BACK) * pixels * channels * bytes_per_value
