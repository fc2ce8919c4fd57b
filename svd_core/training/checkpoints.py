"""A training run on disk: everything needed to continue to the bit, written whole or not at all.

There is no random state to store: every step draws from a generator seeded by (seed, stage, step), and the pool of
clips follows from the step.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..config import ModelConfig
from ..errors import FileFormatError, InputError, OutputError, explain, some_keys
from ..video_io.atomic import atomic_file
from .photographs import Photographs
from .run_options import STATE_NAME

FILE_NAME = STATE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """config: JSON of the model; stage and step: what comes next; weights, average, basis: named tensors;
    optimiser: its state dict, or None once all is done; spent: seconds of computing so far."""

    config: str
    seed: int
    stage: str
    step: int
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    average_count: int
    optimiser: dict[str, Any] | None
    basis: dict[str, Tensor]
    spent: float


def state_key(config: ModelConfig, photographs: Photographs | None) -> str:
    """What a run of the embedded model is saved as being of."""
    return config.to_json() + (photographs.fingerprint if photographs else "")


def save(folder: Path, saved: Saved) -> None:
    """Write the state of a run; an interrupted write leaves the previous one.

    Raises:
        OutputError: the disk is full or failed.
    """
    save_fields(folder / FILE_NAME, {name: getattr(saved, name) for name in Saved.__slots__})


def save_fields(path: Path, fields: Mapping[str, object]) -> None:
    """Write what a run goes on from, whole or not at all.

    Raises:
        OutputError: the disk is full or failed.
    """
    with atomic_file(path) as temporary:
        try:
            torch.save(dict(fields), temporary)
        except RuntimeError as error:
            # PyTorch's own writer tells no reason; a full disk is the usual one.
            raise OutputError(
                explain(
                    f"room on the disk for {path}",
                    "a failed write",
                    "Free some space and --resume: the state saved before is whole.",
                )
            ) from error


def load(folder: Path, config: str, seed: int) -> Saved:
    """Read the state of a run of the same config and seed.

    Raises:
        InputError: there is no run, or it is another's.
        FileFormatError: the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise InputError(explain(f"a run to resume in {folder}", "none", "Start without --resume."))
    try:
        fields: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, TypeError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise FileFormatError(explain("a training state", f"{path}: {error}", "Delete it and start again.")) from error
    if not isinstance(fields, dict) or set(cast("dict[str, Any]", fields)) != set(Saved.__slots__):
        expected = "a run of the embedded model or an interpolator"
        raise InputError(explain(expected, f"the state of another kind in {path}", "Choose another folder."))
    saved = Saved(**cast("dict[str, Any]", fields))
    if saved.config != config:
        expected = "a run of this model config and these photographs"
        raise InputError(explain(expected, f"another config in {path}", "Choose another folder."))
    if saved.seed != seed:
        raise InputError(explain(f"a run of seed {seed}", f"seed {saved.seed} in {path}", "Give that seed."))
    return saved


def check_fits(
    folder: Path, saved: Saved, *, weights: Mapping[str, Tensor], average: Collection[str], basis: Collection[str]
) -> None:
    """Whether a saved run has just the tensors that are to take its values: an older version's may not.

    Raises:
        InputError: tensors missing, misshapen or unknown.
    """
    odd = sorted(
        name
        for name in weights.keys() | saved.weights.keys()
        if name not in weights or name not in saved.weights or weights[name].shape != saved.weights[name].shape
    )
    odd += sorted(saved.average.keys() ^ set(average)) + sorted(set(basis) - saved.basis.keys())
    if odd:
        found = f"{len(odd)} tensors that differ in {folder / FILE_NAME}: {some_keys(odd)}"
        remedy = "Start in a new folder; a finished model file is gone on from with --from."
        raise InputError(explain("a run of this version's networks", found, remedy))
