"""What one clip at the defaults costs, as `animate` makes it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from ..pipeline import animate_clips
from ..settings import AnimateSettings
from ..weights.build import SvdModel
from .scores_record import Line, Record
from .scores_rows import Bound, Row
from .scores_sets import scene
from .worlds import WorldSize

KIND = "time"
_LIMIT = Bound(high=15, unit=" s")
_NAME = "one default clip, decoded, processor seconds"
_CLIPS = 3


def measure_time(model: SvdModel, record: Record) -> None:
    """The cheapest of three clips: what else the machine does only ever adds."""
    sampling = model.config.sampling
    size = WorldSize(frames=sampling.frames, height=sampling.height, width=sampling.width)
    on_gpu = next(model.unet.parameters()).device.type == "cuda"
    found: list[tuple[float, float]] = []
    for index in range(_CLIPS):
        picture = ((scene("worlds", record.seed, index, size).pixels[0] + 1) / 2).permute(1, 2, 0)
        before = time.process_time(), time.perf_counter()
        animate_clips(model, [picture], AnimateSettings(seed=record.seed + index))
        if on_gpu:
            torch.cuda.synchronize()
        found.append((time.process_time() - before[0], time.perf_counter() - before[1]))
    processor, wall = min(found)
    threads = torch.get_num_threads()
    record.add([{"kind": KIND, "processor": processor, "wall": wall, "threads": threads, "gpu": on_gpu}])


def time_row(lines: Sequence[Line], lacking: str) -> Row:
    """The row, of the last measurement."""
    own = [line for line in lines if line["kind"] == KIND]
    if not own:
        return Row(name=_NAME, value=None, floor=_LIMIT, goal=_LIMIT, beside=lacking)
    last = own[-1]
    place = "with a GPU" if last["gpu"] else f"on {last['threads']} threads"
    return Row(
        name=_NAME,
        value=last["processor"],
        clips=_CLIPS,
        floor=_LIMIT,
        goal=_LIMIT,
        beside=f"{last['wall']:.1f} s by the clock {place}",
    )
