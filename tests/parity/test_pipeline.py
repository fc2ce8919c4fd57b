"""A whole clip against diffusers' StableVideoDiffusionPipeline: same weights, picture, noise and settings."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image
from torch import Tensor

from svd_core.config import ModelConfig
from svd_core.pipeline import animate
from svd_core.sampling import Stream, clip_generator
from tests.models import random_model
from tests.tiny import TINY

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from tests.parity.diffusers_twin import diffusers_pipeline

WIDTH, HEIGHT, FRAMES, STEPS, SEED = 104, 72, 5, 4, 11
LIMIT_DB = 60.0


def psnr(ours: Tensor, theirs: Tensor) -> float:
    return -10 * math.log10(max(float((ours - theirs).square().mean()), 1e-30))


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    noise = torch.rand(height // 8, width // 8, 3, generator=torch.Generator().manual_seed(3))
    return Image.fromarray((noise * 255).byte().numpy()).resize((width, height), Image.Resampling.BICUBIC)


def latent_noise() -> Tensor:
    return torch.randn(1, FRAMES, 4, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(SEED))


def ours(config: ModelConfig = TINY, **changes) -> Tensor:
    settings = {
        "size": (WIDTH, HEIGHT),
        "frames": FRAMES,
        "steps": STEPS,
        "fps": 7,
        "motion_bucket": 90.0,
        "augmentation": 0.1,
        "guidance": "linear:1:3",
        "seed": SEED,
        "noise": latent_noise(),
    }
    return animate(random_model(config), picture(), **(settings | changes)).pixels


@pytest.fixture(scope="module")
def theirs() -> Tensor:
    """Their frames `T H W 3`; their generator is put where our augmentation stream begins."""
    result = diffusers_pipeline(random_model(TINY))(
        picture(),
        width=WIDTH,
        height=HEIGHT,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        min_guidance_scale=1.0,
        max_guidance_scale=3.0,
        fps=7,
        motion_bucket_id=90,
        noise_aug_strength=0.1,
        generator=clip_generator(SEED, Stream.AUGMENTATION),
        latents=latent_noise(),
        output_type="pt",
    )
    return result.frames[0].permute(0, 2, 3, 1)


def test_whole_clip(theirs: Tensor) -> None:
    measured = psnr(ours(), theirs)
    inside = float(((theirs > 0) & (theirs < 1)).float().mean())
    print(f"pipeline against diffusers: {measured:.1f} dB, {inside:.0%} of the values not clipped")
    assert inside > 0.5, "clipped frames would agree whatever was computed"
    assert measured >= LIMIT_DB, f"{measured:.1f} dB, at least {LIMIT_DB} wanted"


@pytest.mark.parametrize(
    "wrong",
    [{"fps": 8}, {"motion_bucket": 91.0}, {"augmentation": 0.11}, {"guidance": "linear:1:3.05"}, {"seed": SEED + 1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_slightly_wrong_setting_is_noticed(theirs: Tensor, wrong: dict[str, object]) -> None:
    measured = psnr(ours(**wrong), theirs)
    assert measured < LIMIT_DB - 5, f"{measured:.1f} dB with {wrong}: the comparison is blind to it"
