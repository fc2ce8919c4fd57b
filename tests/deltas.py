"""Random camera LoRAs for networks, and the same change made to the weights by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from svd_core.camera.lora import CameraLora, LowRank

TEMPORAL_ATTENTION = ("time_stack.0.attn1.", "time_stack.0.attn2.")


def paths_of(unet: nn.Module, parts: Sequence[str] = TEMPORAL_ATTENTION) -> list[str]:
    """Linear layers and convolutions whose path holds one of the parts; all of them where parts is ("",)."""
    return [
        path
        for path, module in unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d) and any(part in path for part in parts)
    ]


def random_lora(
    unet: nn.Module, seed: int, parts: Sequence[str] = TEMPORAL_ATTENTION, *, rank: int = 3, name: str = "random"
) -> CameraLora:
    """A LoRA on those layers, strong enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    modules = dict(unet.named_modules())

    def delta(path: str) -> LowRank:
        shape = modules[path].weight.shape
        down = torch.randn(rank, *shape[1:], generator=generator) / shape[1:].numel() ** 0.5
        up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator) / rank**0.5
        return LowRank(down, up, scale=0.5)

    return lora_of({path: delta(path) for path in paths_of(unet, parts)}, name)


def lora_of(deltas: dict[str, LowRank], name: str = "random") -> CameraLora:
    """The LoRA of these deltas."""
    return CameraLora(name=name, deltas=deltas, dialect="ours", rank=3, alpha=None, total=len(deltas), no_effect=0)


def full(delta: LowRank) -> Tensor:
    """The change of the weight itself."""
    product = delta.up.flatten(1) @ delta.down.flatten(1)
    return delta.scale * product.view(delta.up.shape[0], *delta.down.shape[1:])


@torch.no_grad()
def merge_(unet: nn.Module, loras: Iterable[tuple[CameraLora, float]]) -> nn.Module:
    """Write the change into the weights: what a network with the LoRA baked in is."""
    modules = dict(unet.named_modules())
    for lora, strength in loras:
        for path, delta in lora.deltas.items():
            modules[path].weight += strength * full(delta)
    return unet
