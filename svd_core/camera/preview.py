"""What a camera will do, drawn: where its views lie in the picture, and its place and speed over the frames.

Planar geometry only; nothing is sampled and no model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..video_io.images import encode_rgb
from .curves import presence, speeds
from .move import CameraStack, Move
from .path import CameraPath, integrate
from .presets import find_preset
from .stack import Plan, resolve
from .virtual import view_grid

Colour = tuple[int, int, int]

_GROUND: Colour = (24, 24, 27)
_FAINT: Colour = (63, 63, 70)
_TEXT: Colour = (228, 228, 231)
# First and last view; what lies between is blended.
_FIRST: Colour = (56, 189, 248)
_LAST: Colour = (251, 113, 36)
_LINES: tuple[Colour, ...] = ((56, 189, 248), (251, 146, 60), (74, 222, 128), (244, 114, 182), (250, 204, 21))
_OUTLINES = 8
# Views further out than this share of a side beyond the picture are cut off.
_MOST_ROOM = 1.0
_PLOT = (640, 360)
_MARGIN = 48


def draw_path(image: Tensor, stack: CameraStack, frames: int, fps: float) -> Tensor:
    """The frame's way over a picture `H W 3` in [0, 1]: outlines from blue (first) to orange, and the centre's track.

    Returns `h w 3`: the picture, with room around it where the camera looks beyond. LoRAs without a preset have no
    known way and are not drawn. Parallax moves are drawn as their planar stand-ins.

    Raises:
        InputError: a range outside the clip, or a clip of one frame.
    """
    height, width = image.shape[:2]
    motion = _as_planar(stack, frames, fps).planar
    corners = _corners(None if motion is None else integrate(motion, height, width), frames, height, width)
    room = (corners.abs().amax(dim=(0, 1)) - 1).clamp(min=0.02, max=_MOST_ROOM)
    size = [round(side * (1 + float(extra))) for side, extra in zip((width, height), room, strict=True)]
    canvas = Image.new("RGB", (size[0], size[1]), _GROUND)
    origin = ((size[0] - width) // 2, (size[1] - height) // 2)
    picture = Image.fromarray(encode_rgb(image.float().cpu()))
    canvas.paste(Image.blend(picture, Image.new("RGB", picture.size, _GROUND), 0.35), origin)
    scale = torch.tensor([width / 2, height / 2])
    points = (corners + 1) * scale + torch.tensor(origin, dtype=torch.float32)
    _outlines(ImageDraw.Draw(canvas), points, max(2, round(min(size) / 200)))
    return _tensor(canvas)


def draw_curves(stack: CameraStack, frames: int, fps: float) -> Tensor:
    """Position and speed of every move over the frames, `h w 3`: thick lines are the way done, thin ones the speed.

    Errors as in `draw_path`.
    """
    canvas = Image.new("RGB", _PLOT, _GROUND)
    draw = ImageDraw.Draw(canvas)
    rows = [_curve(move, frames) for move in stack.moves]
    plot = _Plot(draw, frames, rows)
    plot.axes(fps)
    for index, (row, move) in enumerate(zip(rows, stack.moves, strict=True)):
        colour = _LINES[index % len(_LINES)]
        plot.line(row.position, colour, 3)
        plot.line(row.speed, _mixed(colour, _GROUND, 0.5), 1)
        plot.label(index, f"{move.label} {move.speed:g}", colour)
    return _tensor(canvas)


def warning(stack: CameraStack, frames: int, fps: float) -> str | None:
    """What is wrong with the way of the moves that bring no LoRA, should none be found for them; None if nothing is.

    Errors as in `draw_path`.
    """
    own = CameraStack(tuple(move for move in stack.moves if move.lora is None))
    found = resolve(own, frames, fps, None).caution
    return None if found is None else f"Where no camera LoRA carries the moves: {found}"


@dataclass(frozen=True, slots=True)
class _Curve:
    """One move over the frames, both `T`: part of the way done, and speed over the fastest."""

    position: Tensor
    speed: Tensor


@dataclass(frozen=True, slots=True)
class _Plot:
    """A drawing of values over frames; the value range is that of all rows and always holds 0 and 1."""

    draw: ImageDraw.ImageDraw
    frames: int
    rows: Sequence[_Curve]

    def axes(self, fps: float) -> None:
        """Lines at 0 and 1, frame numbers and seconds below."""
        for value, name in ((0.0, "0"), (1.0, "whole way")):
            x, y = self._at(0, value)
            self.draw.line((x, y, _PLOT[0] - _MARGIN / 2, y), fill=_FAINT)
            self.draw.text((x + 4, y + 2), name, fill=_FAINT, font=ImageFont.load_default(12))
        for frame in sorted({round(index * (self.frames - 1) / 6) for index in range(7)}):
            x, y = self._at(frame, self._low())
            self.draw.line((x, y, x, y + 4), fill=_TEXT)
            self.draw.text((x, y + 6), f"{frame}", fill=_TEXT, font=ImageFont.load_default(12), anchor="mt")
        seconds = f"frames; {(self.frames - 1) / fps:.3g} s   thick: way done, thin: speed"
        self.draw.text((_MARGIN, _PLOT[1] - 18), seconds, fill=_TEXT, font=ImageFont.load_default(12))

    def line(self, values: Tensor, colour: Colour, width: int) -> None:
        """One value a frame."""
        points = [self._at(frame, float(value)) for frame, value in enumerate(values)]
        self.draw.line(points, fill=colour, width=width, joint="curve")

    def label(self, index: int, text: str, colour: Colour) -> None:
        """The name of a line."""
        if index < 12:
            self.draw.text((_MARGIN + 8, 8 + 16 * index), text, fill=colour, font=ImageFont.load_default(13))

    def _low(self) -> float:
        return min([0.0, *(float(torch.minimum(row.position, row.speed).min()) for row in self.rows)])

    def _high(self) -> float:
        return max([1.0, *(float(torch.maximum(row.position, row.speed).max()) for row in self.rows)])

    def _at(self, frame: int, value: float) -> tuple[float, float]:
        low, high = self._low(), self._high()
        x = _MARGIN + (_PLOT[0] - 1.5 * _MARGIN) * frame / max(1, self.frames - 1)
        return x, _PLOT[1] - _MARGIN - (_PLOT[1] - 2.5 * _MARGIN) * (value - low) / (high - low)


def _as_planar(stack: CameraStack, frames: int, fps: float) -> Plan:
    """The plan of the presets alone, whoever might carry them."""
    presets = tuple(replace(move, lora=None) for move in stack.moves if move.preset is not None)
    return resolve(CameraStack(presets), frames, fps, None)


def _corners(path: CameraPath | None, frames: int, height: int, width: int) -> Tensor:
    """Corners of every view in the picture, `T 4 2`, in [-1, 1] where they lie inside it."""
    if path is None:
        path = CameraPath(**{name: torch.zeros(frames) for name in ("pan", "tilt", "zoom", "roll")})
    # Four pixels make up the view; their centres lie half-way to its corners.
    grid = view_grid(path, 2, 2).float()
    centre = grid.mean(dim=(1, 2), keepdim=True)
    edges = centre + (grid - centre) * 2
    return torch.stack((edges[:, 0, 0], edges[:, 0, 1], edges[:, 1, 1], edges[:, 1, 0]), dim=1)


def _outlines(draw: ImageDraw.ImageDraw, points: Tensor, thick: int) -> None:
    count = len(points)
    track = points.mean(dim=1)
    for start in range(count - 1):
        ends = [tuple(track[index].tolist()) for index in (start, start + 1)]
        draw.line(ends, fill=_blend(start, count), width=thick)
    for index in sorted({round(step * (count - 1) / (_OUTLINES - 1)) for step in range(_OUTLINES)}):
        shape = [tuple(corner.tolist()) for corner in points[index]]
        whole = index in (0, count - 1)
        draw.line([*shape, shape[0]], fill=_blend(index, count), width=thick if whole else max(1, thick // 2))


def _curve(move: Move, frames: int) -> _Curve:
    if move.preset is not None and not find_preset(move.preset).sign:
        there = presence(frames, move.frames, move.parts)
        return _Curve(there, there)
    steps = speeds(frames, move.frames, move.ease, move.parts)
    way = torch.cat((steps.new_zeros(1), steps.cumsum(0)))
    return _Curve(
        way / max(1e-9, float(way.abs().max())), torch.cat((steps[:1], steps)) / max(1e-9, float(steps.abs().max()))
    )


def _blend(index: int, count: int) -> Colour:
    return _mixed(_LAST, _FIRST, index / max(1, count - 1))


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a * share + b * (1 - share)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _tensor(image: Image.Image) -> Tensor:
    width, height = image.size
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(height, width, 3).float() / 255
