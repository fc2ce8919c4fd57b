"""Pictures and clips on disk: what is read, what is written, and what travels inside the file.

Frames are float32 `T H W 3` in [0, 1]; everything a file cannot hold exactly is said in the docstrings here.
The names are loaded when first used: writing a record atomically must not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .atomic import atomic_file, atomic_folder, check_writable
    from .images import Picture, encode_rgb, read_image, read_picture
    from .metadata import read_metadata
    from .readers import ClipInfo, iter_frames, probe, read_clip
    from .writers import CLIP_SUFFIXES, write_clip, write_frames

__all__ = [
    "CLIP_SUFFIXES",
    "ClipInfo",
    "Picture",
    "atomic_file",
    "atomic_folder",
    "check_writable",
    "encode_rgb",
    "iter_frames",
    "probe",
    "read_clip",
    "read_image",
    "read_metadata",
    "read_picture",
    "write_clip",
    "write_frames",
]

_HOMES = {
    "CLIP_SUFFIXES": ".writers",
    "ClipInfo": ".readers",
    "Picture": ".images",
    "atomic_file": ".atomic",
    "atomic_folder": ".atomic",
    "check_writable": ".atomic",
    "encode_rgb": ".images",
    "iter_frames": ".readers",
    "probe": ".readers",
    "read_clip": ".readers",
    "read_image": ".images",
    "read_metadata": ".metadata",
    "read_picture": ".images",
    "write_clip": ".writers",
    "write_frames": ".writers",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 hands out classes and functions alike
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
