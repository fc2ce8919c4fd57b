"""What a plan will take: clips, seconds and bytes, from what was measured in its folder as far as anything was.

A clip's time goes with frames x pixels x steps and its size with frames x pixels, so the finished clips of a folder
tell about cells of other sizes too. Where nothing is finished the bytes are a rule of thumb and the seconds unknown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from ..errors import SvdError
from .cells import Cell, cells_of
from .contents import model_path
from .manifest import FILE_NAME, Manifest, Record
from .plan import AnimateTemplate, GraphTemplate, Plan

# Bytes a pixel of a frame: h264 at its usual quality, PNG, gif (256 colours), webp.
_BYTES_A_PIXEL = {"png": 1.6, "gif": 0.6, "webp": 0.25}
_USUAL_BYTES = 0.12
# The last clips of a folder tell enough, and one with a hundred thousand must not be read whole.
_ASKED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """`clips` still to be made out of `total`; `seconds` and `bytes` for those, None where nothing is known yet.

    `notes`: a sentence on where each figure comes from.
    """

    clips: int
    total: int
    seconds: float | None
    bytes: int | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON, with `gigabytes` (1e9 bytes) for people beside the bytes."""
        return {**asdict(self), "gigabytes": None if self.bytes is None else self.bytes / 1e9}

    def words(self) -> str:
        """`24 clips, about 12 min, 34 MB`."""
        parts = [f"{self.clips} clips" if self.clips == self.total else f"{self.clips} of {self.total} clips"]
        if self.seconds is not None:
            parts.append(f"about {duration(self.seconds)}")
        if self.bytes is not None:
            parts.append(room(self.bytes))
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class _Clip:
    """What a clip costs by: 1 for what is not known, then it is taken to be the same in all cells."""

    frames: int = 1
    pixels: int = 1
    steps: int = 1

    @property
    def work(self) -> int:
        return self.frames * self.pixels * self.steps

    @property
    def area(self) -> int:
        return self.frames * self.pixels


@dataclass(frozen=True, slots=True)
class _Measured:
    clip: _Clip
    seconds: float | None
    bytes: int | None


def estimate(
    plan: Plan, folder: Path | None = None, *, cells: Sequence[Cell] | None = None, workers: int = 1
) -> Estimate:
    """What is left of a plan will take.

    Args:
        plan: what is to be made. folder: the sweep's own, whose finished cells are not counted and whose measurements
            are used; None or an absent one is a sweep that has not begun.
        cells: of the plan, where the caller has them already. workers: how many make clips at the same time.

    Reads the manifest and the sidecars of a few clips; writes nothing and raises nothing for a damaged folder.
    """
    cells = cells_of(plan) if cells is None else cells
    latest = {} if folder is None else Manifest(folder / FILE_NAME).latest()
    done = _done(folder, latest)
    left = [cell for cell in cells if cell.key not in done]
    sidecars = list(islice(_sidecars(folder, reversed(list(done.values()))), _ASKED))
    base = sidecars[0][1] if sidecars else _defaults(plan)
    measured = [
        # What a sidecar does not tell is taken to be as in the plan.
        _measured(folder, record, {**_settings(plan, record.values), **base, **settings})
        for record, settings in sidecars
        if folder is not None
    ]
    clips = [_clip({**base, **_settings(plan, cell.values)}) for cell in left]
    seconds, slow = _seconds(clips, measured, max(1, min(workers, len(left))))
    size, heavy = _bytes(clips, measured, plan)
    return Estimate(clips=len(left), total=len(cells), seconds=seconds, bytes=size, notes=(slow, heavy))


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * length:
            count = seconds / length
            return f"{count:.0f} {unit}" if count >= 10 else f"{count:.2g} {unit}"
    return f"{seconds / 86400:.2g} days"


def room(size: int) -> str:
    """`71 kB`, `340 MB`, `1.2 GB`."""
    for unit, length in (("kB", 1e3), ("MB", 1e6)):
        if size < 1000 * length:
            return f"{max(1.0, size / length):.0f} {unit}"
    return f"{size / 1e9:.3g} GB"


def _seconds(clips: Sequence[_Clip], measured: Sequence[_Measured], workers: int) -> tuple[float | None, str]:
    timed = [(one.clip.work, one.seconds) for one in measured if one.seconds is not None]
    if not timed:
        return (None, "Seconds are known once the first clip is finished.") if clips else (0.0, "Nothing is left.")
    rate = sum(seconds for _, seconds in timed) / sum(work for work, _ in timed)
    total = rate * sum(clip.work for clip in clips) / workers
    return total, f"Seconds by {len(timed)} finished clips of this folder, {workers} at a time."


def _bytes(clips: Sequence[_Clip], measured: Sequence[_Measured], plan: Plan) -> tuple[int | None, str]:
    weighed = [(one.clip.area, one.bytes) for one in measured if one.bytes is not None]
    area = sum(clip.area for clip in clips)
    if weighed:
        rate = sum(size for _, size in weighed) / sum(covered for covered, _ in weighed)
        return round(rate * area), f"Room on the disk by {len(weighed)} finished clips of this folder."
    if any(clip.pixels == 1 or clip.frames == 1 for clip in clips):
        return None, "Room on the disk is known once the first clip is finished."
    form = plan.template.settings.get("format", "mp4") if isinstance(plan.template, AnimateTemplate) else "mp4"
    usual = _BYTES_A_PIXEL.get(form, _USUAL_BYTES)
    return round(usual * area), "Room on the disk roughly, by size, frames and format."


def _done(folder: Path | None, latest: Mapping[str, Record]) -> dict[str, Record]:
    if folder is None:
        return {}
    return {
        key: record
        for key, record in latest.items()
        if record.status == "done" and record.file and (folder / record.file).exists()
    }


def _sidecars(folder: Path | None, records: Iterable[Record]) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Finished clips with the settings they were made with."""
    from .folder import sidecar

    for record in records:
        if folder is None or record.file is None:
            continue
        try:
            tree = json.loads(sidecar(folder / record.file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        settings = tree.get("settings") if isinstance(tree, dict) else None
        yield record, {**record.values, **(cast("dict[str, Any]", settings) if isinstance(settings, dict) else {})}


def _measured(folder: Path, record: Record, settings: Mapping[str, Any]) -> _Measured:
    size: int | None = None
    with suppress(OSError):
        clip = folder / str(record.file)
        files = clip.iterdir() if clip.is_dir() else (clip,)
        size = sum(file.stat().st_size for file in files)
    return _Measured(_clip(settings), record.seconds, size)


def _settings(plan: Plan, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a cell, by the names of options; a graph's are the literals at the inputs of these names."""
    if isinstance(plan.template, AnimateTemplate):
        return {name: value for name, value in {**plan.template.settings, **values}.items() if value is not None}
    bound = {
        name: values[axis] for axis, places in plan.template.bindings.items() for _, name in places if axis in values
    }
    return {**_literals(plan.template), **bound}


def _literals(template: GraphTemplate) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in template.prompt.values():
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        for name, value in cast("Mapping[str, Any]", inputs or {}).items():
            if name in ("width", "height", "frames", "steps") and isinstance(value, int):
                found.setdefault(name, value)
    return found


def _defaults(plan: Plan) -> dict[str, Any]:
    """What the model does unless told otherwise, from the head of its file."""
    if not isinstance(plan.template, AnimateTemplate):
        return {}
    from ..weights import inspect

    try:
        report = inspect(model_path(plan.template.settings.get("model"), plan.folder))
    except (SvdError, OSError):
        # It is reported when the model is loaded.
        return {}
    config = cast("Mapping[str, Any]", report.get("config") or {})
    usual = cast("Mapping[str, Any]", config.get("sampling") or {})
    told = {name: usual[name] for name in ("frames", "steps") if name in usual}
    return {**told, "size": f"{usual['width']}x{usual['height']}"} if "width" in usual else told


def _clip(settings: Mapping[str, Any]) -> _Clip:
    width, height = _whole(settings.get("width")), _whole(settings.get("height"))
    size = settings.get("size")
    if isinstance(size, str):
        sides = size.lower().replace("*", "x").partition("x")
        width, height = _whole(sides[0]), _whole(sides[2])
    return _Clip(_whole(settings.get("frames")), width * height, _whole(settings.get("steps")))


def _whole(value: object) -> int:
    """A count from a setting, 1 for what is none."""
    with suppress(TypeError, ValueError, OverflowError):
        number = float(cast("Any", value))
        return int(number) if math.isfinite(number) and number >= 1 else 1
    return 1
