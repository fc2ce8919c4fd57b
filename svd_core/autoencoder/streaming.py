"""The temporal decoder as a pipeline over pieces of a clip: no seams, and memory that does not grow with the clip.

A temporal convolution sees one frame to either side. So each one holds back the last frame of a piece until the
next piece arrives, and keeps the two frames before that. Given the norms' statistics, what comes out is exactly
the clip decoded whole; what is held is four frames a temporal block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import torch
from einops import rearrange
from torch import Tensor, nn

from .decoder import Decoder, DecoderBlock
from .norms import Normalise
from .spatial import Upsample
from .temporal import VideoResBlock

Pieces = Iterator[Tensor]
"""Consecutive pieces of one clip, each `t c h w` with a t of its own."""


def stream(
    decoder: Decoder, latents: Iterable[Tensor], stem: Normalise, rise: Normalise, crop: Callable[[Tensor], Tensor]
) -> Pieces:
    """Pieces of the latents of one clip `t c h w` -> all its pixels `t 3 H W`, in pieces of other lengths.

    `stem` and `rise` normalise the two halves of the decoder; `crop` cuts a tile out of the features between them.
    """
    features = _through(decoder.stem_blocks(), map(decoder.conv_in, latents), stem)
    full = _through(decoder.rise_blocks(), map(crop, features), rise)
    pixels = (decoder.to_rgb(piece, rise) for piece in full)
    return _mix_over_time(decoder.time_mix_conv, pixels) if decoder.temporal else pixels


def _through(blocks: Iterable[DecoderBlock], pieces: Pieces, normalise: Normalise) -> Pieces:
    for block in blocks:
        pieces = map(_frame_by_frame(block, normalise), pieces)
        if isinstance(block, VideoResBlock):
            pieces = _through_time(block, pieces, normalise)
    return pieces


def _frame_by_frame(block: DecoderBlock, normalise: Normalise) -> Callable[[Tensor], Tensor]:
    return block if isinstance(block, Upsample) else lambda x: block(x, normalise)


def _through_time(block: VideoResBlock, pieces: Pieces, normalise: Normalise) -> Pieces:
    """The temporal twin of `block` for pieces that have left its 2-D half."""
    passage = _Passage(block, normalise)
    for piece in chain(pieces, (None,)):
        ready = passage.push(piece)
        # A suspended generator keeps its variables: hand everything over before the next stage allocates.
        del piece
        while ready:
            yield ready.pop()


def _mix_over_time(convolution: nn.Module, pieces: Pieces) -> Pieces:
    """The last convolution over three finished frames."""
    window, done = _Window(), 0
    for piece in chain(pieces, (None,)):
        window.append(piece)
        settled = window.end - (piece is not None)
        if settled > done:
            mixed = convolution(window.take()[0])
            yield _as_frames(mixed[:, :, done - window.start : settled - window.start])
            done = settled
        window.forget(before=done - 1)


class _Window:
    """Consecutive frames `1 c t h w` of one layer's input, from the absolute index `start` on."""

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._taken = 0
        self._frames: Tensor | None = None

    def append(self, piece: Tensor | None) -> None:
        """Take in `t c h w`."""
        if piece is None:
            return
        clip = rearrange(piece, "t c h w -> 1 c t h w")
        self._frames = clip.contiguous() if self._frames is None else torch.cat([self._frames, clip], dim=2)
        self.end += piece.shape[0]

    def take(self) -> tuple[Tensor, int]:
        """All frames, and how many of them were taken before."""
        assert self._frames is not None, "asked for frames before the first one came"
        repeated = max(self._taken - self.start, 0)
        self._taken = self.end
        return self._frames, repeated

    def cut(self, start: int, end: int) -> Tensor:
        """A view of the frames with absolute indices `start` to `end`, as `1 c t h w`."""
        assert self._frames is not None, "asked for frames before the first one came"
        return self._frames[:, :, start - self.start : end - self.start]

    def forget(self, before: int) -> None:
        """Free the frames ahead of an absolute index."""
        before = max(before, self.start)
        if before > self.start:
            self._frames = self.cut(before, self.end).clone()
            self.start = before


class _Passage:
    """One temporal block between two pieces: `x` awaits its first convolution, `hidden` its second."""

    def __init__(self, block: VideoResBlock, normalise: Normalise) -> None:
        self._block = block
        self._normalise = normalise
        self._x = _Window()
        self._hidden = _Window()
        self._done = 0

    def push(self, piece: Tensor | None) -> list[Tensor]:
        """Take in `t c h w`, or None at the end; give the frames that are final now, if any."""
        x, hidden, stack = self._x, self._hidden, self._block.time_stack
        # The last frame of a layer is final only when nothing can follow it.
        held_back = int(piece is not None)
        x.append(piece)
        first = _convolve(stack.first, x, self._normalise)
        hidden.append(_as_frames(first[:, :, hidden.end - x.start : x.end - held_back - x.start]))
        del first, piece
        settled = hidden.end - held_back
        if settled <= self._done:
            return []
        change = _convolve(stack.second, hidden, self._normalise)
        change = change[:, :, self._done - hidden.start : settled - hidden.start]
        result = self._block.blend(x.cut(self._done, settled), change)
        self._done = settled
        x.forget(before=settled)
        hidden.forget(before=settled - 1)
        return [_as_frames(result).contiguous()]


def _convolve(half: Callable[[Tensor, Normalise, int], Tensor], window: _Window, normalise: Normalise) -> Tensor:
    frames, repeated = window.take()
    return half(frames, normalise, repeated)


def _as_frames(clip: Tensor) -> Tensor:
    return rearrange(clip, "1 c t h w -> t c h w")
