"""Exact synthetic clips for the camera meter, drawn by OpenCV alone.

Nothing here uses svd_core: views are 2 x 3 matrices composed in numpy, drawn with Lanczos at several times the size
and averaged down, so that a wrong sign or half a pixel in the package cannot cancel against itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

AXES = ("pan", "tilt", "zoom", "roll")


@dataclass(frozen=True)
class Scene:
    """A clip `T H W 3` in [0, 1] and the true motion of each pair, `T-1 4` in the order of AXES."""

    frames: np.ndarray
    truth: np.ndarray


def texture(kind: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """A `size size 3` picture: fractal noise, flat shapes with hard edges, or both."""
    if kind == "noise":
        return _fractal(size, rng)
    canvas = _fractal(size, rng) * (0.15 if kind == "shapes" else 0.6)
    for _ in range(220):
        colour = tuple(float(value) for value in rng.random(3))
        x, y = (int(value) for value in rng.integers(0, size, 2))
        radius = int(size * rng.uniform(0.01, 0.07))
        if rng.random() < 0.5:
            cv2.circle(canvas, (x, y), radius, colour, -1, cv2.LINE_AA)
        else:
            box = cv2.boxPoints(((x, y), (radius * 2, radius * rng.uniform(0.3, 2)), rng.uniform(0, 180)))
            cv2.fillPoly(canvas, [box.astype(np.int32)], colour, cv2.LINE_AA)
    if kind == "mixed":
        canvas = 0.7 * canvas + 0.3 * _fractal(size, rng)
    return np.clip(canvas, 0, 1).astype(np.float32)


def similarity(pan: float, tilt: float, zoom: float, roll: float, height: int, width: int) -> np.ndarray:
    """3 x 3 map of content between two frames, pixels from the centre, y down; the step counted half-way."""
    half = np.exp(zoom / 200)
    angle = -np.radians(roll) / 2
    turn = half * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    result = np.eye(3)
    result[:2, :2] = turn @ turn
    result[:2, 2] = -turn @ np.array([pan / 100 * width, -tilt / 100 * height])
    return result


def draw(
    truth: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
    *,
    kind: str = "mixed",
    foreground: float = 0.0,
    noise: float = 0.0,
    blur: float = 0.0,
    samples: int = 3,
) -> Scene:
    """Draw the clip whose pairs move by `truth`, with a subject of its own motion over part of the frame."""
    height, width = size
    side = int(1.6 * max(size))
    back, front = texture(kind, side * 2, rng), texture(kind, side * 2, rng)
    views, subject = [np.eye(3)], [np.eye(3)]
    drift = rng.uniform(-4, 4, 2)
    for step in truth:
        views.append(views[-1] @ np.linalg.inv(similarity(*step, height, width)))
        own = similarity(*drift, rng.uniform(-1, 1), rng.uniform(-2, 2), height, width)
        subject.append(subject[-1] @ np.linalg.inv(own))
    outline = _outline(size, foreground, rng)
    frames = []
    for view, own in zip(views, subject, strict=True):
        big = _warp(back, view, size, samples)
        if foreground:
            mask = _warp(outline, own, size, samples)[..., None]
            big = big * (1 - mask) + _warp(front, own, size, samples) * mask
        frame = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)
        frame = cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame
        frames.append(np.clip(frame + noise * rng.standard_normal(frame.shape), 0, 1).astype(np.float32))
    return Scene(np.stack(frames), np.asarray(truth, dtype=np.float64))


def opencv_track(frames: np.ndarray) -> np.ndarray:
    """Motion of each pair `T-1 4` by OpenCV: good features, pyramidal Lucas-Kanade, affine RANSAC."""
    grey = [cv2.cvtColor((frame * 255).round().astype(np.uint8), cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.array([_opencv_pair(first, second) for first, second in pairwise(grey)])


def _opencv_pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    height, width = first.shape
    points = cv2.goodFeaturesToTrack(first, 800, 0.01, max(3, min(height, width) // 64))
    if points is None:
        return np.zeros(4)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, winSize=(21, 21), maxLevel=4)
    kept = found.ravel() == 1
    cv2.setRNGSeed(0)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix, _ = cv2.estimateAffinePartial2D(
        points[kept] - centre, moved[kept] - centre, method=cv2.RANSAC, ransacReprojThreshold=1.0, maxIters=5000
    )
    if matrix is None:
        return np.zeros(4)
    return _decompose(matrix, height, width)


def _decompose(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    root = np.sqrt(complex(matrix[0, 0], matrix[1, 0]))
    shift = -complex(matrix[0, 2], matrix[1, 2]) / root
    return np.array(
        [shift.real / width * 100, -shift.imag / height * 100, 200 * np.log(abs(root)), -2 * np.degrees(np.angle(root))]
    )


def _fractal(size: int, rng: np.random.Generator) -> np.ndarray:
    total = np.zeros((size, size, 3), np.float32)
    for octave in range(2, 10):
        cells = 2**octave
        if cells * 2 > size:
            break
        grains = rng.random((cells, cells, 3)).astype(np.float32)
        layer = cv2.resize(grains, (size, size), interpolation=cv2.INTER_CUBIC)
        total += (layer - 0.5) * 0.8**octave
    return (total - total.min()) / (total.max() - total.min())


def _outline(size: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """An ellipse covering `share` of the frame, on a canvas twice as large as the frame, centred alike."""
    height, width = size
    canvas = np.zeros((2 * height, 2 * width), np.float32)
    if share:
        ratio = rng.uniform(0.7, 1.4)
        axes = np.sqrt(share * height * width / np.pi) * np.array([ratio, 1 / ratio])
        centre = np.array([width, height]) + rng.uniform(-0.1, 0.1, 2) * [width, height]
        cv2.ellipse(canvas, (tuple(centre), tuple(2 * axes), float(rng.uniform(0, 180))), 1.0, -1, cv2.LINE_AA)
    return canvas


def _warp(picture: np.ndarray, view: np.ndarray, size: tuple[int, int], samples: int) -> np.ndarray:
    """Show `picture` (centred on the frame; a texture is twice as fine) through a view, `samples` times finer."""
    height, width = size
    fine = 1.0 if picture.ndim == 2 else 2.0
    linear = view[:2, :2] * fine / samples
    start = np.array([0.5 - width * samples / 2, 0.5 - height * samples / 2])
    centre = np.array([picture.shape[1], picture.shape[0]]) / 2 - 0.5
    offset = centre + fine * view[:2, 2] + linear @ start
    return cv2.warpAffine(
        picture,
        np.hstack([linear, offset[:, None]]),
        (width * samples, height * samples),
        flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
