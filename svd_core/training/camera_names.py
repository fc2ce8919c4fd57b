"""Which presets a camera LoRA can be trained for. No torch: hosts ask before anything is loaded."""

from __future__ import annotations

from ..camera.presets import PRESETS, find_preset

PLANAR = ("pan", "tilt", "zoom", "roll")


def planar_channel(preset: str) -> str | None:
    """The flat picture's channel a preset moves, itself or through its planar stand-in; None for others."""
    channel = find_preset(find_preset(preset).planar or preset).channel
    return channel if channel in PLANAR else None


def trainable() -> list[str]:
    """Presets clips can be made for from flat pictures."""
    return [name for name in PRESETS if planar_channel(name) is not None or name == "static"]
