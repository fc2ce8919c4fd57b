"""Frames read in any order, as a there-and-back needs them: pictures from their folder, other clips from memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, explain
from .images import decode_rgb, encode_rgb, read_picture, with_alpha
from .readers import frame_files, iter_frames

# Video is 8 bits deep, so bytes hold it exactly.
_MOST_BYTES = 4 * 2**30


class Revisited(ABC):
    """Frames `H W C` float32 in [0, 1] by their number."""

    @abstractmethod
    def __getitem__(self, index: int, /) -> Tensor: ...

    @abstractmethod
    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))


def in_any_order(path: Path, count: int, *, alpha: bool = False) -> Revisited:
    """The `count` frames of a clip; errors as in `iter_frames`, and:

    Raises:
        InputError: a clip, not a folder of pictures, of more than 4 GB.
    """
    return _Folder(path, alpha) if path.is_dir() else _Held(path, count, alpha)


class _Folder(Revisited):
    def __init__(self, path: Path, alpha: bool) -> None:
        self._files, self._alpha = frame_files(path), alpha

    def __getitem__(self, index: int, /) -> Tensor:
        picture = read_picture(self._files[index], min_side=1)
        return with_alpha(picture) if self._alpha else picture.over()

    def __len__(self) -> int:
        return len(self._files)


class _Held(Revisited):
    def __init__(self, path: Path, count: int, alpha: bool) -> None:
        self._frames: list[NDArray[np.uint8]] = []
        for frame in iter_frames(path, alpha=alpha):
            if frame.numel() * count > _MOST_BYTES:
                found = f"{count} frames, {frame.numel() * count / 2**30:.1f} GB"
                remedy = "Bring it into a folder of pictures first: svd interpolate CLIP FOLDER --factor 1."
                raise InputError(explain("a there-and-back of a clip up to 4 GB", found, remedy))
            self._frames.append(encode_rgb(frame))

    def __getitem__(self, index: int, /) -> Tensor:
        return decode_rgb(self._frames[index])

    def __len__(self) -> int:
        return len(self._frames)
