"""Whole models with random weights: small enough for a clip in about a second."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from svd_core.autoencoder.autoencoder import Autoencoder
from svd_core.config import NANO, SV3D_P, ModelConfig, SamplingDefaults
from svd_core.image_encoder.image_encoder import ImageEncoder
from svd_core.unet import VideoUNet
from tests.tiny import randomise_

# Every size a test counts on is set here: NANO's own may change with its recipe.
SMALL: ModelConfig = dataclasses.replace(
    NANO,
    name="small",
    unet=dataclasses.replace(
        NANO.unet,
        in_channels=16,
        out_channels=8,
        channels=(32, 64),
        attention=(True, True),
        head_channels=16,
        norm_groups=8,
        context_dim=32,
    ),
    autoencoder=dataclasses.replace(
        NANO.autoencoder, channels=(8, 16, 16), latent_channels=8, norm_groups=4, scale_factor=0.5
    ),
    image_encoder=dataclasses.replace(
        NANO.image_encoder, image_size=32, patch_size=8, width=32, layers=1, heads=2, mlp_width=64, projection=32
    ),
    sampling=SamplingDefaults(
        frames=4,
        width=32,
        height=24,
        steps=3,
        fps=8,
        motion_bucket=80,
        augmentation=0.02,
        guidance_shape="linear",
        guidance_min=1.0,
        guidance_max=1.5,
        sigma_min=0.02,
        sigma_max=80.0,
    ),
)
# Per-frame vectors: SV3D's camera angles in small.
SMALL_ORBIT: ModelConfig = dataclasses.replace(
    SMALL,
    name="small_orbit",
    family="sv3d_p",
    unet=dataclasses.replace(
        SMALL.unet, vector=tuple(dataclasses.replace(entry, width=32) for entry in SV3D_P.unet.vector)
    ),
)


@dataclass
class Networks:
    """What the pipeline needs of a model."""

    unet: VideoUNet
    autoencoder: Autoencoder
    image_encoder: ImageEncoder
    config: ModelConfig


def random_model(config: ModelConfig, seed: int = 0) -> Networks:
    """Networks of that config; no branch is silent."""
    unet, autoencoder = VideoUNet(config.unet), Autoencoder(config.autoencoder)
    image_encoder = ImageEncoder(config.image_encoder)
    for index, network in enumerate((unet, autoencoder, image_encoder)):
        randomise_(network, seed + index).eval()
    return Networks(unet, autoencoder, image_encoder, config)
