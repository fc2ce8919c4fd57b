"""Networks with random weights for checks and benches that must run where no checkpoint is."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..config import SVD, AutoencoderConfig, UNetConfig
from ..unet import VideoUNet

Network = TypeVar("Network", bound=nn.Module)

SMALL_UNET: UNetConfig = dataclasses.replace(
    SVD.unet, channels=(32, 64, 64, 64), head_channels=16, context_dim=32, norm_groups=32
)
SMALL_AUTOENCODER: AutoencoderConfig = dataclasses.replace(SVD.autoencoder, channels=(32, 32, 64, 64))


def filled(
    network: Network,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    seed: int = 0,
    on_device: bool = False,
) -> Network:
    """Weights for a network built on the meta device, drawn on the CPU so that every device gets the same.

    `on_device` draws where the weights will be: other numbers on other devices, but billions of them at once.

    Variance-preserving matrices, norms near one and blends off their extremes: no branch is silent, so
    nothing that goes wrong can hide behind a zero.
    """
    generator = torch.Generator(device if on_device else "cpu").manual_seed(seed)
    network = network.to(dtype).to_empty(device=device).requires_grad_(False).eval()
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, device=generator.device)
        if parameter.ndim > 1:
            noise = noise / math.sqrt(parameter[0].numel())
        elif "mix_factor" not in name:
            noise = 1 + 0.1 * noise if name.endswith("weight") else 0.05 * noise
        parameter.copy_(noise)
    return network


@dataclass(frozen=True, slots=True)
class Call:
    """Arguments of one UNet call: x `(b t) c h w`, c_noise `b`, context `b 1 d`, vector `b v`, T frames."""

    x: Tensor
    c_noise: Tensor
    context: Tensor
    vector: Tensor
    frames: int

    def clip(self, index: int) -> Call:
        """The same for one of the clips."""
        one, rows = slice(index, index + 1), slice(index * self.frames, (index + 1) * self.frames)
        return Call(self.x[rows], self.c_noise[one], self.context[one], self.vector[one], self.frames)

    def to(self, device: torch.device, dtype: torch.dtype) -> Call:
        """Moved and cast; the noise level stays float32, as the sampler gives it."""
        x, context, vector = (value.to(device, dtype) for value in (self.x, self.context, self.vector))
        return Call(x, self.c_noise.to(device), context, vector, self.frames)

    def plain(self, unet: VideoUNet) -> Tensor:
        """The uncollapsed path: with the token given twice attention runs in full and must not notice."""
        return unet(self.x, self.c_noise, torch.cat([self.context] * 2, dim=1), self.vector, self.frames)

    def run(self, unet: VideoUNet) -> Tensor:
        """The usual path."""
        return unet(self.x, self.c_noise, self.context, self.vector, self.frames)


def unet_call(config: UNetConfig, *, clips: int, frames: int, height: int, width: int, seed: int = 1) -> Call:
    """Random arguments of the right shapes, float32 on the CPU; height and width in latent cells."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Call(
        x=normal(clips * frames, config.in_channels, height, width),
        c_noise=torch.full((clips,), 0.25 * math.log(5.0)),
        context=normal(clips, 1, config.context_dim),
        vector=normal(clips, config.vector_dim),
        frames=frames,
    )
