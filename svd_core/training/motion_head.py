"""A lesson in seeing motion, beside the denoising loss: from the middle of the UNet a small head must tell where every
place of a frame lay in the first frame. The head is left behind when the model is written.

Errors of pixels say little about motion, least of all where noise is strong; asked for it directly, inner features
learn it sooner (H. Chefer et al. 2025, "VideoJAM", predict flow beside pixels; S. Yu et al. 2024, "Representation
alignment", supervise inner features).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..camera.path import CameraPath
from ..camera.virtual import flow
from ..unet.unet import VideoUNet


class MotionHead(nn.Sequential):
    """Two 1 x 1 convolutions: features `(b t) c h w` -> way back to the first frame `(b t) 2 h w`, in latent cells."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 1), nn.SiLU(), nn.Conv2d(width, 2, 1))

    def loss(self, features: Tensor, origins: Tensor) -> Tensor:
        """Mean squared error against `origins` `b t 2 h' w'`, averaged down to the features' size."""
        told = self(features)
        true = F.adaptive_avg_pool2d(rearrange(origins, "b t c h w -> (b t) c h w"), told.shape[-2:])
        return (told.float() - true.to(told.device)).square().mean()


def origins(path: CameraPath, height: int, width: int) -> Tensor:
    """Way in cells `T 2 h w` from what each cell of each frame shows to where the first frame shows it: of what stands
    still while the camera moves."""
    back = CameraPath(
        pan=_to_first(path.pan), tilt=_to_first(path.tilt), zoom=_to_first(path.zoom), roll=_to_first(path.roll)
    )
    return rearrange(flow(back, height, width), "t 1 h w xy -> t xy h w")


@contextmanager
def middle_of(unet: VideoUNet) -> Generator[list[Tensor]]:
    """Collects what leaves the middle block, `(b t) c h w`, once for every forward pass within."""
    seen: list[Tensor] = []

    def collect(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen.append(output)

    handle = unet.middle_block[-1].register_forward_hook(collect)
    try:
        yield seen
    finally:
        handle.remove()


def _to_first(values: Tensor) -> Tensor:
    """Two-frame paths `T 2` from every frame to the first."""
    return torch.stack((values, values[:1].expand_as(values)), dim=-1)
