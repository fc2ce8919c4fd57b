"""CPU time of the full-resolution blocks against diffusers, interleaved in one process; prints ratios, asserts nothing.

Run: `python -m tests.bench.bench_blocks [rounds]`
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers.models.resnet import SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

from svd_core.config import SVD
from svd_core.operations import Layers
from svd_core.unet.inflated import ClipSignals, SpatialVideoTransformer, VideoResBlock
from tests.tiny import randomise_

CHANNELS, CLIPS, FRAMES, HEIGHT, WIDTH = 320, 2, 14, 12, 20


def contestants() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """For each block: ours with its constants hoisted, and theirs."""
    res = VideoResBlock(Layers(), SVD.unet, CHANNELS, CHANNELS)
    transformer = SpatialVideoTransformer(Layers(), SVD.unet, CHANNELS)
    their_res = SpatioTemporalResBlock(CHANNELS, CHANNELS, SVD.unet.embed_dim, eps=1e-5)
    their_transformer = TransformerSpatioTemporalModel(
        CHANNELS // 64, 64, in_channels=CHANNELS, num_layers=1, cross_attention_dim=1024
    )
    for seed, block in enumerate((res, transformer, their_res, their_transformer)):
        randomise_(block, seed).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(CLIPS * FRAMES, CHANNELS, HEIGHT, WIDTH, generator=generator)
    embedding = torch.randn(CLIPS, SVD.unet.embed_dim, generator=generator)
    context = torch.randn(CLIPS, 1, 1024, generator=generator)
    clip = ClipSignals(context, FRAMES, None, True)
    res_constants, transformer_constants = res.prepare(F.silu(embedding), clip), transformer.prepare(clip)
    rows, tokens = embedding.repeat_interleave(FRAMES, 0), context.repeat_interleave(FRAMES, 0)
    still = torch.zeros(CLIPS, FRAMES)
    return {
        "res block": (
            lambda: res(x, res_constants),
            lambda: their_res(x, rows, image_only_indicator=still),
        ),
        # Ours overwrites its input, which in the network is the res block's own output: a copy is charged to us.
        "transformer": (
            lambda: transformer(x.clone(), transformer_constants, 1),
            lambda: their_transformer(x, tokens, image_only_indicator=still, return_dict=False),
        ),
    }


@torch.no_grad()
def main(rounds: int) -> None:
    torch.set_num_threads(1)
    print("| level-0 block, 2 x 14 frames of 12 x 20, fp32, 1 thread | CPU time ours / diffusers: best | median |")
    print("|---|---|---|")
    for name, pair in contestants().items():
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds + 1):
            for run, record in zip(pair, times, strict=True):
                start = time.process_time()
                run()
                record.append(time.process_time() - start)
        ours, theirs = (record[1:] for record in times)
        best = min(ours) / min(theirs)
        print(f"| {name} | {best:.3f} | {statistics.median(ours) / statistics.median(theirs):.3f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
