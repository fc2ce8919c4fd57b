"""A training run on disk: everything needed to continue to the bit, written whole or not at all.

There is no random state to store: every step draws from a generator seeded by (seed, stage, step), and the pool of
clips follows from the step.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileFormatError, InputError, OutputError, explain
from ..video_io.atomic import atomic_file

FILE_NAME = "state.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """config: JSON of the model; stage and step: what comes next; weights, average, basis: named tensors;
    optimiser: its state dict, or None between stages; spent: seconds of computing so far."""

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


def save(folder: Path, saved: Saved) -> None:
    """Write the state of a run; an interrupted write leaves the previous one.

    Raises:
        OutputError: the disk is full or failed.
    """
    fields = {name: getattr(saved, name) for name in Saved.__slots__}
    with atomic_file(folder / FILE_NAME) as temporary:
        try:
            torch.save(fields, temporary)
        except RuntimeError as error:
            # PyTorch's own writer tells no reason; a full disk is the usual one.
            raise OutputError(
                explain(
                    f"room on the disk for {folder / FILE_NAME}",
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
        fields = torch.load(path, map_location="cpu", weights_only=True)
        saved = Saved(**fields)
    except (RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise FileFormatError(explain("a training state", f"{path}: {error}", "Delete it and start again.")) from error
    if saved.config != config:
        expected = "a run of this model config and these photographs"
        raise InputError(explain(expected, f"another config in {path}", "Choose another folder."))
    if saved.seed != seed:
        raise InputError(explain(f"a run of seed {seed}", f"seed {saved.seed} in {path}", "Give that seed."))
    return saved
