"""The memory estimate follows what it claims to count."""

from __future__ import annotations

from svd_core.autoencoder.footprint import decode_bytes
from svd_core.config import SVD


def test_chunk_tile_and_dtype_scale_it() -> None:
    shape = {"height": 72, "width": 128, "bytes_per_value": 2}
    whole = decode_bytes(SVD.autoencoder, chunk=8, tile=None, **shape)
    assert whole == 12 * 1024 * 576 * (3 * 128 + 2 * 256) * 2
    assert decode_bytes(SVD.autoencoder, chunk=2, tile=None, **shape) * 2 == whole
    assert decode_bytes(SVD.autoencoder, chunk=8, tile=None, **shape | {"bytes_per_value": 4}) == 2 * whole
    assert decode_bytes(SVD.autoencoder, chunk=8, tile=36, **shape) * 12 == whole * 4, "four whole frames are measured"
    assert decode_bytes(SVD.autoencoder, chunk=1, tile=64, **shape) * 72 * 128 * 12 == whole * 5 * 64 * 64
    assert decode_bytes(SVD.autoencoder, chunk=8, tile=500, **shape) == whole
