"""What one guided step costs at 25x72x128, counted against diffusers on meta tensors; noise-free, so asserted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch

from svd_core.config import SVD_XT
from svd_core.unet import FAST, LEAN, LEANEST, ExecutionPlan, VideoUNet
from svd_core.unet.residency import hoisted_modules
from tests.bench.counting import Counts, count

diffusers = pytest.importorskip("diffusers", reason="diffusers is the yardstick: pip install -e '.[test]'")

FRAMES, HEIGHT, WIDTH = 25, 72, 128


@cache
def reference() -> Counts:
    with torch.device("meta"):
        unet = diffusers.UNetSpatioTemporalConditionModel(num_frames=FRAMES, num_attention_heads=(5, 10, 20, 20))
    unet = unet.to("meta").half().eval()
    sample = torch.empty(2, FRAMES, 8, HEIGHT, WIDTH, device="meta", dtype=torch.float16)
    context = torch.empty(2, 1, 1024, device="meta", dtype=torch.float16)
    ids = torch.empty(2, 3, device="meta", dtype=torch.float16)
    return count(lambda: unet(sample, torch.empty(1, device="meta"), context, ids, return_dict=False))


@cache
def ours(plan: ExecutionPlan) -> Counts:
    clips = 2 if plan.batched_guidance else 1
    with torch.device("meta"):
        unet = VideoUNet(SVD_XT.unet, dtype=torch.float16)
        context = torch.empty(clips, 1, 1024, dtype=torch.float16)
        clip = unet.prepare_clip(context, torch.empty(clips, 768), FRAMES)
        constants = unet.prepare_step(torch.empty(clips), clip)
        x = torch.empty(clips * FRAMES, 8, HEIGHT, WIDTH, dtype=torch.float16)
    return count(lambda: unet.run(x, constants, plan))


CASES: list[tuple[str, ExecutionPlan, Callable[[Counts], int], float]] = [
    ("FLOPs", FAST, lambda c: c.flops, 0.963),
    ("bytes written", FAST, lambda c: c.written, 0.60),
    ("operators", FAST, lambda c: c.operators, 0.63),
    ("peak activations, fast", FAST, lambda c: c.peak, 0.90),
    ("peak activations, lean", LEAN, lambda c: c.peak, 0.56),
    ("peak activations, lean and sequential", LEANEST, lambda c: c.peak, 0.28),
]


@pytest.mark.parametrize(("name", "plan", "measure", "limit"), CASES, ids=[case[0] for case in CASES])
def test_ratio_to_diffusers(name: str, plan: ExecutionPlan, measure: Callable[[Counts], int], limit: float) -> None:
    ratio = measure(ours(plan)) / measure(reference())
    assert ratio <= limit, f"{name}: {ratio:.3f} of diffusers, limit {limit}"


def test_reference_is_the_published_size() -> None:
    """The yardstick itself: the count of a plain SVD-XT step is known (159.9 TFLOP, 302 GiB written)."""
    counts = reference()
    assert abs(counts.flops / 159.9e12 - 1) < 0.002, f"{counts.flops / 1e12:.1f} TFLOP"
    assert abs(counts.written / 2**30 / 302 - 1) < 0.01, f"{counts.written / 2**30:.1f} GiB"


def test_weights_resident_in_the_loop() -> None:
    with torch.device("meta"):
        unet = VideoUNet(SVD_XT.unet)
    total = sum(p.numel() for p in unet.parameters())
    hoisted = sum(p.numel() for module in hoisted_modules(unet) for p in module.parameters())
    ratio = 1 - hoisted / total
    assert ratio <= 0.835, f"{ratio:.4f} of the weights are needed in the loop, limit 0.835"


def report() -> str:
    """The table for BENCHMARKS.md."""
    base = reference()
    lines = ["| one guided step, 25 x 72 x 128, fp16 | diffusers | fast | lean | lean, sequential |"]
    lines.append("|---|---|---|---|---|")
    plans = [ours(plan) for plan in (FAST, LEAN, LEANEST)]
    rows: list[tuple[str, Callable[[Counts], float], str]] = [
        ("TFLOP", lambda c: c.flops / 1e12, "{:.1f}"),
        ("operators", lambda c: c.operators, "{:.0f}"),
        ("GiB written to new tensors", lambda c: c.written / 2**30, "{:.1f}"),
        ("GiB overwritten in place", lambda c: c.overwritten / 2**30, "{:.1f}"),
        ("GiB peak activations", lambda c: c.peak / 2**30, "{:.2f}"),
    ]
    for label, measure, form in rows:
        ratios = [f" ({measure(c) / measure(base):.3f})" if measure(base) else "" for c in plans]
        cells = [form.format(measure(c)) + ratio for c, ratio in zip(plans, ratios, strict=True)]
        lines.append(f"| {label} | {form.format(measure(base))} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())
