"""Every random draw of a clip, from the clip's own seed: always float32, always on the CPU.

A clip's noise therefore depends on its seed alone: not on the device, the network's dtype, the batch it
travels in, nor on how many numbers another stage drew before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum

import torch
from torch import Tensor

from ..errors import InputError, explain

NoiseSource = Callable[[], Tensor]
"""Fresh standard normal noise at each call, `(b t) c h w`."""

_MASK = 2**64 - 1


class Stream(IntEnum):
    """What a draw is for. Streams of one seed are independent, so adding augmentation leaves the latents alone."""

    LATENT = 0
    AUGMENTATION = 1
    SOLVER = 2
    STEER = 3


def clip_generator(seed: int, stream: Stream) -> torch.Generator:
    """CPU generator of one clip and purpose.

    The latent stream is the plain seed, so a clip starts from the noise other programs draw for that seed.

    Raises:
        InputError: the seed is not in 0 .. 2^64 - 1.
    """
    _check_seed(seed)
    return torch.Generator().manual_seed(seed if stream is Stream.LATENT else _mix(seed, stream))


def clip_seeds(seed: int | Sequence[int], clips: int) -> tuple[int, ...]:
    """One seed a clip: the given ones, or `seed`, `seed + 1`, ... so that clip i equals `seed + i` rendered alone.

    Raises:
        InputError: a list of another length than `clips`, or a seed outside 0 .. 2^64 - 1.
    """
    for one in [seed] if isinstance(seed, int) else seed:
        _check_seed(one)
    seeds = tuple((seed + index) & _MASK for index in range(clips)) if isinstance(seed, int) else tuple(seed)
    if len(seeds) != clips:
        raise InputError(explain(f"{clips} seeds, one a clip", f"{len(seeds)}", "Give one seed, or one for each clip."))
    return seeds


def draw(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal noise `B *shape`, one generator a clip, float32 on the CPU."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def solver_noise(seeds: Sequence[int], shape: Sequence[int], device: torch.device) -> NoiseSource:
    """Noise for the stochastic solvers: each call gives `(b t) c h w` for clips of `shape` = T c h w."""
    generators = [clip_generator(seed, Stream.SOLVER) for seed in seeds]
    return lambda: draw(generators, shape).flatten(0, 1).to(device)


def _check_seed(seed: int) -> None:
    if not 0 <= seed <= _MASK:
        raise InputError(explain("`seed` in 0 .. 2^64 - 1", str(seed), "Choose a non-negative seed."))


def _mix(seed: int, stream: int) -> int:
    """SplitMix64's finaliser: torch's CPU generator keeps only the low 32 bits of a seed, so they must all differ."""
    value = (seed + stream * 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
