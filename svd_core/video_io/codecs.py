"""Which encoder writes a video, how well, and what to say where this machine has none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import av.codec
import av.error

from ..errors import InputError, choose_from, explain

Codec = Literal["auto", "h264", "h265", "vp9", "av1"]
Quality = Literal["best", "high", "medium", "small"]
CODECS: tuple[Codec, ...] = get_args(Codec)
QUALITIES: tuple[Quality, ...] = get_args(Quality)

_IN_CONTAINER: dict[str, tuple[str, ...]] = {".mp4": ("h264", "h265", "av1", "vp9"), ".webm": ("vp9", "av1")}
"""The first one is what `auto` means: what plays everywhere."""
_ENCODERS: dict[str, tuple[str, ...]] = {
    "h264": ("libx264",),
    "h265": ("libx265",),
    "vp9": ("libvpx-vp9",),
    "av1": ("libsvtav1", "libaom-av1"),
}
# Constant rate factors; scales differ from codec to codec, and so do the values of equal looks.
_CRF: dict[str, dict[Quality, int]] = {
    "h264": {"best": 10, "high": 15, "medium": 20, "small": 27},
    "h265": {"best": 12, "high": 17, "medium": 23, "small": 29},
    "vp9": {"best": 10, "high": 20, "medium": 31, "small": 42},
    "av1": {"best": 12, "high": 22, "medium": 32, "small": 44},
}
_WEBP: dict[Quality, int] = {"best": 100, "high": 92, "medium": 80, "small": 60}
_BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}
# A fixed thread count, because the encoders split their work, and so their bytes, by it.
_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "medium", "threads": "4"},
    "libx265": {"preset": "medium", "x265-params": "log-level=error:pools=4:frame-threads=2"},
    "libvpx-vp9": {"b": "0", "row-mt": "1", "cpu-used": "4", "threads": "4"},
    "libsvtav1": {"preset": "6"},
    "libaom-av1": {"b": "0", "cpu-used": "6", "row-mt": "1", "threads": "4"},
}


# Below this many pixels libx264's macroblock tree gives other bytes for equal frames now and then (29 of 100 clips of
# 96 x 96 and 16 of 60 of 136 x 136, none of 336 from 192 x 192 to 1024 x 576); clips so small can do without it.
_UNSTEADY_TREE = 192 * 192


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the artist chose; `auto` is what plays everywhere in the container."""

    codec: Codec = "auto"
    quality: Quality = "high"

    def __post_init__(self) -> None:
        for name, value, valid in (("codec", self.codec, CODECS), ("quality", self.quality, QUALITIES)):
            if value not in valid:
                raise InputError(choose_from(name, value, valid))


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder of this machine's FFmpeg by name, its options, and the tag that players look for."""

    name: str
    options: Mapping[str, str]
    tag: str | None = None

    def options_at(self, width: int, height: int) -> dict[str, str]:
        """The options for frames of a size: equal frames must give equal bytes, or sweeps could not be compared."""
        if self.name == "libx264" and width * height < _UNSTEADY_TREE:
            return {**self.options, "x264-params": "mbtree=0"}
        return dict(self.options)


def encoder_for(suffix: str, encoding: Encoding) -> Encoder:
    """The encoder for a container, `.mp4` or `.webm`.

    Raises:
        InputError: the container does not take the codec, or PyAV came without an encoder for it.
    """
    fitting = _IN_CONTAINER[suffix]
    codec = fitting[0] if encoding.codec == "auto" else encoding.codec
    if codec not in fitting:
        remedy = f"Choose one of {', '.join(fitting)}, or auto."
        raise InputError(explain(f"a codec that {suffix[1:]} holds", codec, remedy))
    name = next(filter(_is_here, _ENCODERS[codec]), None)
    if name is None:
        here = [other for other in fitting if any(map(_is_here, _ENCODERS[other]))]
        remedy = f"This PyAV can write {', '.join(here) or 'no video at all'}: choose that, or webp, gif or PNG frames."
        raise InputError(explain(f"an encoder for {codec}", f"none of {', '.join(_ENCODERS[codec])}", remedy))
    if name == "libsvtav1":
        # Its library reports every setting on the console unless told to keep to errors.
        os.environ.setdefault("SVT_LOG", "1")
    options = {"crf": str(_CRF[codec][encoding.quality]), **_OPTIONS[name], **_BT709}
    # Apple's players take H.265 under this tag only.
    return Encoder(name, options, "hvc1" if codec == "h265" else None)


def webp_quality(encoding: Encoding) -> int:
    """Pillow's quality for an animated webp, up to 100."""
    return _WEBP[encoding.quality]


def _is_here(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except (ValueError, av.error.FFmpegError):
        return False
    return True
