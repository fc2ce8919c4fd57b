"""The axes along which a camera shows motion on a flat picture; signs and units are `path`'s."""

from __future__ import annotations

from typing import Literal, get_args

Axis = Literal["pan", "tilt", "zoom", "roll"]
AXES: tuple[Axis, ...] = get_args(Axis)
UNITS: dict[Axis, str] = {"pan": "% of width", "tilt": "% of height", "zoom": "% of scale", "roll": "degrees"}
"""Units of an amount, a frame or a second."""
POSITIVE: dict[Axis, str] = {"pan": "right", "tilt": "up", "zoom": "in", "roll": "clockwise"}
"""Which way a positive amount goes."""
