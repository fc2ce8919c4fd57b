"""Checkpoints in and out. `inspect` reads headers only and needs no torch; the rest is imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .inspection import inspect

if TYPE_CHECKING:
    from .build import SvdModel, check_finite, load_model
    from .fingerprint import base_fingerprint, same_base
    from .lora import load_camera_lora, save_camera_lora
    from .rife import load_interpolator
    from .save import save_model

__all__ = [
    "SvdModel",
    "base_fingerprint",
    "check_finite",
    "inspect",
    "load_camera_lora",
    "load_interpolator",
    "load_model",
    "same_base",
    "save_camera_lora",
    "save_model",
]

_LAZY = {
    "SvdModel": ".build",
    "base_fingerprint": ".fingerprint",
    "check_finite": ".build",
    "load_camera_lora": ".lora",
    "load_interpolator": ".rife",
    "load_model": ".build",
    "same_base": ".fingerprint",
    "save_camera_lora": ".lora",
    "save_model": ".save",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (a module attribute can be anything)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
