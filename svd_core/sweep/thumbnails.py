"""Small pictures of finished clips: a strip of frames, or the clip itself in small, kept beside the clips."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageSequence

from ..errors import FileFormatError, InputError, explain
from ..sheet import spaced
from ..video_io import encode_rgb, iter_frames, probe
from ..video_io.atomic import atomic_file, output_error

FOLDER = "thumbnails"
"""Of a sweep: a small looping picture a cell, named by its key."""

HEIGHT = 120
"""Of the looping pictures, in pixels."""

# Of webp, 0 to 100: what moves hides more than what stands still.
_MOVING_QUALITY, _STILL_QUALITY = 70, 85
# Of libwebp's 0 to 6: twice as quick as its usual 4, and the files hardly larger.
_EFFORT = 2
_FRAMES, _MILLISECONDS = 16, 120
# Records may come from anywhere; a key is a name in our folder.
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def thumbnail(clip: Path, key: str, sweep: Path) -> Path:
    """The looping picture of a cell's clip in the folder of its sweep, drawn where there is none as new as the clip.

    Raises:
        FileFormatError: the clip cannot be read.
        InputError, OutputError: the place cannot be written.
    """

    def draw() -> Sequence[Image.Image]:
        return frames_of(clip, HEIGHT, _FRAMES)

    return _kept(clip, key, sweep, "", draw)


def kept_strip(clip: Path, key: str, sweep: Path, height: int, count: int) -> Path:
    """`count` frames side by side, `height` pixels high, in the same folder; from the looping picture where that does.

    Raises:
        FileFormatError: the clip cannot be read.
        InputError, OutputError: the place cannot be written.
    """

    def draw() -> Sequence[Image.Image]:
        looping = sweep / FOLDER / f"{key}.webp"
        held: list[Image.Image] = []
        if height <= HEIGHT and _fresh(looping, clip):
            with suppress(OSError):
                held = _read(looping)
        if count > len(held):
            shown = frames_of(clip, height, count)
        else:
            shown = [_scaled(held[index], height) for index in spaced(len(held), count)]
        return [strip(shown)] if shown else []

    return _kept(clip, key, sweep, f"-{count}x{height}", draw)


def frames_of(clip: Path, height: int, count: int) -> list[Image.Image]:
    """Up to `count` evenly spaced frames of a clip, the first and the last among them, `height` pixels high.

    Raises:
        FileFormatError: the clip cannot be read.
    """
    total = probe(clip).frames or sum(1 for _ in iter_frames(clip))
    wanted = set(spaced(total, count))
    small: list[Image.Image] = []
    for index, frame in enumerate(iter_frames(clip)):
        if index in wanted:
            small.append(_scaled(Image.fromarray(encode_rgb(frame)), height))
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
    return _uri(held.getvalue())


def uri_of(picture: Path) -> str:
    """A kept picture inside a `data:` address.

    Raises:
        InputError: it was taken away at this moment.
    """
    try:
        return _uri(picture.read_bytes())
    except OSError as error:
        raise output_error(picture, error) from error


def _uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")


def opened(picture: Path) -> Image.Image:
    """A kept picture; of a looping one the first frame.

    Raises:
        FileFormatError: it is damaged.
    """
    try:
        with Image.open(picture) as image:
            return image.convert("RGB")
    except OSError as error:
        raise FileFormatError(explain(f"a picture at {picture}", str(error), "Delete it: it is made again.")) from error


def _kept(clip: Path, key: str, sweep: Path, mark: str, draw: Callable[[], Sequence[Image.Image]]) -> Path:
    """A picture of a clip, drawn where there is none as new as the clip."""
    if not _KEY.fullmatch(key):
        raise InputError(explain("a cell with a plain key", repr(key), "Make the sweep again."))
    target = sweep / FOLDER / f"{key}{mark}.webp"
    if _fresh(target, clip):
        return target
    frames = draw()
    if not frames:
        raise FileFormatError(explain(f"frames in {clip}", "none", "Make the cell again."))
    try:
        # Not the sweep's folder, which somebody may have deleted since.
        target.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise output_error(target, error) from error
    with atomic_file(target, folders=False) as temporary, temporary.open("wb") as stream:
        _write(frames, stream, _MILLISECONDS)
    return target


def _fresh(picture: Path, clip: Path) -> bool:
    try:
        return picture.stat().st_mtime >= clip.stat().st_mtime
    except OSError:
        return False


def _scaled(frame: Image.Image, height: int) -> Image.Image:
    if frame.height == height:
        return frame
    return frame.resize((max(1, round(frame.width * height / frame.height)), height), Image.Resampling.LANCZOS)


def _read(path: Path) -> list[Image.Image]:
    with Image.open(path) as picture:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(picture)]


def _write(frames: Sequence[Image.Image], stream: BinaryIO, milliseconds: int) -> None:
    rest = list(frames[1:])
    frames[0].save(
        stream,
        "WEBP",
        quality=_MOVING_QUALITY if rest else _STILL_QUALITY,
        method=_EFFORT,
        save_all=bool(rest),
        append_images=rest,
        duration=milliseconds,
        loop=0,
    )
