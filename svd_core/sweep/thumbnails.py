"""Small pictures of finished clips: a strip of frames, or the clip itself in small."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..video_io import encode_rgb, iter_frames, probe

_QUALITY = 70


def frames_of(clip: Path, height: int, count: int) -> list[Image.Image]:
    """Up to `count` evenly spaced frames of a clip, the first and the last among them, `height` pixels high.

    Raises:
        FileFormatError: the clip cannot be read.
    """
    from ..sheet import spaced

    total = probe(clip).frames or sum(1 for _ in iter_frames(clip))
    wanted = set(spaced(total, count))
    small: list[Image.Image] = []
    for index, frame in enumerate(iter_frames(clip)):
        if index in wanted:
            width = max(1, round(frame.shape[1] * height / frame.shape[0]))
            small.append(Image.fromarray(encode_rgb(frame)).resize((width, height), Image.Resampling.LANCZOS))
    return small


def strip(frames: Sequence[Image.Image], gap: int = 2) -> Image.Image:
    """Frames side by side on black."""
    width = sum(frame.width for frame in frames) + gap * (len(frames) - 1)
    drawn = Image.new("RGB", (width, frames[0].height))
    left = 0
    for frame in frames:
        drawn.paste(frame, (left, 0))
        left += frame.width + gap
    return drawn


def data_uri(frames: Sequence[Image.Image], milliseconds: int) -> str:
    """The frames as a looping webp inside a `data:` address; a single one is a still."""
    held = io.BytesIO()
    rest = list(frames[1:])
    frames[0].save(
        held, "WEBP", quality=_QUALITY, save_all=bool(rest), append_images=rest, duration=milliseconds, loop=0
    )
    return "data:image/webp;base64," + base64.b64encode(held.getvalue()).decode("ascii")
