"""The inflated UNet of the SVD family."""

from .hoist import HoistedUNet
from .plan import FAST, LEAN, LEANEST, ExecutionPlan
from .residency import hoist_device, loop_device, place_for_loop
from .unet import VideoUNet

__all__ = [
    "FAST",
    "LEAN",
    "LEANEST",
    "ExecutionPlan",
    "HoistedUNet",
    "VideoUNet",
    "hoist_device",
    "loop_device",
    "place_for_loop",
]
