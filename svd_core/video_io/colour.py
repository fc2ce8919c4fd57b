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
_WITH_ALPHA = 4
# Files that do not name their matrix: players take BT.709 from this height on.
_HIGH_DEFINITION = 720


def to_yuv(array: NDArray[np.uint8]) -> av.VideoFrame:
    """uint8 `H W 3`, or 4 with alpha, with even sides -> a BT.709 limited-range 4:2:0 frame."""
    source, target = ("rgba", "yuva420p") if array.shape[2] == _WITH_ALPHA else ("rgb24", "yuv420p")
    frame = av.VideoFrame.from_ndarray(array, format=source)
    return frame.reformat(format=target, dst_colorspace=_BT709, interpolation=_careful())


def to_rgb(frame: av.VideoFrame, *, alpha: bool = False) -> NDArray[np.uint8]:
    """Any decoded frame -> uint8 `H W 3`, with `alpha` `H W 4`."""
    matrix = int(frame.colorspace)
    if matrix == _UNSPECIFIED:
        matrix = _BT709 if frame.height >= _HIGH_DEFINITION else _BT601
    converted = frame.reformat(format="rgba" if alpha else "rgb24", src_colorspace=matrix, interpolation=_careful())
    return converted.to_ndarray().astype(np.uint8, copy=False)


def _careful() -> int | None:
    """Full-resolution chroma and true rounding, where this PyAV can ask for them (15 and newer)."""
    modes = reformatter.Interpolation
    if not hasattr(modes, "ACCURATE_RND") or not hasattr(modes, "FULL_CHR_H_INT"):
        return None
    return int(modes.BICUBIC) | int(modes.ACCURATE_RND) | int(modes.FULL_CHR_H_INT)
