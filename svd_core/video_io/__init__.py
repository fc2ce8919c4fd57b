"""Pictures and clips on disk: what is read, what is written, and what travels inside the file.

Frames are float32 `T H W 3` in [0, 1]; everything a file cannot hold exactly is said in the docstrings here.
"""

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
