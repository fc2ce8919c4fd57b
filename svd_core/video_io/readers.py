"""Clips from disk, whole or frame by frame in constant memory: video files, gif, webp, folders of pictures."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np
import torch
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from PIL import Image
from torch import Tensor

from ..errors import FileFormatError, InputError, explain
from ..types import Frames
from .colour import to_rgb
from .images import decode_rgb, has_alpha, over_black, read_picture, with_alpha
from .metadata import container_metadata, image_metadata, read_metadata, stored_rate

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_ANIMATIONS = (".gif", ".webp", ".png", ".apng")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipInfo:
    """What a clip says of itself; `frames` and `fps` are None where only decoding or the user could tell. `alpha` says
    that some of it may be transparent."""

    width: int
    height: int
    frames: int | None
    fps: Fraction | None
    metadata: dict[str, Any]
    alpha: bool = False


def probe(path: Path | str) -> ClipInfo:
    """Size, rate and settings of a clip without decoding it; a clip's own exact rate wins over the container's.

    Raises:
        InputError: no such file, or a folder without pictures.
        FileFormatError: not a clip.
    """
    source = _existing(path)
    with _readable(source):
        if source.is_dir():
            return _probe_folder(source)
        if source.suffix.lower() in _ANIMATIONS:
            return _probe_animation(source)
        return _probe_video(source)


def iter_frames(path: Path | str, *, alpha: bool = False) -> Iterator[Tensor]:
    """Frames `H W 3` float32 in [0, 1], one in memory at a time; errors as in `probe`.

    A video is taken as its frames in order, whatever their time stamps. Frames that an animation holds for
    several periods of its stored rate are repeated; a phone's rotation is applied. Transparency is composed over
    black, or with `alpha` kept: `H W 4`, opaque where a clip has none.
    """
    source = _existing(path)
    with _readable(source):
        if source.is_dir():
            yield from _folder_frames(source, alpha)
        elif source.suffix.lower() in _ANIMATIONS:
            yield from _animation_frames(source, alpha)
        else:
            yield from _video_frames(source, alpha)


def read_clip(path: Path | str, *, fps: Fraction | None = None) -> Frames:
    """The whole clip; `fps` overrides the stored rate and is needed where none is stored (pictures in a folder).

    Raises:
        InputError: no such clip, no known rate, or frames of different sizes.
        FileFormatError: damaged or not a clip.
    """
    rate = fps or probe(path).fps
    if rate is None:
        raise InputError(explain("a playback rate", f"none stored in {path}", "Give the rate (--fps)."))
    frames = list(iter_frames(path))
    if not frames:
        raise FileFormatError(explain(f"frames in {path}", "none", "Check that the file is complete."))
    sizes = {tuple(frame.shape) for frame in frames}
    if len(sizes) > 1:
        found = " and ".join(f"{shape[1]}x{shape[0]}" for shape in sorted(sizes)[:2])
        raise InputError(explain(f"frames of one size in {path}", found, "Remove or resize the odd ones."))
    return Frames(torch.stack(frames), rate)


def frame_files(folder: Path) -> list[Path]:
    """The pictures in a folder, counted the way people count: frame 10 after frame 9.

    Raises:
        InputError: there are none.
    """
    files = [file for file in folder.iterdir() if file.suffix.lower() in FRAME_SUFFIXES]
    if not files:
        raise InputError(explain("pictures in the folder", f"none in {folder}", "Check the path."))
    return sorted(files, key=lambda file: [int(part) if part.isdigit() else part for part in _parts(file.name)])


@contextmanager
def _readable(source: Path) -> Generator[None, None, None]:
    """Turn what decoders raise on a damaged clip into one sentence; errors of ours pass through."""
    try:
        yield
    except (OSError, EOFError, SyntaxError, ValueError, av.error.FFmpegError) as error:
        raise FileFormatError(
            explain(
                f"a complete clip in {source}",
                f"a damaged or unknown file ({type(error).__name__}: {error})",
                "Use mp4, webm, gif, webp or a folder of pictures.",
            )
        ) from error


def _existing(path: Path | str) -> Path:
    source = Path(path)
    if not source.exists():
        raise InputError(explain("a clip or a folder of frames", f"nothing at {source}", "Check the path."))
    if source.is_file() and source.stat().st_size == 0:
        raise FileFormatError(explain(f"a clip in {source}", "an empty file", "Copy or export it again."))
    return source


def _parts(name: str) -> list[str]:
    # Splitting on a group puts numbers at every odd place, so that text is never compared with a number.
    return re.split(r"(\d+)", name.lower())


def _probe_folder(source: Path) -> ClipInfo:
    files = frame_files(source)
    height, width, _ = read_picture(files[0], min_side=1).pixels.shape
    metadata = read_metadata(files[0])
    rate, alpha = stored_rate(metadata, None), any(map(has_alpha, files))
    return ClipInfo(width=width, height=height, frames=len(files), fps=rate, metadata=metadata, alpha=alpha)


def _folder_frames(source: Path, alpha: bool) -> Iterator[Tensor]:
    for file in frame_files(source):
        picture = read_picture(file, min_side=1)
        yield with_alpha(picture) if alpha else picture.over()


def _probe_animation(source: Path) -> ClipInfo:
    with Image.open(source) as image:
        metadata = image_metadata(image)
        return ClipInfo(
            width=image.width,
            height=image.height,
            frames=int(getattr(image, "n_frames", 1)),
            fps=_animation_rate(image, metadata),
            metadata=metadata,
            alpha=image.has_transparency_data,
        )


def _animation_rate(image: Image.Image, metadata: dict[str, Any]) -> Fraction | None:
    """The stored rate if the length of the file agrees with it, else the measured one."""
    milliseconds = sum(_frame_times(image))
    if not milliseconds:
        return stored_rate(metadata, None)
    present, stated = int(getattr(image, "n_frames", 1)), metadata.get("frames")
    by_count = Fraction(1000 * present) / Fraction(milliseconds)
    exact = stored_rate(metadata, None)
    # Encoders drop frames equal to the one before: where the count disagrees, the number asked for may tell the rate.
    if type(stated) is int and stated > 0 and stored_rate(metadata, by_count) != exact:
        return stored_rate(metadata, Fraction(1000 * stated) / Fraction(milliseconds))
    return stored_rate(metadata, by_count)


def _frame_times(image: Image.Image) -> list[Fraction]:
    """How long every frame stands, in milliseconds; 0 where the file does not say."""
    times: list[Fraction] = []
    for index in range(int(getattr(image, "n_frames", 1))):
        image.seek(index)
        image.load()
        times.append(Fraction(image.info.get("duration", 0)))
    image.seek(0)
    return times


def _animation_frames(source: Path, alpha: bool) -> Iterator[Tensor]:
    with Image.open(source) as image:
        metadata = image_metadata(image)
        rate = stored_rate(metadata, None)
        if rate != _animation_rate(image, metadata):
            rate = None  # retimed since: every frame counts once
        elapsed, shown = Fraction(0), 0
        for index in range(int(getattr(image, "n_frames", 1))):
            image.seek(index)
            pixels = decode_rgb(np.asarray(image.convert("RGBA" if alpha or image.has_transparency_data else "RGB")))
            elapsed += Fraction(image.info.get("duration", 0)) / 1000
            until = max(round(elapsed * rate), shown + 1) if rate else index + 1
            for _ in range(until - shown):
                yield pixels if alpha else over_black(pixels)
            shown = until


def _probe_video(source: Path) -> ClipInfo:
    with av.open(str(source)) as container:
        if not container.streams.video:
            raise FileFormatError(explain(f"pictures in {source}", "sound only", "Use a video file."))
        stream = container.streams.video[0]
        metadata = container_metadata(container.metadata)
        measured = stream.average_rate or stream.guessed_rate
        return ClipInfo(
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            frames=stream.frames or None,
            fps=stored_rate(metadata, Fraction(measured) if measured else None),
            metadata=metadata,
            alpha=_alpha_decoder(stream) is not None,
        )


def _alpha_decoder(stream: VideoStream) -> str | None:
    """The decoder that reads the second, grey picture webm keeps transparency in; FFmpeg's own passes it over."""
    return _ALPHA_DECODERS.get(stream.codec_context.name) if stream.metadata.get("alpha_mode") == "1" else None


def _video_frames(source: Path, alpha: bool) -> Iterator[Tensor]:
    with av.open(str(source)) as container:
        if not container.streams.video:
            raise FileFormatError(explain(f"pictures in {source}", "sound only", "Use a video file."))
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        decoder = _alpha_decoder(stream)
        for frame in container.decode(stream) if decoder is None else _transparent(container, stream, decoder):
            pixels = decode_rgb(to_rgb(frame, alpha=alpha or decoder is not None))
            pixels = pixels if alpha else over_black(pixels)
            # The display matrix counts degrees counter-clockwise, as torch does.
            turns = round(int(getattr(frame, "rotation", 0)) / 90) % 4
            yield torch.rot90(pixels, turns) if turns else pixels


def _transparent(container: InputContainer, stream: VideoStream, name: str) -> Iterator[av.VideoFrame]:
    decoder = cast("VideoCodecContext", av.CodecContext.create(name, "r"))
    for packet in container.demux(stream):
        yield from decoder.decode(packet)
