"""Model configs of other sizes than the embedded one's: resolution, size of a latent cell, channels, widths, levels."""

from __future__ import annotations

import dataclasses

from svd_core.config import ModelConfig
from tests.models import SMALL


def sized(
    name: str, *, width: int, height: int, levels: int, channels: int, widths: tuple[int, ...] = (32, 64)
) -> ModelConfig:
    """`SMALL` at another size; the autoencoder's `levels` make cells of `2 ** (levels - 1)` pixels."""
    return dataclasses.replace(
        SMALL,
        name=name,
        unet=dataclasses.replace(
            SMALL.unet,
            in_channels=2 * channels,
            out_channels=channels,
            channels=widths,
            attention=(True,) * len(widths),
        ),
        autoencoder=dataclasses.replace(
            SMALL.autoencoder, channels=(8, *[16] * (levels - 1)), latent_channels=channels, scale_factor=1.0
        ),
        sampling=dataclasses.replace(SMALL.sampling, frames=3, width=width, height=height, steps=2),
    )


SIZES: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        sized("f4c4", width=48, height=48, levels=3, channels=4),
        sized("f8c4", width=128, height=128, levels=4, channels=4, widths=(32, 32, 64)),
        sized("f8c8", width=96, height=64, levels=4, channels=8, widths=(48, 96)),
    )
}
"""By name: pixels a cell and channels. The second is deeper, the third wider and not square."""
