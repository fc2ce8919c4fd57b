"""SVD Studio's core: Stable Video Diffusion from file to finished clip.

The public names are loaded when first used, so that reading a header or asking for help never waits for torch.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from .camera.adapter import Adapter, Placed, attach
    from .camera.meter import Track, measure
    from .camera.move import CameraStack, Move, join, mix
    from .config import ModelConfig
    from .errors import SvdError
    from .in_betweening.run import in_between
    from .interpolation import interpolate
    from .pipeline import animate
    from .types import Frames, ImageConditioning, MotionControls, StepInfo
    from .video_io import read_clip, read_image, write_clip
    from .weights.build import SvdModel, load_model
    from .weights.lora import load_camera_lora, save_camera_lora
    from .weights.rife import load_interpolator
    from .weights.save import save_model

__all__ = [
    "Adapter",
    "CameraStack",
    "Frames",
    "ImageConditioning",
    "ModelConfig",
    "MotionControls",
    "Move",
    "Placed",
    "StepInfo",
    "SvdError",
    "SvdModel",
    "Track",
    "__version__",
    "animate",
    "attach",
    "in_between",
    "interpolate",
    "join",
    "load_camera_lora",
    "load_interpolator",
    "load_model",
    "measure",
    "mix",
    "read_clip",
    "read_image",
    "save_camera_lora",
    "save_model",
    "write_clip",
]

_HOMES = {
    "Adapter": ".camera.adapter",
    "CameraStack": ".camera.move",
    "Frames": ".types",
    "ImageConditioning": ".types",
    "ModelConfig": ".config",
    "MotionControls": ".types",
    "Move": ".camera.move",
    "Placed": ".camera.adapter",
    "StepInfo": ".types",
    "SvdError": ".errors",
    "SvdModel": ".weights.build",
    "Track": ".camera.meter",
    "animate": ".pipeline",
    "attach": ".camera.adapter",
    "in_between": ".in_betweening.run",
    "interpolate": ".interpolation",
    "join": ".camera.move",
    "load_camera_lora": ".weights.lora",
    "load_interpolator": ".weights.rife",
    "load_model": ".weights.build",
    "measure": ".camera.meter",
    "mix": ".camera.move",
    "read_clip": ".video_io",
    "read_image": ".video_io",
    "save_camera_lora": ".weights.lora",
    "save_model": ".weights.save",
    "write_clip": ".video_io",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562 hands out classes and functions alike
    if name == "__version__":
        return _version()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))


def _version() -> str:
    """The installed version; a source tree that was never installed calls itself unknown."""
    try:
        return metadata.version("svd-studio")
    except metadata.PackageNotFoundError:
        return "0+unknown"
