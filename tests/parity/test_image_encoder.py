"""The vision tower against transformers' and the preprocessing against diffusers', with a control that must fail."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from svd_core.config import NANO, ImageEncoderConfig
from svd_core.image_encoder.image_encoder import ImageEncoder
from svd_core.image_encoder.preprocessing import preprocess
from tests.tiny import TINY_IMAGE_ENCODER, randomise_
from tests.tolerances import assert_close, relative_l2, relative_max

transformers = pytest.importorskip("transformers")
pipeline = pytest.importorskip("diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion")

LIMIT = 1e-5
CONFIGS = {
    "tiny": TINY_IMAGE_ENCODER,
    "nano": NANO.image_encoder,
    "one wide layer": dataclasses.replace(TINY_IMAGE_ENCODER, width=1280, layers=1, heads=16, mlp_width=5120),
}


def make(config: ImageEncoderConfig, seed: int = 1) -> ImageEncoder:
    network = ImageEncoder(config)
    randomise_(network, seed)
    return network.eval()


def theirs_like(ours: ImageEncoder, activation: str = "gelu") -> nn.Module:
    config = ours.config
    theirs = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=config.width,
            intermediate_size=config.mlp_width,
            projection_dim=config.projection,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_act=activation,
        )
    )
    theirs.load_state_dict(ours.state_dict())
    return theirs.to(ours.visual_projection.weight.dtype).eval()


def images_for(config: ImageEncoderConfig, seed: int = 2) -> torch.Tensor:
    return torch.randn(2, 3, config.image_size, config.image_size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_embedding_matches(config: ImageEncoderConfig) -> None:
    ours = make(config)
    images = images_for(config)
    with torch.no_grad():
        assert_close(ours.embed(images), theirs_like(ours)(images).image_embeds, LIMIT)


def test_another_gelu_is_noticed() -> None:
    ours = make(TINY_IMAGE_ENCODER)
    images = images_for(TINY_IMAGE_ENCODER)
    with torch.no_grad():
        error = relative_max(ours.embed(images), theirs_like(ours, "gelu_pytorch_tanh")(images).image_embeds)
    assert error > 2 * LIMIT, f"the tanh GELU moved the embedding by only {error:.2e}"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_half_precision_is_no_worse(dtype: torch.dtype) -> None:
    our_error = their_error = 0.0
    for seed in range(8):
        ours = make(TINY_IMAGE_ENCODER, seed).to(dtype)
        theirs = theirs_like(ours)
        images = images_for(TINY_IMAGE_ENCODER, seed).to(dtype)
        with torch.no_grad():
            half = ours.embed(images)
            truth = ours.double().embed(images.double())
            our_error += relative_l2(half, truth)
            their_error += relative_l2(theirs(images).image_embeds, truth)
    assert our_error <= 1.1 * their_error, f"ours {our_error / 8:.3e} above 1.1 x transformers {their_error / 8:.3e}"


@pytest.mark.parametrize("shape", [(576, 1024), (224, 224), (225, 640), (100, 333), (768, 768), (1023, 77)], ids=str)
def test_preprocessing_matches(shape: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    resized = pipeline._resize_with_antialiasing(pixels, (224, 224))
    normal = transformers.CLIPImageProcessor()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (normal.image_mean, normal.image_std))
    assert_close(preprocess(pixels, 224), ((resized + 1) / 2 - mean) / std, 1e-6)


def test_missing_blur_is_noticed() -> None:
    pixels = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0)) * 2 - 1
    resized = pipeline._resize_with_antialiasing(pixels, (224, 224))
    plain = F.interpolate(pixels, (224, 224), mode="bicubic", align_corners=True)
    assert relative_max(plain, resized) > 0.1
