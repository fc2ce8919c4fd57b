"""Times and memory of several ways to do one thing, measured in turn so that they suffer the same weather."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One way of doing it: median seconds of a call, and the peak of extra bytes on a CUDA device."""

    name: str
    seconds: float
    peak_bytes: int | None


def compare(
    ways: Mapping[str, Callable[[], object]], device: torch.device, *, rounds: int = 5, warm_up: int = 1
) -> list[Timing]:
    """Call every way once a round, `rounds` times, after `warm_up` rounds nobody looks at."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, int | None] = dict.fromkeys(ways)
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            elapsed, peak = _one(way, device)
            if turn >= warm_up:
                seconds[name].append(elapsed)
                peaks[name] = peak
    return [Timing(name=name, seconds=statistics.median(seconds[name]), peak_bytes=peaks[name]) for name in ways]


def _one(way: Callable[[], object], device: torch.device) -> tuple[float, int | None]:
    cuda = device.type == "cuda"
    before = 0
    if cuda:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    started = time.perf_counter()
    result = way()
    if cuda:
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    elapsed = time.perf_counter() - started
    del result
    return elapsed, torch.cuda.max_memory_allocated(device) - before if cuda else None
