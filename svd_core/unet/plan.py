"""How a call spends memory: whether guidance runs as one batch, and in how many blocks the feed-forwards run.

The numbers follow from the network's structure (see `activation_bytes`), not from a table of cards.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPlan:
    """`batched_guidance`: both halves of guidance in one call; `feed_forward_blocks`: token blocks a feed-forward runs in.

    Plans differ in speed and memory, and in the result by rounding at most.
    """

    batched_guidance: bool
    feed_forward_blocks: int


FAST = ExecutionPlan(batched_guidance=True, feed_forward_blocks=1)
LEAN = ExecutionPlan(batched_guidance=True, feed_forward_blocks=8)
LEANEST = ExecutionPlan(batched_guidance=False, feed_forward_blocks=8)
PLANS = (FAST, LEAN, LEANEST)
