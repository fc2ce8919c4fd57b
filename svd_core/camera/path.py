"""Where the virtual camera looks on every frame, and what an artist sees it do from one frame to the next.

This file decides the geometry: planar similarity motion, signs and units. Drawing is left to `virtual`,
measuring to `meter`. A path holds states, a motion holds the steps between them; each gives the other exactly.

With complex numbers for points in pixels (x right, y down, origin at the frame's centre), frame `t` shows scene point
`q = d_t + p m_t` at `p`, where `d` is the centre of the view and `m = exp(i roll) / scale`. Between frames a and b
content moves from `p_a` to `p_b = r p_a - sqrt(r) k`, where `r = m_a / m_b` and `k` is the pan and tilt step. The step
is thus counted in the view half-way between the two frames, so that a clip played backwards has exactly the negated
motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError, explain

_PERCENT = 0.01
_DEGREE = math.pi / 180


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMotion:
    """What the camera does between successive frames: four tensors `... T-1` of one shape.

    `pan` in % of the frame's width, > 0 looks right (content moves left); `tilt` in % of its height, > 0 looks up
    (content moves down); `zoom` in % on the log scale, > 0 goes in (content grows by `exp(zoom / 100)`); `roll` in
    degrees, > 0 turns the camera clockwise (content turns counter-clockwise).
    """

    pan: Tensor
    tilt: Tensor
    zoom: Tensor
    roll: Tensor

    def __post_init__(self) -> None:
        _check_shapes(self.pan, self.tilt, self.zoom, self.roll)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPath:
    """Where the camera is on every frame: four tensors `... T` of one shape, signs as in `CameraMotion`.

    `pan` and `tilt` place the centre of the view in the scene, in % of the width and height of the view at zoom 0 and
    along the axes of the view at roll 0; `zoom` is 100 times the log of the scale; `roll` is in degrees.
    """

    pan: Tensor
    tilt: Tensor
    zoom: Tensor
    roll: Tensor

    def __post_init__(self) -> None:
        _check_shapes(self.pan, self.tilt, self.zoom, self.roll)

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.pan.shape[-1]

    @property
    def scale(self) -> Tensor:
        """How much larger than at zoom 0 content appears, `... T`."""
        return torch.exp(self.zoom * _PERCENT)


def integrate(motion: CameraMotion, height: int, width: int) -> CameraPath:
    """The path `... T` that starts at zero and makes the steps of `motion` `... T-1`.

    Height and width (any unit) matter because a roll turns pan, counted in widths, into tilt, counted in heights.
    """
    zoom = _cumulate(motion.zoom)
    roll = _cumulate(motion.roll)
    right, down = _to_scene(motion.pan * width, -motion.tilt * height, zoom, roll)
    return CameraPath(pan=_cumulate(right) / width, tilt=-_cumulate(down) / height, zoom=zoom, roll=roll)


def differentiate(path: CameraPath, height: int, width: int) -> CameraMotion:
    """The steps `... T-1` between successive frames of a path `... T`; the inverse of `integrate`."""
    right, down = _to_view(path.pan.diff() * width, -path.tilt.diff() * height, path.zoom, path.roll)
    return CameraMotion(pan=right / width, tilt=-down / height, zoom=path.zoom.diff(), roll=path.roll.diff())


def pair(path: CameraPath, source: int, target: int) -> CameraPath:
    """The two-frame path of frames `source` and `target`."""

    def pick(values: Tensor) -> Tensor:
        return torch.stack((values[..., source], values[..., target]), dim=-1)

    return CameraPath(pan=pick(path.pan), tilt=pick(path.tilt), zoom=pick(path.zoom), roll=pick(path.roll))


def similarity(motion: CameraMotion, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How content moves: `(a, b, x, y)`, each `... T-1`, maps `(px, py)` to `(a px - b py + x, b px + a py + y)`.

    Coordinates are pixels from the frame's centre, x right and y down.
    """
    scale = torch.exp(motion.zoom * _PERCENT)
    half, angle = torch.sqrt(scale), -motion.roll * _DEGREE
    right, down = motion.pan * (_PERCENT * width), -motion.tilt * (_PERCENT * height)
    x, y = _rotate(-right * half, -down * half, angle / 2)
    return scale * torch.cos(angle), scale * torch.sin(angle), x, y


def displacement(motion: CameraMotion, height: int, width: int) -> Tensor:
    """How far (x, y), in pixels, each pixel's content moves in each step: `... T-1` -> `... T-1 H W 2`."""
    a, b, shift_x, shift_y = (value[..., None, None] for value in similarity(motion, height, width))
    x = _centres(width, motion.pan)
    y = _centres(height, motion.pan)[:, None]
    return torch.stack(((a - 1) * x - b * y + shift_x, b * x + (a - 1) * y + shift_y), dim=-1)


def motion_of(a: Tensor, b: Tensor, x: Tensor, y: Tensor, *, height: int, width: int) -> CameraMotion:
    """The camera motion behind a similarity of content; the inverse of `similarity` for rolls within 180 degrees."""
    scale, angle = torch.hypot(a, b), torch.atan2(b, a)
    right, down = _rotate(-x, -y, -angle / 2)
    half = torch.sqrt(scale)
    return CameraMotion(
        pan=right / half / (_PERCENT * width),
        tilt=-down / half / (_PERCENT * height),
        zoom=torch.log(scale) / _PERCENT,
        roll=-angle / _DEGREE,
    )


def _centres(count: int, like: Tensor) -> Tensor:
    """Pixel centres from the middle of a side."""
    return torch.arange(count, device=like.device, dtype=like.dtype) + (0.5 - count / 2)


def _to_scene(right: Tensor, down: Tensor, zoom: Tensor, roll: Tensor) -> tuple[Tensor, Tensor]:
    """Turn steps `... T-1` seen in the half-way view into steps in the scene; zoom and roll are states `... T`."""
    scale = torch.exp(_middle(zoom) * _PERCENT)
    return _rotate(right / scale, down / scale, _middle(roll) * _DEGREE)


def _to_view(right: Tensor, down: Tensor, zoom: Tensor, roll: Tensor) -> tuple[Tensor, Tensor]:
    scale = torch.exp(_middle(zoom) * _PERCENT)
    return _rotate(right * scale, down * scale, -_middle(roll) * _DEGREE)


def _rotate(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Turn by `angle` radians; with y down this is clockwise on the screen."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return cos * x - sin * y, sin * x + cos * y


def _cumulate(steps: Tensor) -> Tensor:
    return torch.cat((torch.zeros_like(steps[..., :1]), steps.cumsum(dim=-1)), dim=-1)


def _middle(states: Tensor) -> Tensor:
    return (states[..., 1:] + states[..., :-1]) / 2


def _check_shapes(*values: Tensor) -> None:
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) != 1:
        found = ", ".join(str(tuple(value.shape)) for value in values)
        raise InputError(explain("pan, tilt, zoom and roll of one shape", found, "Give one number a frame each."))
