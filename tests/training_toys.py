"""The embedded model's recipe in small: a config whose clips are drawn and whose steps are made in an instant."""

from __future__ import annotations

import dataclasses

import pytest

from svd_core.config import NANO, ModelConfig
from svd_core.training import loop, nano_loop
from svd_core.training.stages import STAGES, Stage

TOY: ModelConfig = dataclasses.replace(
    NANO,
    name="toy",
    unet=dataclasses.replace(NANO.unet, channels=(16, 32), head_channels=16, norm_groups=4),
    autoencoder=dataclasses.replace(NANO.autoencoder, channels=(8, 8, 16, 16), norm_groups=4),
    image_encoder=dataclasses.replace(NANO.image_encoder, image_size=32, width=32, heads=2, mlp_width=32, layers=1),
    sampling=dataclasses.replace(NANO.sampling, frames=4, width=32, height=32, steps=2),
)


def toy_stages(steps: int) -> tuple[Stage, ...]:
    """The recipe's stages with so many steps of two clips each, and a new chunk of clips at every step."""
    return tuple(
        dataclasses.replace(stage, steps=steps, batch=2, refresh=1, window=(1, 2), frames=stage.frames and 3)
        for stage in STAGES
    )


def draw_few_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, and a basis of few clips: most of a short run would be drawing."""
    monkeypatch.setattr(nano_loop, "_CHUNK", 2)
    monkeypatch.setattr(loop, "_BASIS_CLIPS", 4)
