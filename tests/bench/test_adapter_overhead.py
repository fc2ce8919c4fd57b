"""What the runtime adapter adds to a step: counted at SVD-XT's size on meta tensors, and timed on the embedded one's.

Run as a script for the table of BENCHMARKS.md.
"""

from __future__ import annotations

import time
from functools import cache
from statistics import median

import pytest
import torch
from torch import nn

from svd_core.camera.adapter import attach
from svd_core.camera.lora import CameraLora, LowRank
from svd_core.config import NANO, SVD_XT
from svd_core.unet import FAST, HoistedUNet, VideoUNet
from tests.bench.counting import Counts, count
from tests.deltas import lora_of, paths_of

FRAMES, HEIGHT, WIDTH, RANK = 25, 72, 128, 16
MOVES = (1, 3, 10)


def camera_lora(unet: nn.Module) -> CameraLora:
    """Rank 16 on all temporal attention, on the device and in the dtype of the network."""
    modules = dict(unet.named_modules())

    def delta(path: str) -> LowRank:
        weight = modules[path].weight
        return LowRank(weight.new_zeros(RANK, weight.shape[1]), weight.new_zeros(weight.shape[0], RANK), 1.0)

    return lora_of({path: delta(path) for path in paths_of(unet)})


@cache
def counted(moves: int) -> Counts:
    """One guided step with so many moves, each with a strength of its own in every frame."""
    with torch.device("meta"):
        unet = VideoUNet(SVD_XT.unet, dtype=torch.float16)
        clip = unet.prepare_clip(torch.empty(2, 1, 1024, dtype=torch.float16), torch.empty(2, 768), FRAMES)
        constants = unet.prepare_step(torch.empty(2), clip)
        x = torch.empty(2 * FRAMES, 8, HEIGHT, WIDTH, dtype=torch.float16)
        lora = camera_lora(unet)
    attach(unet, [(lora, torch.linspace(0, 1, FRAMES)) for _ in range(moves)])
    with torch.no_grad():
        unet.run(x, constants, FAST)  # stacks the LoRAs, once a run
    return count(lambda: unet.run(x, constants, FAST))


LIMITS = [("flops", 10, 1.02), ("written", 10, 1.03), ("peak", 10, 1.0), ("flops", 1, 1.002), ("written", 1, 1.005)]


@pytest.mark.parametrize(("what", "moves", "limit"), LIMITS)
def test_ratio_to_the_plain_step(what: str, moves: int, limit: float) -> None:
    ratio = getattr(counted(moves), what) / getattr(counted(0), what)
    assert ratio <= limit, f"{what} with {moves} moves: {ratio:.4f} of the plain step, limit {limit}"


def test_ten_moves_launch_no_more_than_one() -> None:
    """All LoRAs of a layer run as one."""
    assert counted(10).operators == counted(1).operators > counted(0).operators


def timed(rounds: int = 15) -> dict[int, float]:
    """Seconds of one call of the embedded network on this machine: medians of rounds taken in turn."""
    torch.set_num_threads(1)
    frames, generator = 14, torch.Generator().manual_seed(0)
    context = torch.randn(1, 1, NANO.unet.context_dim, generator=generator)
    x = torch.randn(frames, NANO.unet.in_channels, 8, 8, generator=generator)
    calls: dict[int, HoistedUNet] = {}
    for moves in (0, *MOVES):
        unet = VideoUNet(NANO.unet).requires_grad_(False)
        attach(unet, [(camera_lora(unet), torch.linspace(0, 1, frames)) for _ in range(moves)])
        calls[moves] = HoistedUNet(unet, context, torch.randn(1, NANO.unet.vector_dim), frames)
    seconds: dict[int, list[float]] = {moves: [] for moves in calls}
    with torch.no_grad():
        for _ in range(rounds):
            for moves, call in calls.items():
                started = time.process_time()
                call(x, 0.7)
                seconds[moves].append(time.process_time() - started)
    return {moves: median(values[1:]) for moves, values in seconds.items()}


def report() -> str:
    """The table for BENCHMARKS.md."""
    plain, seconds = counted(0), timed()
    lines = [f"| moves (rank {RANK}, a strength a frame) | 0 | " + " | ".join(map(str, MOVES)) + " |", "|---" * 5 + "|"]
    rows = {
        "TFLOP": ("flops", 1e12, "{:.2f}"),
        "operators": ("operators", 1, "{:.0f}"),
        "GiB written to new tensors": ("written", 2**30, "{:.2f}"),
        "GiB overwritten in place": ("overwritten", 2**30, "{:.2f}"),
        "GiB peak activations": ("peak", 2**30, "{:.2f}"),
    }
    for label, (what, unit, form) in rows.items():
        base = getattr(plain, what)
        values = [getattr(counted(moves), what) for moves in MOVES]
        cells = [form.format(base / unit), *(f"{form.format(value / unit)} ({value / base:.4f})" for value in values)]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    cells = [f"{seconds[0] * 1000:.1f}", *(f"{seconds[m] * 1000:.1f} ({seconds[m] / seconds[0]:.3f})" for m in MOVES)]
    lines.append("| ms a call, embedded model, 14 x 8 x 8, one CPU thread | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())
