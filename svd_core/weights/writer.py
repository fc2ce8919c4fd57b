"""Safetensors out: whole or not at all, and the same tensors and texts always give the same bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from ..errors import InputError, explain
from ..video_io.atomic import atomic_file
from .reader import Shape
from .report import DTYPE_NAMES

_CODES = {getattr(torch, name): code for code, name in DTYPE_NAMES.items()}
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor to be written: made only when its turn comes, so that no second copy of a model exists."""

    name: str
    shape: Shape
    dtype: torch.dtype
    make: Callable[[], Tensor]

    @staticmethod
    def of(name: str, tensor: Tensor) -> Entry:
        """A tensor that is there already."""
        return Entry(name, tuple(tensor.shape), tensor.dtype, lambda: tensor)

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def write_tensors(path: str | Path, entries: Iterable[Entry], metadata: Mapping[str, str]) -> None:
    """Write one safetensors file.

    Raises:
        InputError: the metadata is no text, a dtype cannot be stored, or the place cannot be written.
        OutputError: the disk is full or failed.
    """
    if not all(isinstance(item, str) for pair in metadata.items() for item in pair):
        raise InputError(explain("metadata of text to text", repr(metadata)[:200], "Turn the values into text."))
    ordered = sorted(entries, key=lambda entry: (-entry.dtype.itemsize, entry.name))
    header = _header(ordered, {**metadata, "format": "pt"})
    with atomic_file(Path(path)) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for entry in ordered:
            _write(file, entry.make())


def _header(entries: list[Entry], metadata: Mapping[str, str]) -> bytes:
    fields: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    position = 0
    for entry in entries:
        if entry.dtype not in _CODES:
            raise InputError(explain("a floating point dtype", str(entry.dtype), "Store as float16 or float32."))
        offsets = [position, position + entry.nbytes]
        fields[entry.name] = {"dtype": _CODES[entry.dtype], "shape": list(entry.shape), "data_offsets": offsets}
        position = offsets[1]
    text = json.dumps(fields, separators=(",", ":")).encode()
    # Padding keeps every tensor aligned to its element size, so that it can be mapped.
    return text + b" " * (-len(text) % _ALIGNMENT)


def _write(file: IO[bytes], tensor: Tensor) -> None:
    flat = tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8)
    file.write(flat.numpy().data)
