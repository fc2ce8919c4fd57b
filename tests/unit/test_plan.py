"""The planner's formula against memory counted on meta tensors, and its choices."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from svd_core.config import NANO, SVD, UNetConfig
from svd_core.unet.plan import (
    FAST,
    LEAN,
    LEANEST,
    PLANS,
    CallShape,
    ExecutionPlan,
    activation_bytes,
    choose_plan,
    leaner,
)
from svd_core.unet.unet import VideoUNet
from tests.bench.counting import count_peak

TWO_LEVELS = dataclasses.replace(SVD.unet, channels=(128, 256), attention=(True, False), res_blocks=1)
SHAPES = [
    CallShape(clips=1, frames=25, height=72, width=128, bytes_per_value=2),
    CallShape(clips=2, frames=5, height=40, width=64, bytes_per_value=4),
    CallShape(clips=1, frames=14, height=9, width=13, bytes_per_value=2),
]


def counted_peak(config: UNetConfig, shape: CallShape, plan: ExecutionPlan) -> int:
    clips = shape.clips * (2 if plan.batched_guidance else 1)
    dtype = {2: torch.float16, 4: torch.float32}[shape.bytes_per_value]
    with torch.device("meta"):
        unet = VideoUNet(config, dtype=dtype)
        context = torch.empty(clips, 1, config.context_dim, dtype=dtype)
        clip = unet.prepare_clip(context, torch.empty(clips, config.vector_dim), shape.frames)
        constants = unet.prepare_step(torch.empty(clips), clip)
        x = torch.empty(clips * shape.frames, config.in_channels, shape.height, shape.width, dtype=dtype)
    return count_peak(lambda: unet.run(x, constants, plan))


CASES = [
    *((config, shape) for config in (NANO.unet, TWO_LEVELS) for shape in SHAPES),
    (SVD.unet, SHAPES[0]),
]


@pytest.mark.parametrize(("config", "shape"), CASES)
@pytest.mark.parametrize("plan", PLANS, ids=["fast", "lean", "leanest"])
def test_formula_is_the_counted_peak(config: UNetConfig, plan: ExecutionPlan, shape: CallShape) -> None:
    ratio = activation_bytes(config, shape, plan) / counted_peak(config, shape, plan)
    assert 0.98 <= ratio <= 1.02, f"formula / counted = {ratio:.4f}"


def test_choice_follows_free_memory() -> None:
    shape = SHAPES[0]
    needs = [activation_bytes(SVD.unet, shape, plan) for plan in PLANS]
    assert needs == sorted(needs, reverse=True)
    assert [choose_plan(SVD.unet, shape, need) for need in needs] == list(PLANS)
    assert choose_plan(SVD.unet, shape, 0) == LEANEST


def test_leaner_ends() -> None:
    assert leaner(FAST) == LEAN
    assert leaner(LEAN) == LEANEST
    assert leaner(LEANEST) is None
