"""`svd inspect`: what a file is, from its header alone, as plain data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..errors import FileFormatError, SvdError, explain
from .detect import Detection, detect
from .lora_facts import LoraFacts, lora_facts
from .lora_source import open_lora
from .pickled import is_pickled
from .report import account, as_json, main_dtype
from .rife_file import open_rife, rife_facts
from .source import Checkpoint


def inspect(path: str | Path) -> dict[str, object]:
    """Describe a file or folder without importing torch or touching a weight.

    Keys: `kind` (model, lora, other), `family`, `layout`, `dtype`, `tensors`, `parameters`, `bytes`,
    `missing`, `unexpected`, `mismatched` (lists), and by kind: models have `variant`, `parts`, `dropped`,
    `notes`, `config`; LoRAs `dialect`, `rank`, `alpha`, `matched`, `total`, `temporal`, `no_effect` and more, and a
    `refusal` if they cannot be used; others `name` and `refusal`, frame interpolators (family rife) `name`, `widths`,
    `multiple` and `use`.

    Raises:
        InputError, FileFormatError, WeightsMismatchError, UnsupportedModelError: see `open_checkpoint`, `detect`.
    """
    file, checkpoint = _opened(Path(path))
    detection = detect(checkpoint)
    facts: dict[str, object] = {"kind": detection.kind, **_basics(checkpoint, detection)}
    if detection.config is not None:
        report, _ = account(checkpoint, detection)
        return facts | as_json(report) | {"config": dataclasses.asdict(detection.config)}
    if detection.kind == "lora":
        lora = lora_facts(checkpoint, file)
        return facts | {"family": _lora_family(lora)} | lora.as_json()
    if interpolator := rife_facts(checkpoint):
        return facts | interpolator
    if detection.foreign is not None:
        return facts | {"name": detection.foreign.name, "refusal": refusal(checkpoint, detection)}
    return facts


def _opened(path: Path) -> tuple[Path, Checkpoint]:
    """Anything `open_lora` opens, and pickles that hold an interpolator: the one kind read from them."""
    try:
        return open_lora(path)
    except FileFormatError:
        if not path.is_file() or not is_pickled(path):
            raise
        try:
            return path, open_rife(path)[0]
        except SvdError:
            pass
        raise


def _lora_family(lora: LoraFacts) -> str:
    """Whose layers it changes."""
    if lora.foreign:
        return lora.foreign.family
    return "svd" if lora.pairs else "unknown"


def refusal(checkpoint: Checkpoint, detection: Detection) -> str:
    """The sentence that refuses a file by name."""
    expected = "a Stable Video Diffusion or SV3D model"
    if detection.kind == "lora":
        return explain(expected, f"a LoRA in {checkpoint.path.name}", "Load its base model, then attach the LoRA.")
    name = detection.foreign.name if detection.foreign else "something else"
    remedy = detection.foreign.remedy if detection.foreign else ""
    return explain(expected, f"{name} in {checkpoint.path.name}", remedy)


def _basics(checkpoint: Checkpoint, detection: Detection) -> dict[str, object]:
    return {
        "family": detection.family,
        "layout": detection.layout,
        "source": str(checkpoint.path),
        "dtype": main_dtype(checkpoint),
        "tensors": len(checkpoint.tensors),
        "parameters": sum(info.count for info in checkpoint.tensors.values()),
        "bytes": sum(info.nbytes for info in checkpoint.tensors.values()),
        "missing": [],
        "unexpected": [],
        "mismatched": [],
        "notes": list(detection.notes),
    }
