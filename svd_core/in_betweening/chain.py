"""From K pictures to one clip: a gap between every two, and finished gaps kept as files until the clip is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError, explain
from ..weights.writer import Entry, write_tensors

_NAME = "latents"
# Rises with any change of what a gap's latents are made of.
_VERSION = 1
_MASK = 2**64 - 1
# Frames repeated across the seam of a loop while it is decoded.
_AROUND = 4


@dataclass(frozen=True, slots=True)
class Gap:
    """What lies between the pictures numbered `first` and `last`; each gap has a seed of its own."""

    index: int
    first: int
    last: int
    seed: int


def gaps(pictures: int, *, loop: bool, seed: int) -> list[Gap]:
    """The gaps in order; a loop leads from the last picture back to the first, which may be the only one.

    Raises:
        InputError: fewer than two pictures, or none for a loop.
    """
    if pictures < (1 if loop else 2):
        remedy = "Give a start and an end; a single picture can only be a loop."
        raise InputError(explain("two pictures or more", str(pictures), remedy))
    count = pictures if loop else pictures - 1
    return [Gap(index, index, (index + 1) % pictures, (seed + index) & _MASK) for index in range(count)]


def joined(parts: Sequence[Tensor], *, loop: bool) -> Tensor:
    """Clips `T ...` that each begin where the one before ends, as one; a loop ends before it begins anew."""
    pieces = [part[:-1] for part in parts]
    return torch.cat(pieces if loop else [*pieces, parts[-1][-1:]])


def around(frames: Tensor) -> tuple[Tensor, slice]:
    """A loop with some frames repeated at both ends, so that its seam is decoded like any place, and which to keep."""
    count = min(_AROUND, len(frames))
    return torch.cat([frames[-count:], frames, frames[:count]]), slice(count, count + len(frames))


def put_back(frames: Tensor, pictures: Tensor, every: int) -> Tensor:
    """The pictures `K 3 H W` themselves, bit for bit, in place of the frames `N H W 3` that stand for them."""
    result = frames.clone()
    for index, picture in enumerate(pictures):
        result[index * every] = picture.movedim(0, -1)
    return result


def mark_of(settings: Mapping[str, object], pictures: Tensor) -> str:
    """What a gap's result depends on as a short text: its settings, its pictures and the way it is made."""
    text = json.dumps({**settings, "version": _VERSION}, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    digest.update(str(tuple(pictures.shape)).encode())
    digest.update(pictures.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of finished gaps, each a file named after what it depends on; whole or not there at all."""

    folder: Path

    def path(self, gap: Gap, mark: str) -> Path:
        """Where a gap lies."""
        return self.folder / f"gap{gap.index:03d}-{mark}.safetensors"

    def get(self, gap: Gap, mark: str) -> Tensor | None:
        """Latents `T c h w` made before; None where there are none, or a file that is damaged."""
        path = self.path(gap, mark)
        if not path.is_file():
            return None
        try:
            return load_file(path)[_NAME].clone()
        except (SafetensorError, OSError, KeyError):
            return None

    def put(self, gap: Gap, mark: str, latents: Tensor) -> None:
        """Keep a finished gap.

        Raises:
            InputError, OutputError: the place cannot be written.
        """
        write_tensors(self.path(gap, mark), [Entry.of(_NAME, latents.cpu().contiguous())], {})

    def clear(self, marks: Sequence[tuple[Gap, str]]) -> None:
        """Remove these gaps, and the folder if nothing else is in it."""
        for gap, mark in marks:
            with suppress(OSError):
                self.path(gap, mark).unlink()
        with suppress(OSError):
            self.folder.rmdir()
