"""Random RIFE weights and frames that are the same everywhere: `RandomState` streams are frozen for good.

tests/data/rife_golden.* were recorded from the published network code of every version, filled by `weights` and shown
`frames`: names and shapes of their tensors, and a sparse grid of what they put out.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

DATA = Path(__file__).parent / "data"
SIZE = (128, 192)
STEP = 9
"""Every 9th pixel across and down is recorded: all phases of the pyramids' grids are among them."""


@dataclass(frozen=True)
class Recorded:
    """One run of a published network: `spread` scales its flows, `refine` whether colours were corrected."""

    name: str
    layout: str
    shapes: dict[str, tuple[int, ...]]
    times: tuple[float, ...]
    spread: float
    refine: bool
    flow_scale: float
    size: tuple[int, int]
    expected: Tensor


@cache
def recorded() -> dict[str, Recorded]:
    """All runs by name."""
    with gzip.open(DATA / "rife_golden.json.gz", "rt", encoding="utf-8") as file:
        entries = json.load(file)
    outputs = load_file(DATA / "rife_golden.safetensors")
    made: dict[str, Recorded] = {}
    for name, entry in entries.items():
        shapes = {key: tuple(shape) for key, shape in entry["shapes"].items()}
        facts = {key: entry[key] for key in ("layout", "spread", "refine", "flow_scale")}
        lists = {key: tuple(entry[key]) for key in ("times", "size")}
        made[name] = Recorded(name=name, shapes=shapes, expected=outputs[name], **facts, **lists)
    return made


def weights(shapes: Mapping[str, tuple[int, ...]], spread: float = 0.25) -> dict[str, Tensor]:
    """Weights that let signals through at about their size; `spread` is the gain of what blocks say of the motion."""
    return {name: torch.from_numpy(_values(name, shape, spread)) for name, shape in shapes.items()}


def _values(name: str, shape: tuple[int, ...], spread: float) -> np.ndarray:
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("beta"):
        noise = 0.3 + 0.1 * noise
    elif len(shape) == 1:
        noise = 0.25 + 0.05 * noise if _is_slope(name) else 0.1 * noise
    else:
        last = "lastconv" in name
        transposed = last or ".up" in name or shape[-1] == 4
        inputs = shape[0] * 4 if transposed else int(np.prod(shape[1:]))
        noise = noise * np.sqrt(2 / inputs) * (spread if last else 1.0)
    return np.asarray(noise, dtype=np.float32)


def _is_slope(name: str) -> bool:
    """The learned slope of an activation: a weight with one axis."""
    return name.endswith("weight")


def frames(count: int, size: tuple[int, int] = SIZE) -> tuple[Tensor, Tensor]:
    """Two moving pictures `count 3 H W` in [0, 1]: waves, and grain."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    random = np.random.RandomState(7)
    made: list[np.ndarray] = []
    for shift in (0.0, 3.5):
        random.seed(7)
        picture = np.zeros((count, 3, height, width))
        for wave in random.uniform(0.02, 0.5, (6, 2)):
            phase = random.uniform(0, 6, (count, 3, 1, 1))
            picture += np.sin((x + shift) * wave[0] + (y - shift) * wave[1] + phase) / 12
        made.append(picture + 0.5 + 0.02 * random.standard_normal(picture.shape))
    first, second = (torch.from_numpy(one.clip(0, 1).astype(np.float32)) for one in made)
    return first, second


def sparse(picture: Tensor) -> Tensor:
    """What of an output is recorded."""
    return picture[..., ::STEP, ::STEP].contiguous()
