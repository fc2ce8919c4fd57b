"""The settings of a clip as one JSON object inside the file, whatever the container calls its comment field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..errors import FileFormatError, explain

PNG_KEY = "svd_studio"
_EXIF_USER_COMMENT = 0x9286
_EXIF_IFD = 0x8769
_EXIF_MODEL = 0x0110
# EXIF 2.3, table 9: the eight bytes that say how a user comment is coded; undefined leaves it to us (UTF-8).
_COMMENT_CODE = b"\0" * 8
_RATE_SIGNS, _RATE_LENGTH = frozenset("0123456789./"), 80
_VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v")


def to_text(metadata: Mapping[str, object]) -> str:
    """One line of ASCII JSON; what JSON has no word for (fractions, paths) becomes its string."""
    return json.dumps(dict(metadata), default=str, separators=(",", ":"))


def with_rate(metadata: Mapping[str, object], fps: Fraction) -> dict[str, object]:
    """Add the exact rate, which gif (1/100 s), webp and webm (1/1000 s) can only hold rounded."""
    return {**metadata, "fps": str(fps)}


def stored_rate(metadata: Mapping[str, Any], measured: Fraction | None) -> Fraction | None:
    """The exact rate written by `with_rate`, unless the file has been retimed since (10 % off the container's)."""
    text = str(metadata.get("fps", ""))[: _RATE_LENGTH + 1]
    try:
        # Files come from strangers, and 1e999999999 is a number of a billion digits: plain ones are enough.
        exact = Fraction(text) if len(text) <= _RATE_LENGTH and set(text) <= _RATE_SIGNS else Fraction(0)
    except (ValueError, ZeroDivisionError):
        return measured
    if exact <= 0 or (measured is not None and abs(measured / exact - 1) > Fraction(1, 10)):
        return measured
    return exact


def png_info(metadata: Mapping[str, object], tags: Mapping[str, str] | None = None) -> PngInfo:
    """PNG text chunks: ours, and one a tag."""
    info = PngInfo()
    info.add_text(PNG_KEY, to_text(metadata))
    for name, text in (tags or {}).items():
        info.add_text(name, text)
    return info


def exif_bytes(metadata: Mapping[str, object], tags: Mapping[str, str]) -> bytes:
    """An EXIF block whose user comment is the JSON, for webp; tags as `name:text` from Model downwards.

    EXIF has no free names: ComfyUI put its graph there in this way, and its page looks for it there.
    """
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_EXIF_USER_COMMENT] = _COMMENT_CODE + to_text(metadata).encode()
    for index, (name, text) in enumerate(tags.items()):
        exif[_EXIF_MODEL - index] = f"{name}:{text}"
    return exif.tobytes()


def read_metadata(path: Path | str) -> dict[str, Any]:
    """The JSON object inside a clip (mp4, webm, gif, webp) or a PNG; of a folder, that of its first frame.

    Returns an empty dict where a healthy file carries none of ours.

    Raises:
        FileFormatError: the file cannot be read as a clip or picture.
    """
    source = Path(path)
    if source.is_dir():
        frames = sorted(source.glob("*.png"))
        return read_metadata(frames[0]) if frames else {}
    try:
        if source.suffix.lower() in _VIDEO_SUFFIXES:
            with av.open(str(source)) as container:
                return container_metadata(container.metadata)
        with Image.open(source) as image:
            return image_metadata(image)
    except (OSError, UnidentifiedImageError, av.error.FFmpegError, ValueError, SyntaxError) as error:
        raise FileFormatError(
            explain(f"a clip or picture in {source}", str(error), "Check that the file is complete.")
        ) from error


def container_metadata(tags: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object among the tags of a video container; Matroska shouts its tag names."""
    for name, value in tags.items():
        if name.lower() == "comment":
            return from_text(value)
    return {}


def image_metadata(image: Image.Image) -> dict[str, Any]:
    """The JSON object inside an open PNG, gif or webp."""
    text = image.info.get(PNG_KEY)
    if isinstance(text, str):
        return from_text(text)
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        return from_text(comment.decode("utf-8", "replace"))
    user_comment = image.getexif().get_ifd(_EXIF_IFD).get(_EXIF_USER_COMMENT)
    if isinstance(user_comment, bytes):
        return from_text(user_comment[len(_COMMENT_CODE) :].decode("utf-8", "replace"))
    return {}


def from_text(text: str) -> dict[str, Any]:
    """The JSON object in `text`; any other comment counts as none."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", tree) if isinstance(tree, dict) else {}
