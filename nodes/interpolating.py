"""The work of SVD Interpolate: the result's place in memory or on disk, progress, cancelling."""

from __future__ import annotations

import math
import os
import shutil
import uuid
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from ..svd_core.errors import InputError, OutputError, choose_from, explain
from ..svd_core.interpolation import Engine, Plan, Report, parse_pairs, parse_times, retime, to_rate
from ..svd_core.interpolation.engines import flow_engine
from .host import folder_paths, management, work_report

_MODES = ("factor", "fps", "times")
_MEMORY = ("auto", "ram", "disk")
_DISK_FROM = 2**30
# Of the free disk, what must be left for everything else.
_SPARE = 2**28


def interpolate(
    images: Tensor,
    source_fps: float,
    mode: str,
    factor: float,
    fps: float,
    loop: str,
    keep_duration: bool,
    ease: str,
    engine: str,
    cut_guard: str,
    dedupe: bool,
    times: str = "",
    pairs: str = "",
    pairs_mode: str = "skip",
    memory: str = "auto",
    flow_scale: float = 1.0,
    engine_model: object = None,
) -> tuple[Tensor, float, int, Tensor, str]:
    """Frames, rate, count, mask of the made frames and the report, for frames `T H W C` in [0, 1].

    Raises:
        InputError: a setting that makes no sense, or pixels that are not finite.
        OutputError: the disk is full.
    """
    rate = _ratio("source_fps", source_fps)
    plan = Plan(
        factor=_factor(mode, factor, rate, fps),
        loop=loop,
        keep_duration=keep_duration,
        times=_times(times) if mode == "times" else (),
        ease=ease,
        dedupe=dedupe,
        pairs=parse_pairs(pairs),
        pairs_mode=pairs_mode,
    )
    chosen = _engine(engine, flow_scale, engine_model, images)
    count, report = plan.count(len(images)), Report()
    told = work_report()
    result = new_frames((count, *images.shape[1:]), memory)
    flags = torch.zeros(count)
    device = management.get_torch_device()
    shown = retime(images, len(images), plan, engine=chosen, cut_guard=cut_guard, device=device, report=report)
    for index, frame in enumerate(shown):
        result[index] = frame.pixels
        flags[index] = float(frame.synthesised)
        told(index + 1, count)
    # One number a frame, shown as a whole picture without the memory of one.
    mask = flags[:, None, None].expand(count, *images.shape[1:3])
    lines = report.lines()
    if not isinstance(chosen, str):
        lines += [f"New frames by {chosen.name}.", *getattr(chosen, "notices", [])]
    return result, float(rate * plan.rate), count, mask, "\n".join(lines)


def new_frames(shape: tuple[int, ...], memory: str) -> Tensor:
    """An empty float32 tensor in memory, or in a file of the host's temp folder that goes when the tensor goes.

    Raises:
        OutputError: not enough room on the disk.
    """
    if memory not in _MEMORY:
        raise InputError(choose_from("memory", memory, _MEMORY))
    size = 4
    for side in shape:
        size *= side
    if memory == "ram" or size == 0 or (memory == "auto" and size < _DISK_FROM):
        return torch.empty(shape)
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size + _SPARE > free:
        found = f"{free / 2**30:.1f} GB in {folder}"
        remedy = "Free some space, start ComfyUI with another --temp-directory, or use svd interpolate."
        raise OutputError(explain(f"{size / 2**30:.1f} GB of disk for the frames", found, remedy))
    path = folder / f"svd_studio_frames_{uuid.uuid4().hex}.bin"
    try:
        _reserve(path, size)
        return torch.from_file(str(path), shared=True, size=size // 4, dtype=torch.float32).reshape(shape)
    except (OSError, RuntimeError) as error:
        raise OutputError(explain(f"to make {path}", str(error), "Check the disk, or set memory to ram.")) from error
    finally:
        # The mapping keeps the file alive; Windows refuses, and the host empties its temp folder at start.
        with suppress(OSError):
            path.unlink()


def _reserve(path: Path, size: int) -> None:
    """Take the room now: a mapped page that finds the disk full later ends the whole program."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("xb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _engine(name: str, flow_scale: float, model: object, images: Tensor) -> str | Engine:
    """The engine of that name; a connected model takes the place of flow. With nothing to make it is not loaded."""
    if not name.startswith("flow") or len(images) < 2:
        return name
    if model is None:
        return name if flow_scale == 1 else flow_engine(flow_scale)
    from .host_interpolation import host_engine

    return host_engine(model, *images.shape[1:3])


def _factor(mode: str, factor: float, rate: Fraction, fps: float) -> Fraction:
    if mode not in _MODES:
        raise InputError(choose_from("mode", mode, _MODES))
    return to_rate(rate, _ratio("fps", fps)) if mode == "fps" else _ratio("factor", factor)


def _times(text: str) -> tuple[Fraction, ...]:
    """The list of mode times.

    Raises:
        InputError: no times, or something else.
    """
    if times := parse_times(text):
        return times
    raise InputError(explain("`times` in mode times", "an empty list", "Write for example 0.25, 0.5, 0.75."))


def _ratio(name: str, value: float) -> Fraction:
    """A rate or factor as a fraction that counts frames exactly; a connected input may be any number.

    Raises:
        InputError: not above 0, or not finite.
    """
    ratio = Fraction(value).limit_denominator(1001) if math.isfinite(value) else Fraction(0)
    if ratio <= 0:
        raise InputError(explain(f"`{name}` above 0", f"{value:g}", "Give a positive number, such as 24."))
    return ratio
