"""The interpolator's row: what it gains over the cross-fade, in decoded space, on clips that move fast."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import WeightsMismatchError
from ..weights.build import SvdModel
from ..weights.video_engine import VideoBetween, check_base
from ..weights.video_interpolators import load_interpolator_network
from .interpolator_clips import FAST, held_out
from .interpolator_trials import clip_size, errors_of, row_of
from .scores_arithmetic import standard_error
from .scores_record import Line, Record
from .scores_rows import Bound, Row
from .scores_sampling import Tell

KIND = "between"
_SPEED = "fast"
_PART = 8
_FLOOR, _GOAL = Bound(1.5, unit=" dB"), Bound(3.0, unit=" dB")
_NAME = f"interpolation 4x: gain over blending from {FAST:g} px a frame on, decoded, dB"
NOT_MADE = "not made for this model"


def interpolator_of(file: Path, model: SvdModel) -> VideoBetween | None:
    """The interpolator of a file on a model; None if it was made for another one."""
    home = next(model.autoencoder.parameters())
    try:
        stored = load_interpolator_network(file, dtype=home.dtype, device=home.device)
        check_base(stored, model, file)
    except WeightsMismatchError:
        return None
    return VideoBetween(network=stored.model, base=model)


def measure_between(between: VideoBetween, file: Path, clips: int, record: Record, tell: Tell) -> None:
    """Clips of the record's seed, part by part; a part has a seed of its own, so that it can be measured alone."""
    mark = digest(file)
    done = {line["part"] for line in record.lines if line["kind"] == KIND and line["file"] == mark}
    parts = -(-clips // _PART)
    for part in range(parts):
        if part not in done:
            worlds = held_out(record.seed + part, _PART, _SPEED, clip_size(between))
            errors = {name: values.tolist() for name, values in errors_of(between, worlds).items()}
            record.add([{"kind": KIND, "part": part, "file": mark, "errors": errors}])
        tell(part + 1, parts)


def between_row(lines: Sequence[Line], file: Path | None, lacking: str) -> Row:
    """The row, over all parts of this file."""
    mark = None if file is None else digest(file)
    parts = [line["errors"] for line in lines if line["kind"] == KIND and line["file"] == mark]
    if not parts:
        return Row(name=_NAME, value=None, floor=_FLOOR, goal=_GOAL, beside=lacking)
    clips = [{name: part[name][index] for name in part} for part in parts for index in range(_PART)]
    row = row_of(_SPEED, _columns(clips))
    return Row(
        name=_NAME,
        value=row.gain,
        error=standard_error(clips, lambda some: row_of(_SPEED, _columns(some)).gain),
        clips=row.clips,
        sets={"worlds": row.gain},
        floor=_FLOOR,
        goal=_GOAL,
        beside=f"{row.decoded:.2f} dB, blend {row.decoded_blend:.2f}, {row.flow:.1f} px, nearer in {row.won:.0%}; "
        f"in pixels: engine {row.pixels_engine:.2f}, flow engine {row.pixels_flow:.2f}",
    )


def _columns(clips: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([clip[name] for clip in clips]) for name in clips[0]}


def digest(file: Path) -> str:
    """Sixteen hexadecimal digits of a file's SHA-256."""
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            total.update(chunk)
    return total.hexdigest()[:16]
