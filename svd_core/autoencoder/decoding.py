"""From the latents of one clip or several to finished frames: whole or streamed, in chunks and tiles of a size that
is stated and never taken from free memory, so that the same input gives the same pixels on every card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..errors import InputError, explain
from .autoencoder import Autoencoder
from .fading import Decode, decode_faded, tiled
from .precision import refuse_not_finite
from .seamless import Division, SeamlessClip
from .spans import cover

Progress = Callable[[int, int], None]
"""`progress(done, total)` in frames fed to the decoder, all passes counted; may raise `Cancelled`."""


def decode_clip(
    decoder: Autoencoder | Decode,
    latents: Tensor,
    num_frames: int,
    *,
    chunk: int = 8,
    overlap: int = 4,
    tile: int | None = None,
    tile_overlap: int | None = None,
    measuring_passes: int = 1,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Latents `(b t) c h w` -> pixels `(b t) 3 H W`, float32, nominally in [-1, 1], on the latents' device.

    The arguments and errors are those of `stream_clip`.
    """
    pixels: Tensor | None = None
    done = 0
    for frames in stream_clip(
        decoder,
        latents,
        num_frames,
        chunk=chunk,
        overlap=overlap,
        tile=tile,
        tile_overlap=tile_overlap,
        measuring_passes=measuring_passes,
        dtype=dtype,
        progress=progress,
    ):
        if frames.shape[0] == latents.shape[0]:
            return frames
        pixels = frames.new_empty(latents.shape[0], *frames.shape[1:]) if pixels is None else pixels
        pixels[done : done + frames.shape[0]] = frames
        done += frames.shape[0]
    assert pixels is not None, "a clip without frames was let through"
    return pixels


def stream_clip(
    decoder: Autoencoder | Decode,
    latents: Tensor,
    num_frames: int,
    *,
    chunk: int = 8,
    overlap: int = 4,
    tile: int | None = None,
    tile_overlap: int | None = None,
    measuring_passes: int = 1,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Iterator[Tensor]:
    """Latents `(b t) c h w`, unscaled -> finished frames in order, pieces of `n 3 H W` float32.

    Memory is bounded by the chunk and the tile, not by the length of the clip (with tiles the frames of one clip
    come together, at its end). Clips never see each other.

    Args:
        decoder: an `Autoencoder`, or any function from latents of one clip and its length to pixels.
        num_frames: length of one clip.
        chunk: frames decoded together.
        overlap: frames neighbouring chunks share. 0 makes every chunk a clip of its own, with a visible seam.
            A foreign decoder's chunks are cross-faded over it, at most over half a chunk. An `Autoencoder` carries
            its activations from chunk to chunk, which no number of shared frames equals: all above 0 are the same.
        tile: longest side of a spatial tile in latent cells, None for whole frames.
        tile_overlap: latent cells neighbouring tiles share, a quarter of `tile` unless given.
        measuring_passes: passes over the clip that only measure the statistics of the norms (`Autoencoder` only),
            each as long as a decode. 0 is fastest; 1 is about twenty times closer to decoding whole than that for
            chunks; more help chunks a little and tiles not at all.
        dtype: precision to decode in; that of the autoencoder's weights, or of the latents, unless given. Frames
            that overflow in half precision are decoded again in float32, and a warning is logged.
        progress: told before each chunk is fed.

    Raises:
        InputError: a length, chunk, overlap or tile that cannot be.
        NumericsError: latents that are not finite, or frames that are not even in float32.
    """
    _check(latents, num_frames, chunk, overlap)
    refuse_not_finite(latents)
    if isinstance(decoder, Autoencoder):
        division = Division(
            chunk=chunk,
            tile=tile,
            tile_overlap=_tile_overlap(tile, tile_overlap),
            measuring_passes=measuring_passes,
        )
        ready = latents.to(dtype or next(decoder.parameters()).dtype)
        return _seamless(decoder, _independent(ready, num_frames, chunk if overlap == 0 else None), division, progress)
    decode = decoder if tile is None else tiled(decoder, tile, _tile_overlap(tile, tile_overlap))
    clips = latents.to(dtype or latents.dtype).split(num_frames)
    return _faded(decode, clips, chunk, min(overlap, chunk // 2), progress)


@torch.no_grad()
def _seamless(
    autoencoder: Autoencoder, clips: Sequence[Tensor], division: Division, progress: Progress | None
) -> Iterator[Tensor]:
    counter = _Counter(progress)
    jobs = [SeamlessClip(autoencoder.decoder, autoencoder.unquantise(clip), division, counter.tick) for clip in clips]
    counter.total = sum(job.work for job in jobs)
    for job in jobs:
        yield from job.frames()


@torch.no_grad()
def _faded(
    decode: Decode, clips: Sequence[Tensor], chunk: int, overlap: int, progress: Progress | None
) -> Iterator[Tensor]:
    spans = cover(clips[0].shape[0], chunk, overlap)
    counter = _Counter(progress, len(clips) * sum(span.end - span.start for span in spans))

    def counted(latents: Tensor, num_frames: int) -> Tensor:
        counter.tick(num_frames)
        return decode(latents, num_frames)

    for clip in clips:
        yield from decode_faded(counted, clip, chunk, overlap)


class _Counter:
    """Frames fed so far; a chunk that is done again in float32 is fed twice but counted up to the total only."""

    def __init__(self, progress: Progress | None, total: int = 0) -> None:
        self.total = total
        self._progress = progress
        self._done = 0

    def tick(self, frames: int) -> None:
        if self._progress is not None:
            self._progress(self._done, self.total)
        self._done = min(self._done + frames, self.total)


def _independent(latents: Tensor, num_frames: int, chunk: int | None) -> list[Tensor]:
    """The clips of `(b t) c h w`, or with `chunk` the chunks of every clip."""
    return [part for clip in latents.split(num_frames) for part in clip.split(chunk or num_frames)]


def _tile_overlap(tile: int | None, overlap: int | None) -> int:
    if tile is None:
        return 0
    chosen = tile // 4 if overlap is None else overlap
    if tile < 1 or not 0 <= chosen < tile:
        raise InputError(
            explain(
                "a tile of at least 1 latent cell and an overlap below it",
                f"tile {tile}, overlap {chosen}",
                "Give a larger tile or a smaller overlap.",
            )
        )
    return chosen


def _check(latents: Tensor, num_frames: int, chunk: int, overlap: int) -> None:
    if latents.ndim != 4 or num_frames < 1 or latents.shape[0] < 1 or latents.shape[0] % num_frames:
        raise InputError(
            explain(
                f"latents (b t) c h w of whole clips of {num_frames} frames",
                f"shape {tuple(latents.shape)}",
                "Give `num_frames` as the length of one clip.",
            )
        )
    if chunk < 1 or overlap < 0:
        raise InputError(
            explain(
                "a decode chunk of at least 1 frame and an overlap of at least 0",
                f"chunk {chunk}, overlap {overlap}",
                "Choose larger numbers.",
            )
        )
