"""Short windows of longer clips: start, end and what stood between, slow and fast, forwards and backwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .pool import LatentClips, to_pixels
from .worlds import HELD_OUT, WorldSize, clip_generator, draw_world, render

# How often every frame, every second, every third of a clip makes a window: fast ones are the hard ones.
_STRIDES = (1.0, 2.0, 3.0)
SLOW, FAST = 0.5, 2.0
"""Flow in pixels a frame below which a clip counts as slow, and from which as fast."""
SPEEDS: dict[str, tuple[float, float]] = {
    "still": (0.0, 0.1),
    "slow": (0.1, SLOW),
    "middle": (SLOW, FAST),
    "fast": (FAST, 4.0),
}
"""Classes of held-out clips by their exact mean flow in pixels a frame, at 64 pixels of width."""
_REFERENCE_WIDTH = 64
_MOST_TRIES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """B windows: latents `B T c h w`; the pictures of their first and last frame `B 2 3 H W` in [-1, 1]."""

    latents: Tensor
    pictures: Tensor


def draw_windows(clips: LatentClips, frames: int, generator: Generator) -> Windows:
    """One window of `frames` frames from every clip, which must hold all frames as stills."""
    length = clips.latents.shape[1]
    strides = torch.tensor(_STRIDES[: max(1, (length - 1) // (frames - 1))])
    latents: list[Tensor] = []
    pictures: list[Tensor] = []
    for row in range(len(clips.latents)):
        stride = 1 + int(torch.multinomial(strides, 1, generator=generator))
        first = int(torch.randint(length - stride * (frames - 1), (1,), generator=generator))
        index = torch.arange(frames) * stride + first
        if bool(torch.rand((), generator=generator) < 0.5):
            index = index.flip(0)
        latents.append(clips.latents[row, index])
        pictures.append(clips.stills[row, index[[0, -1]]])
    return Windows(latents=torch.stack(latents), pictures=to_pixels(torch.stack(pictures)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """N clips of a class: pixels `N T 3 H W` in [-1, 1], their exact mean flows `N` in pixels a frame."""

    pixels: Tensor
    flow: Tensor


def held_out(seed: int, count: int, speed: str, size: WorldSize) -> HeldOut:
    """`count` clips of a class in `SPEEDS` that no training run of any seed draws."""
    low, high = (bound * size.width / _REFERENCE_WIDTH for bound in SPEEDS[speed])
    pixels: list[Tensor] = []
    flows: list[float] = []
    for index in range(_MOST_TRIES * count):
        if len(pixels) == count:
            break
        generator = clip_generator(seed, HELD_OUT, index)
        pace = low + (high - low) * float(torch.rand((), generator=generator))
        clip, flow = render(draw_world(generator, size, speed=pace / size.width), size)
        if low <= flow < high:
            pixels.append(clip)
            flows.append(flow)
    return HeldOut(pixels=torch.stack(pixels), flow=torch.tensor(flows))
