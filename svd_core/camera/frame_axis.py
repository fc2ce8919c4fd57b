"""Where the frames of a clip are in what a layer reads, so that a low-rank change can have a strength a frame."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..errors import InputError, explain


class FrameAxis(Enum):
    """ROWS: axis 0 is `(b t)`. TOKENS: `n t c`. SPREAD: one token `n 1 c` in, its answer for every frame out, `n t c`.

    TIME: `b c t h w`. NONE: the layer sees no single frame, the mean strength counts.
    """

    ROWS = "rows"
    TOKENS = "tokens"
    SPREAD = "spread"
    TIME = "time"
    NONE = "none"


# What the network says about the call it is making, where a layer meets its tokens in more than one layout.
_told: ContextVar[FrameAxis | None] = ContextVar("frame_axis", default=None)


@contextmanager
def frames_along(axis: FrameAxis) -> Generator[None, None, None]:
    """Within it, temporal transformer layers find the frames along `axis` instead of along their own."""
    token = _told.set(axis)
    try:
        yield
    finally:
        _told.reset(token)


def tokens_are_frames() -> bool:
    """Whether the running call has said that temporal layers see `n t c`."""
    return _told.get() is FrameAxis.TOKENS


@dataclass(frozen=True, slots=True)
class Site:
    """A layer's own frame axis; `movable`: it follows `frames_along`; `context`: it reads tokens that are no frames."""

    axis: FrameAxis
    movable: bool = False
    context: bool = False

    def now(self) -> FrameAxis:
        """The axis in the call that is running."""
        axis = (_told.get() or self.axis) if self.movable else self.axis
        return FrameAxis.NONE if self.context and axis is FrameAxis.TOKENS else axis


_TEMPORAL = re.compile(r"(^|\.)time_stack\.\d+\.(attn1|attn2|ff|ff_in)\.")
_TEMPORAL_CONTEXT = re.compile(r"(^|\.)time_stack\.\d+\.attn2\.to_[kv]$")
_EMBEDDING = re.compile(r"(^|\.)(time_embed|label_emb|emb_layers)\.")


def site_of(path: str, convolution_axes: int, *, temporal_tokens: bool) -> Site:
    """Where layer `path` finds its frames.

    convolution_axes: 0 for a linear layer, else its kernel's axes. temporal_tokens: temporal transformer blocks see
    `(b s) t c`, as in the host's own network; ours leaves them in `(b t) s c` unless it says otherwise.
    """
    if _EMBEDDING.search(path):
        return Site(FrameAxis.NONE)
    if convolution_axes == 3:
        return Site(FrameAxis.TIME)
    if _TEMPORAL.search(path):
        axis = FrameAxis.TOKENS if temporal_tokens else FrameAxis.ROWS
        return Site(axis, movable=True, context=bool(_TEMPORAL_CONTEXT.search(path)))
    return Site(FrameAxis.ROWS)


def scaled(hidden: Tensor, gains: Tensor, axis: FrameAxis, channels: int) -> Tensor:
    """hidden times gains `t r`, overwritten in inference.

    The frames of hidden lie along `axis`, `channels` is the axis that has size r.

    Raises:
        InputError: hidden does not have as many frames as the gains.
    """
    frames = len(gains)
    if axis is FrameAxis.SPREAD:
        return hidden * gains
    if axis is FrameAxis.ROWS:
        check_frames(frames, hidden.shape[0], whole=False)
        clips = hidden.unflatten(0, (-1, frames))
        shape = [1] * clips.ndim
        shape[1], shape[channels % hidden.ndim + 1] = gains.shape
        return _times(clips, gains.view(shape)).flatten(0, 1)
    if axis is FrameAxis.TIME:
        check_frames(frames, hidden.shape[2])
        return _times(hidden, gains.t().unsqueeze(-1).unsqueeze(-1))
    check_frames(frames, hidden.shape[1])
    return _times(hidden, gains)


def _times(x: Tensor, y: Tensor) -> Tensor:
    return x * y if torch.is_grad_enabled() else x.mul_(y)


def check_frames(expected: int, found: int, *, whole: bool = True) -> None:
    """`found` frames, or with `whole=False` the frames of several clips, must go with a curve of `expected` values.

    Raises:
        InputError: they do not.
    """
    if found != expected if whole else found % expected:
        remedy = "Make the strength curve for the clip's own length, or give one number for all frames."
        raise InputError(explain(f"clips of {expected} frames, as the camera's strength curve has", f"{found}", remedy))
