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

from ..camera.meter import Track
from ..camera.path import motion_of
from ..training.camera_trials import COLUMNS, columns_of
from ..types import Frames
from ..video_io import encode_rgb

# Corners are looked for on pictures of at least this height: the embedded model's are small.
_HEIGHT = 256
_CORNERS = 300
_FEWEST = 8
_AT_REST = [1.0, 0.0, 0.0, 0.0]


def opencv_available() -> bool:
    """Whether OpenCV can be imported."""
    return find_spec("cv2") is not None


def by_opencv(clip: Frames) -> list[float]:
    """OpenCV as judge."""
    return columns_by_opencv(clip, opencv_track(clip))


def columns_by_opencv(clip: Frames, track: Track) -> list[float]:
    """The bench's columns from OpenCV's track; NaN throughout when no pair of frames shows enough corners."""
    return columns_of(clip, track) if bool(track.trusted.any()) else [math.nan] * len(COLUMNS)


def opencv_track(clip: Frames) -> Track:
    """The camera by `estimateAffinePartial2D`; pairs without enough corners are not trusted."""
    # An optional neighbour: imported by name, so that nothing here depends on it.
    cv2 = cast("Any", import_module("cv2"))
    height, width = clip.pixels.shape[1:3]
    factor = max(1, math.ceil(_HEIGHT / height))
    frames = [_grey(cv2, encode_rgb(frame), factor) for frame in clip.pixels]
    fits = [_fit(cv2, first, second) for first, second in pairwise(frames)]
    found = torch.tensor([fit is not None for fit in fits])
    a, b, x, y = torch.tensor([fit or _AT_REST for fit in fits], dtype=torch.float64).unbind(dim=1)
    steps = motion_of(a, b, x, y, height=height * factor, width=width * factor)
    return Track(
        pan=steps.pan,
        tilt=steps.tilt,
        zoom=steps.zoom,
        roll=steps.roll,
        confidence=found.double(),
        residual=torch.zeros(len(fits), dtype=torch.float64),
        height=height,
        width=width,
        fps=clip.fps,
    )


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
