"""A second opinion on camera motion: OpenCV's corners, followed and fitted with RANSAC, where OpenCV is installed."""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ..camera.moves import AXES
from ..camera.path import displacement, motion_of
from ..types import Frames
from ..video_io import encode_rgb

# Corners are looked for on pictures of at least this height: the embedded model's are small.
_HEIGHT = 256
_CORNERS = 300
_FEWEST = 8


def opencv_available() -> bool:
    """Whether OpenCV can be imported."""
    return find_spec("cv2") is not None


def by_opencv(clip: Frames) -> list[float]:
    """The bench's columns from `estimateAffinePartial2D`; NaN for the subject, which it does not see.

    Pairs without enough corners do not count; NaN throughout when there is none that does.
    """
    # An optional neighbour: imported by name, so that nothing here depends on it.
    cv2 = cast("Any", import_module("cv2"))
    height, width = clip.pixels.shape[1:3]
    factor = max(1, math.ceil(_HEIGHT / height))
    frames = [_grey(cv2, encode_rgb(frame), factor) for frame in clip.pixels]
    fits = [_fit(cv2, first, second) for first, second in pairwise(frames)]
    found = [fit for fit in fits if fit is not None]
    if not found:
        return [math.nan] * (len(AXES) + 2)
    a, b, x, y = torch.tensor(found, dtype=torch.float64).unbind(dim=1)
    motion = motion_of(a, b, x, y, height=height * factor, width=width * factor)
    rate = float(clip.fps)
    camera = float(displacement(motion, height, width).norm(dim=-1).mean()) * 100 / width
    return [*(float(getattr(motion, axis).mean()) * rate for axis in AXES), camera, math.nan]


def _grey(cv2: Any, frame: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:  # noqa: ANN401
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    size = (frame.shape[1] * factor, frame.shape[0] * factor)
    return cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC) if factor > 1 else grey


def _fit(cv2: Any, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> list[float] | None:  # noqa: ANN401
    """(a, b, x, y) of the similarity from the first frame's centre coordinates to the second's."""
    corners = cv2.goodFeaturesToTrack(first, _CORNERS, 0.01, 6)
    if corners is None or len(corners) < _FEWEST:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None)
    kept = status.ravel() == 1
    if int(kept.sum()) < _FEWEST:
        return None
    middle = np.array([(first.shape[1] - 1) / 2, (first.shape[0] - 1) / 2], dtype=np.float32)
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffinePartial2D(
        corners.reshape(-1, 2)[kept] - middle, moved.reshape(-1, 2)[kept] - middle, method=cv2.RANSAC
    )
    if matrix is None:
        return None
    return [float(matrix[0, 0]), float(matrix[1, 0]), float(matrix[0, 2]), float(matrix[1, 2])]
