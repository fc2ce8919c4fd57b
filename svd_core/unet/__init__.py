"""The inflated UNet of the SVD family."""

from .hoist import HoistedUNet
from .plan import FAST, LEAN, LEANEST, ExecutionPlan
from .unet import VideoUNet

__all__ = ["FAST", "LEAN", "LEANEST", "ExecutionPlan", "HoistedUNet", "VideoUNet"]
