"""RGB to 4:2:0 video and back, with the colour matrix named and nothing rounded away.

Left alone, the scaler in FFmpeg truncates (a whole level darker) and repeats chroma over two pixels.
"""

from __future__ import annotations

import av
import numpy as np
from av.video import reformatter
from numpy.typing import NDArray

_BT709 = 1
_BT601 = 5
_UNSPECIFIED = 2
# Files that do not name their matrix: players take BT.709 from this height on.
_HIGH_DEFINITION = 720


def to_yuv(array: NDArray[np.uint8]) -> av.VideoFrame:
    """uint8 `H W 3` with even sides -> a BT.709 limited-range 4:2:0 frame."""
    frame = av.VideoFrame.from_ndarray(array, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=_BT709, interpolation=_careful())


def to_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Any decoded frame -> uint8 `H W 3`."""
    matrix = int(frame.colorspace)
    if matrix == _UNSPECIFIED:
        matrix = _BT709 if frame.height >= _HIGH_DEFINITION else _BT601
    converted = frame.reformat(format="rgb24", src_colorspace=matrix, interpolation=_careful())
    return converted.to_ndarray().astype(np.uint8, copy=False)


def _careful() -> int | None:
    """Full-resolution chroma and true rounding, where this PyAV can ask for them (15 and newer)."""
    modes = reformatter.Interpolation
    if not hasattr(modes, "ACCURATE_RND") or not hasattr(modes, "FULL_CHR_H_INT"):
        return None
    return int(modes.BICUBIC) | int(modes.ACCURATE_RND) | int(modes.FULL_CHR_H_INT)
