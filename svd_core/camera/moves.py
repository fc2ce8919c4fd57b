"""The axes along which a camera shows motion on a flat picture; signs and units are `path`'s."""

from __future__ import annotations

from typing import Literal, get_args

Axis = Literal["pan", "tilt", "zoom", "roll"]
AXES: tuple[Axis, ...] = get_args(Axis)
