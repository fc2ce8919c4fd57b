"""Sound carried from one file to another as it is, packet by packet, without coding it again."""

from __future__ import annotations

from pathlib import Path

import av
import av.error

from ..errors import FileFormatError, explain

# What players expect to find in a container; anything else would be written but not heard.
_HEARD = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "webm": {"opus", "vorbis"},
}


def sound_of(path: Path, container: str) -> str | None:
    """The codec of the first sound track of a clip if it can be copied into `container` (mp4 or webm)."""
    if path.is_dir() or container not in _HEARD:
        return None
    try:
        with av.open(str(path)) as source:
            codec = source.streams.audio[0].codec_context.name if source.streams.audio else None
    except (av.error.FFmpegError, OSError, ValueError):
        return None
    return codec if codec is not None and codec.removesuffix("float") in _HEARD[container] else None


def add_sound(pictures: Path, sound: Path, target: Path, container: str) -> None:
    """Write `target` with the pictures of one file and the first sound track of another, both copied.

    Raises:
        FileFormatError: one of them cannot be copied.
    """
    try:
        options = {
            "fflags": "+bitexact",
            **({"movflags": "+faststart+use_metadata_tags"} if container == "mp4" else {}),
        }
        with (
            av.open(str(pictures)) as first,
            av.open(str(sound)) as second,
            av.open(str(target), "w", format=container, options=options) as output,
        ):
            output.metadata.update(first.metadata)
            tracks = [first.streams.video[0], second.streams.audio[0]]
            copies = [output.add_stream_from_template(track) for track in tracks]
            packets = [first.demux(tracks[0]), second.demux(tracks[1])]
            for copy, track in zip(copies, packets, strict=True):
                for packet in track:
                    # The empty packet at the end only flushes decoders.
                    if packet.dts is not None:
                        packet.stream = copy
                        output.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        raise FileFormatError(
            explain(f"sound that can be copied from {sound}", str(error), "Write without it: --no-sound.")
        ) from error
