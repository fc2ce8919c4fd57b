"""What the tests of samples and of their measures share: the usual bucket, and a LoRA of random weights."""

from __future__ import annotations

import torch

from svd_core.camera.lora import CameraLora, LowRank
from tests.models import SMALL, random_model

USUAL = f"bucket {SMALL.sampling.motion_bucket}"


def lora(seed: int = 0) -> CameraLora:
    """Tagged pan_left, on one temporal layer of `SMALL`."""
    generator = torch.Generator().manual_seed(seed)
    networks = random_model(SMALL)
    path = next(name for name, _ in networks.unet.named_modules() if name.endswith("time_stack.0.attn1.to_q"))
    width = networks.unet.get_submodule(path).in_features
    down, up = (0.5 * torch.randn(shape, generator=generator) for shape in ((2, width), (width, 2)))
    return CameraLora(
        name="pan_left",
        deltas={path: LowRank(down, up, 1.0)},
        dialect="ours",
        rank=2,
        alpha=2,
        total=1,
        no_effect=0,
        preset="pan_left",
    )
