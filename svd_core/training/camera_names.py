"""Which presets a camera LoRA can be trained for. No torch: hosts ask before anything is loaded."""

from __future__ import annotations

from typing import Literal, get_args

from ..camera.presets import PRESETS, find_preset

Planar = Literal["pan", "tilt", "zoom", "roll"]
_PLANAR: tuple[Planar, ...] = get_args(Planar)


def planar_channel(preset: str) -> Planar | None:
    """The flat picture's channel a preset moves, itself or through its planar stand-in; None for others."""
    channel = find_preset(find_preset(preset).planar or preset).channel
    return next((known for known in _PLANAR if known == channel), None)


def trainable() -> list[str]:
    """Presets clips can be made for from flat pictures."""
    return [name for name in PRESETS if planar_channel(name) is not None or name == "static"]
