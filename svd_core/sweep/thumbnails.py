"""Small pictures of finished clips: a strip of frames, or the clip itself in small."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from ..errors import FileFormatError, explain
from ..video_io import encode_rgb, iter_frames, probe
from ..video_io.atomic import atomic_file

FOLDER = "thumbnails"
"""Of a sweep: a small looping picture a cell, named by its key."""

_QUALITY = 70
_HEIGHT, _FRAMES, _MILLISECONDS = 120, 16, 120


def thumbnail(clip: Path, key: str, sweep: Path) -> Path:
    """The looping picture of a cell's clip in the folder of its sweep, drawn where there is none as new as the clip.

    Raises:
        FileFormatError: the clip cannot be read.
        InputError, OutputError: the place cannot be written.
    """
    target = sweep / FOLDER / f"{key}.webp"
    if not target.is_file() or target.stat().st_mtime < clip.stat().st_mtime:
        frames = frames_of(clip, _HEIGHT, _FRAMES)
        if not frames:
            raise FileFormatError(explain(f"frames in {clip}", "none", "Make the cell again."))
        with atomic_file(target) as temporary, temporary.open("wb") as stream:
            _write(frames, stream, _MILLISECONDS)
    return target


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
    _write(frames, held, milliseconds)
    return "data:image/webp;base64," + base64.b64encode(held.getvalue()).decode("ascii")


def _write(frames: Sequence[Image.Image], stream: BinaryIO, milliseconds: int) -> None:
    rest = list(frames[1:])
    frames[0].save(
        stream, "WEBP", quality=_QUALITY, save_all=bool(rest), append_images=rest, duration=milliseconds, loop=0
    )
