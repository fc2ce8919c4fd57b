"""A track drawn as curves: what was measured, solid, and what was asked for, dashed, each axis in its own strip."""

from __future__ import annotations

import textwrap
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..camera.meter import Track
from ..camera.moves import AXES, UNITS, Axis
from ..camera.path import CameraMotion

_SIZE = (720, 560)
_LEFT, _RIGHT, _TOP, _GAP = 16, 16, 58, 14
_TITLE_WIDTH = 96
_BACKGROUND, _GRID, _TEXT, _ASKED = (24, 24, 27), (63, 63, 70), (228, 228, 231), (161, 161, 170)
_COLOURS: dict[Axis, tuple[int, int, int]] = {
    "pan": (96, 165, 250),
    "tilt": (74, 222, 128),
    "zoom": (250, 204, 21),
    "roll": (244, 114, 182),
}
# A strip is never scaled finer than this, in the axis's unit a second: noise must look small.
_LEAST_RANGE = 2.0
_DASH = 6


def track_plot(track: Track, asked: CameraMotion | None = None, title: str = "") -> Image.Image:
    """Draw the speeds a second of every step; steps the meter does not trust are left out of the curve."""
    image = Image.new("RGB", _SIZE, _BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.multiline_text((_LEFT, 10), textwrap.fill(title, _TITLE_WIDTH), fill=_TEXT, font=_font(14))
    height = (_SIZE[1] - _TOP - _GAP * len(AXES)) // len(AXES)
    fps = float(track.fps)
    for index, axis in enumerate(AXES):
        top = _TOP + index * (height + _GAP)
        wanted = None if asked is None else getattr(asked, axis).double() * fps
        _strip(draw, axis, (top, top + height), getattr(track, axis) * fps, wanted, track.trusted)
    return image


def _strip(
    draw: ImageDraw.ImageDraw, axis: Axis, span: tuple[int, int], speeds: Tensor, asked: Tensor | None, trusted: Tensor
) -> None:
    top, bottom = span
    largest = max(float(speeds.abs().max()), 0.0 if asked is None else float(asked.abs().max()), _LEAST_RANGE)
    draw.rectangle((_LEFT, top, _SIZE[0] - _RIGHT, bottom), outline=_GRID)
    middle = (top + bottom) / 2
    draw.line((_LEFT, middle, _SIZE[0] - _RIGHT, middle), fill=_GRID)
    mean = float(speeds[trusted].mean()) if bool(trusted.any()) else 0.0
    label = f"{axis}  {mean:+.2f} {UNITS[axis]} a second"
    label += "" if asked is None else f"   asked {float(asked.mean()):+.2f}"
    draw.text((_LEFT + 8, top + 5), label, fill=_COLOURS[axis], font=_font(13))

    def points(values: Tensor) -> list[tuple[float, float]]:
        half = (bottom - top) / 2 - 6
        across = (_SIZE[0] - _LEFT - _RIGHT) / max(1, len(values))
        return [(_LEFT + (i + 0.5) * across, middle - float(v) / largest * half) for i, v in enumerate(values)]

    if asked is not None:
        for (x0, y0), (x1, y1) in _dashes(points(asked)):
            draw.line((x0, y0, x1, y1), fill=_ASKED, width=2)
    measured = points(speeds)
    for here in range(len(measured)):
        if not bool(trusted[here]):
            continue
        x, y = measured[here]
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=_COLOURS[axis])
        if here and bool(trusted[here - 1]):
            draw.line((*measured[here - 1], x, y), fill=_COLOURS[axis], width=2)


def _dashes(points: list[tuple[float, float]]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The line through the points in short pieces."""
    pieces: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        count = max(1, round((x1 - x0) / (2 * _DASH)))
        for piece in range(count):
            a, b = piece / count, (piece + 0.5) / count
            pieces.append(((x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))))
    return pieces


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
