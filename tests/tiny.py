"""Small configs of the family, and weights that hide nothing."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn

from svd_core.config import NANO, SVD, AutoencoderConfig, ImageEncoderConfig, ModelConfig, UNetConfig

TINY_UNET: UNetConfig = dataclasses.replace(
    SVD.unet, channels=(64, 128, 128, 128), head_channels=32, context_dim=64, norm_groups=32
)
TINY_AUTOENCODER: AutoencoderConfig = dataclasses.replace(SVD.autoencoder, channels=(32, 64, 64, 64))
TINY_IMAGE_ENCODER: ImageEncoderConfig = dataclasses.replace(
    SVD.image_encoder, width=64, layers=2, heads=4, mlp_width=128, projection=64
)
TINY: ModelConfig = dataclasses.replace(
    SVD, name="tiny", unet=TINY_UNET, autoencoder=TINY_AUTOENCODER, image_encoder=TINY_IMAGE_ENCODER
)
NANO_CONFIG: ModelConfig = NANO


def randomise_(module: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every parameter so that no branch is silent.

    SVD's zero-initialised output layers make a fresh temporal branch an identity, and a parity test on
    identities proves nothing. Matrices and kernels get N(0, 1/fan_in), norm weights 1 + 0.1 N, biases
    0.05 N, mix factors N(0, 1).
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            if parameter.ndim > 1:
                value = noise / math.sqrt(parameter[0].numel())
            elif "mix_factor" in name:
                value = noise
            elif name.endswith("weight"):
                value = 1 + 0.1 * noise
            else:
                value = 0.05 * noise
            parameter.copy_(value.to(parameter.dtype))
    return module
