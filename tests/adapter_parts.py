"""A small network, what goes into it, and what the tests of the adapter look at."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from svd_core.sinusoid import sinusoid
from svd_core.unet import FAST, VideoUNet
from tests.tiny import TINY_UNET, randomise_

CLIPS, FRAMES, HEIGHT, WIDTH = 2, 4, 5, 6
RAMP = torch.tensor([0.0, 0.5, 1.0, -0.7])
EVERYTHING = ("",)
# Layers without a frame axis are exact only where all frames have one strength.
SEES_NO_FRAME = ("time_embed.", "label_emb.", "emb_layers.")


def small_unet() -> VideoUNet:
    """Of random weights, in evaluation mode."""
    torch.set_num_threads(1)
    network = VideoUNet(TINY_UNET)
    randomise_(network)
    return network.eval().requires_grad_(False)


def inputs(tokens: int = 1, frames: int = FRAMES) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """What the network is called with: two clips of different conditioning."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(CLIPS * frames, 8, HEIGHT, WIDTH, generator=generator)
    context = torch.randn(CLIPS, tokens, TINY_UNET.context_dim, generator=generator)
    ids = torch.tensor([[6.0, 127.0, 0.02], [9.0, 40.0, 0.3]])
    return x, torch.tensor([0.7, -0.4]), context, sinusoid(ids, 256).flatten(1), frames


@torch.no_grad()
def run(unet: VideoUNet, **change: object) -> Tensor:
    """Its answer to `inputs`, changed as asked."""
    return unet(*inputs(**{k: v for k, v in change.items() if k != "plan"}), plan=change.get("plan", FAST))


def overrides(unet: nn.Module) -> list[str]:
    """Everything that was set on the instances."""
    return [f"{path}.{name}" for path, m in unet.named_modules() for name in ("forward", "run") if name in vars(m)]
