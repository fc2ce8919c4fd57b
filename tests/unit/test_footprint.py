"""The memory estimate follows what it claims to count."""

from __future__ import annotations

from svd_core.autoencoder.footprint import DecodePlan, choose_decode_plan, decode_bytes
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


def test_the_plan_keeps_frames_whole_as_long_as_one_fits() -> None:
    shape = {"height": 72, "width": 128, "bytes_per_value": 2}

    def chosen(frames: int, room: int | None) -> tuple[int, int | None]:
        plan = choose_decode_plan(SVD.autoencoder, frames=frames, room=room, **shape)
        return plan.chunk, plan.tile

    def needed(chunk: int, tile: int | None = None) -> int:
        return decode_bytes(SVD.autoencoder, chunk=chunk, tile=tile, **shape)

    assert chosen(25, None) == (8, None) and chosen(5, None) == (5, None) and chosen(1, 0) == (1, 48)
    assert chosen(25, needed(8)) == (8, None) and chosen(25, needed(8) - 1) == (4, None)
    assert chosen(5, needed(4)) == (4, None) and chosen(5, needed(4) - 1) == (2, None)
    assert chosen(3, needed(2)) == (2, None) and chosen(3, needed(1)) == (1, None)
    assert chosen(3, needed(1) - 1) == (1, 48) == chosen(3, 0)
    assert DecodePlan(chunk=1, tile=48).leaner() is None
