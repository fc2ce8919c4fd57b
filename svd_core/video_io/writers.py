"""Clips to disk as mp4, webm, gif, webp or a folder of PNG frames, with the settings inside.

mp4 is H.264 4:2:0 unless told otherwise, at a quality no eye tells from the source; sides of videos must be
even, so an odd one is widened by repeating the last row or column. gif and webp hold whole 1/100 s and
1/1000 s: single frames are off by less than that, the length of the clip is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import InputError, choose_from, explain
from ..types import Frames
from .atomic import atomic_file, atomic_folder
from .codecs import Encoder, Encoding, encoder_for, webp_quality
from .colour import to_yuv
from .images import encode_rgb, over_black
from .metadata import exif_bytes, png_info, to_text, with_rate

CLIP_SUFFIXES = (".mp4", ".webm", ".gif", ".webp")

_PLAIN = Encoding()
_MAX_SIDE = {".mp4": 8192, ".webm": 16384, ".gif": 65535, ".webp": 16383}
# One palette for the whole clip keeps still areas still; these many frames decide it.
_PALETTE_FRAMES = 8
_PALETTE_SIDE = 256


def write_clip(
    frames: Frames,
    path: Path | str,
    metadata: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    encoding: Encoding = _PLAIN,
) -> Path:
    """Write a finished clip; see `write_frames`."""
    return write_frames(iter(frames.pixels), path, frames.fps, metadata, tags, encoding)


def write_frames(
    frames: Iterable[Tensor],
    path: Path | str,
    fps: Fraction,
    metadata: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    encoding: Encoding = _PLAIN,
) -> Path:
    """Write frames `H W 3` in [0, 1] as they come; the suffix of `path` says how, no suffix means PNG frames.

    Frames `H W 4` keep their alpha in webm (VP9), webp and PNG; mp4 and gif hold none and get them over black.

    mp4, webm and PNG hold one frame in memory; gif and webp one byte and three bytes a pixel of the whole clip.
    An existing file is replaced, a folder must be absent or empty. The exact rate is added to `metadata` as `fps`.
    `tags` are ASCII texts under names of their own, for other programs to find (gif has no place for them).
    `encoding` names codec and quality of mp4 and webm, and the quality of webp.

    Raises:
        InputError: unknown suffix, no encoder for the codec, no frames, frames of different sizes, or a place that
            cannot be written.
        OutputError: the disk is full or failed.
    """
    target = Path(path)
    suffix = check_suffix(target)
    flat = not holds_alpha(target, encoding)
    arrays = _same_size(encode_rgb(over_black(frame) if flat else frame) for frame in frames)
    settings, named = with_rate(metadata or {}, fps), tags or {}
    encoder = encoder_for(suffix, encoding) if suffix in (".mp4", ".webm") else None
    if not suffix:
        with atomic_folder(target) as folder:
            _write_pngs(arrays, folder, settings, named)
        return target
    with atomic_file(target) as temporary:
        first = next(arrays, None)
        if first is None:
            raise InputError(explain("at least one frame", "none", "Make a longer clip."))
        _check_side(first, suffix)
        arrays = chain([first], arrays)
        if encoder is not None:
            _write_video(arrays, temporary, fps, _comment(settings, named), suffix[1:], encoder)
        elif suffix == ".gif":
            _write_gif(arrays, temporary, fps, settings)
        else:
            _write_webp(arrays, temporary, fps, exif_bytes(settings, named), webp_quality(encoding))
    return target


def check_suffix(path: Path) -> str:
    """The clip suffix of an output in small letters, "" for a folder of frames.

    Raises:
        InputError: a suffix no clip is written as, or nothing in front of it.
    """
    if path.name.lower() in CLIP_SUFFIXES:
        raise InputError(explain("a file name in front of the suffix", repr(path.name), "Write for example clip.mp4."))
    suffix = path.suffix.lower()
    if suffix and suffix not in CLIP_SUFFIXES:
        raise InputError(choose_from("output suffix", path.name, [*CLIP_SUFFIXES, "none (a folder of PNG frames)"]))
    return suffix


def holds_alpha(path: Path, encoding: Encoding = _PLAIN) -> bool:
    """Whether a clip of this name can be transparent."""
    suffix = path.suffix.lower()
    return suffix in ("", ".webp") or (suffix == ".webm" and encoding.codec in ("auto", "vp9"))


def _same_size(arrays: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    shape = None
    for index, array in enumerate(arrays):
        if shape is not None and array.shape != shape:
            raise InputError(
                explain(
                    f"every frame {shape[1]}x{shape[0]}", f"{array.shape[1]}x{array.shape[0]} at {index}", "Resize."
                )
            )
        shape = array.shape
        yield array


def _check_side(array: NDArray[np.uint8], suffix: str) -> None:
    side = max(array.shape[:2])
    if side > _MAX_SIDE[suffix]:
        raise InputError(
            explain(f"sides up to {_MAX_SIDE[suffix]} pixels in {suffix}", str(side), "Scale down or write PNG frames.")
        )


def _write_video(
    arrays: Iterable[NDArray[np.uint8]],
    path: Path,
    fps: Fraction,
    texts: Mapping[str, str],
    container_format: str,
    encoder: Encoder,
) -> None:
    """Encode to a container; `+bitexact` keeps times and versions out of the file, so equal clips are equal bytes."""
    muxing = {"fflags": "+bitexact"}
    if container_format == "mp4":
        # mp4 knows a fixed set of names unless told otherwise.
        muxing["movflags"] = "+faststart" if len(texts) == 1 else "+faststart+use_metadata_tags"
    try:
        with av.open(str(path), "w", format=container_format, options=muxing) as container:
            container.metadata.update(texts)
            stream = None
            for array in arrays:
                frame = to_yuv(_even(array))
                if stream is None:
                    options = encoder.options_at(frame.width, frame.height)
                    stream = cast("VideoStream", container.add_stream(encoder.name, rate=fps, options=options))
                    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                    if encoder.tag:
                        stream.codec_context.codec_tag = encoder.tag
                container.mux(stream.encode(frame))
            if stream is not None:
                container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        # Not every FFmpeg error is an OSError in Python, but all carry the system's number.
        raise OSError(error.errno, str(error)) from error


def _comment(settings: Mapping[str, object], tags: Mapping[str, str]) -> dict[str, str]:
    return {"comment": to_text(settings), **tags}


def _even(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = array.shape[:2]
    return np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") if height % 2 or width % 2 else array


def _write_pngs(
    arrays: Iterable[NDArray[np.uint8]], folder: Path, settings: Mapping[str, object], tags: Mapping[str, str]
) -> None:
    info = png_info(settings, tags)
    count = 0
    for array in arrays:
        Image.fromarray(array).save(folder / f"{count:04d}.png", format="PNG", pnginfo=info)
        count += 1
    if not count:
        raise InputError(explain("at least one frame", "none", "Make a longer clip."))


def _write_gif(arrays: Iterable[NDArray[np.uint8]], path: Path, fps: Fraction, settings: Mapping[str, object]) -> None:
    images = [Image.fromarray(array) for array in arrays]
    palette = _palette(images)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    indexed[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=[10 * units for units in _durations(len(images), fps, 100)],
        loop=0,
        comment=to_text(settings).encode(),
        optimize=False,
    )


def _write_webp(arrays: Iterable[NDArray[np.uint8]], path: Path, fps: Fraction, exif: bytes, quality: int) -> None:
    images = [Image.fromarray(array) for array in arrays]
    images[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=images[1:],
        duration=_durations(len(images), fps, 1000),
        loop=0,
        quality=quality,
        method=4,
        exif=exif,
    )


def _durations(frames: int, fps: Fraction, units: int) -> list[int]:
    """Whole time units for each frame, whose running sum never strays more than half a unit from the true time."""
    marks = [round(index * units / fps) for index in range(frames + 1)]
    return [max(1, later - earlier) for earlier, later in pairwise(marks)]


def _palette(images: list[Image.Image]) -> Image.Image:
    """256 colours for the whole clip, from a strip of its frames."""
    picked = [images[index * (len(images) - 1) // max(_PALETTE_FRAMES - 1, 1)] for index in range(_PALETTE_FRAMES)]
    small = [image.copy() for image in picked]
    for image in small:
        image.thumbnail((_PALETTE_SIDE, _PALETTE_SIDE))
    strip = Image.new("RGB", (sum(image.width for image in small), max(image.height for image in small)))
    left = 0
    for image in small:
        strip.paste(image, (left, 0))
        left += image.width
    return strip.quantize(256, method=Image.Quantize.MEDIANCUT)
