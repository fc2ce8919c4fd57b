"""How a call spends memory: whether guidance runs as one batch, and in how many blocks the feed-forwards run.

The planner walks the network's own structure; it holds no table of cards and looks at no device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..config import UNetConfig

# Tensors of one token width alive at the widest moment of a transformer block: the residual, the spatial
# and the temporal tokens; then either norm, queries, keys, values and mix, or norm, GEGLU (8) and result.
_TOKENS_HELD = 3
_ATTENTION = 5
_FEED_FORWARD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPlan:
    """`batched_guidance`: both halves of guidance in one call; `feed_forward_blocks`: blocks a feed-forward runs in.

    Plans differ in speed and memory, and in the result by rounding at most.
    """

    batched_guidance: bool
    feed_forward_blocks: int


FAST = ExecutionPlan(batched_guidance=True, feed_forward_blocks=1)
LEAN = ExecutionPlan(batched_guidance=True, feed_forward_blocks=8)
LEANEST = ExecutionPlan(batched_guidance=False, feed_forward_blocks=8)
PLANS = (FAST, LEAN, LEANEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallShape:
    """The size of one guided step: B clips of T frames of h x w latent cells, `bytes_per_value` 2 for fp16."""

    clips: int
    frames: int
    height: int
    width: int
    bytes_per_value: int


def activation_bytes(config: UNetConfig, shape: CallShape, plan: ExecutionPlan) -> int:
    """Peak memory of one call's activations, beyond weights, input and constants.

    Attention is counted as a fused kernel (scores never exist), convolutions without workspace.
    """
    halves = 2 if plan.batched_guidance else 1
    rows = halves * shape.clips * shape.frames
    peak = max(_moments(config, shape.height, shape.width, plan.feed_forward_blocks))
    return rows * peak * shape.bytes_per_value


def choose_plan(config: UNetConfig, shape: CallShape, free_bytes: int) -> ExecutionPlan:
    """The fastest plan whose activations fit into `free_bytes`; the leanest when none does."""
    fitting = (plan for plan in PLANS if activation_bytes(config, shape, plan) <= free_bytes)
    return next(fitting, LEANEST)


def leaner(plan: ExecutionPlan) -> ExecutionPlan | None:
    """The next plan to try after an out-of-memory error, or None when this is the last."""
    later = PLANS[PLANS.index(plan) + 1 :] if plan in PLANS else (LEANEST,)
    return next(iter(later), None)


def _moments(config: UNetConfig, height: int, width: int, blocks: int) -> Iterator[int]:
    """Values alive per frame at every moment that could be the widest."""
    skips: list[int] = []
    sizes = list(_level_areas(config, height, width))
    skips.append(config.channels[0] * sizes[0])
    inputs = config.channels[0]
    for level, channels in enumerate(config.channels):
        area = sizes[level]
        for _ in range(config.res_blocks):
            yield sum(skips) + area * _stage(inputs, channels, config.attention[level], blocks, shared_input=True)
            skips.append(channels * area)
            inputs = channels
        if level + 1 < len(config.channels):
            skips.append(channels * sizes[level + 1])
    yield sum(skips) + sizes[-1] * _stage(inputs, inputs, True, blocks, shared_input=True)
    for level, channels in reversed(list(enumerate(config.channels))):
        area = sizes[level]
        for _ in range(config.res_blocks + 1):
            skip = skips.pop()
            joined = inputs + skip // area
            yield sum(skips) + area * 2 * joined
            yield sum(skips) + area * _stage(joined, channels, config.attention[level], blocks, shared_input=False)
            inputs = channels
        if level > 0:
            yield sum(skips) + channels * (area + 2 * sizes[level - 1])


def _stage(inputs: int, channels: int, attention: bool, blocks: int, *, shared_input: bool) -> int:
    """Widest moment of a res block and its transformer, per pixel; a shared input is counted among the skips."""
    held = 0 if shared_input else inputs
    moments = [held + inputs + channels, held + 3 * channels]
    if attention:
        wide = max(_ATTENTION, math.ceil(_FEED_FORWARD / blocks))
        moments.append((_TOKENS_HELD + wide) * channels)
    return max(moments)


def _level_areas(config: UNetConfig, height: int, width: int) -> Iterator[int]:
    for level in range(len(config.channels)):
        yield math.ceil(height / 2**level) * math.ceil(width / 2**level)
