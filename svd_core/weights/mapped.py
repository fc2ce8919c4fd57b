"""Tensors as views of memory-mapped files, and the transforms of the key tables on them.

The mapping is private (copy on write): pages are read when a weight is first used, shared with the file
cache, and never written back. A whole checkpoint is thus "loaded" before most of it is read. Only small
tensors (norms, biases, blend factors: a few MB in all) are read at once, because touching one of them
through the mapping would pull in the pages around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import torch
from torch import Tensor

from ..errors import FileFormatError, UnsupportedModelError, explain
from .keymaps import Transform
from .reader import TensorInfo, unreadable
from .report import DTYPE_NAMES

_SMALL_BYTES = 32_768
_CHANGED = "Check that the file is not being changed or on a drive that went away."


class MappedFiles:
    """Files opened so far. Closing is for the handles; tensors keep the mapping they lie in alive themselves."""

    def __init__(self) -> None:
        self._storages: dict[Path, torch.UntypedStorage] = {}
        self._handles: dict[Path, BinaryIO] = {}

    def __enter__(self) -> MappedFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles.values():
            handle.close()
        self._handles.clear()

    def tensor(self, info: TensorInfo) -> Tensor:
        """A view of one tensor in its file; a copy if it is small, or if the file did not align it.

        Raises:
            FileFormatError: the file cannot be mapped, for instance because it has changed since.
            UnsupportedModelError: the tensor is stored in a dtype networks cannot compute from.
        """
        dtype = torch_dtype(info)
        if info.count == 0:
            return torch.empty(info.shape, dtype=dtype)
        if info.nbytes <= _SMALL_BYTES or info.start % dtype.itemsize:
            return self._read(info).view(dtype).view(info.shape)
        storage = self._storage(info.file)
        view = torch.empty(0, dtype=dtype)
        return view.set_(storage, info.start // dtype.itemsize, (info.count,), (1,)).view(info.shape)

    def _read(self, info: TensorInfo) -> Tensor:
        """The tensor's bytes, read the ordinary way."""
        try:
            if info.file not in self._handles:
                self._handles[info.file] = info.file.open("rb")
            handle = self._handles[info.file]
            handle.seek(info.start)
            raw = bytearray(handle.read(info.nbytes))
        except OSError as error:
            raise unreadable(info.file, error) from error
        if len(raw) != info.nbytes:
            raise FileFormatError(explain(f"{info.name} in {info.file}", "a file that has become shorter", _CHANGED))
        return torch.frombuffer(raw, dtype=torch.uint8)

    def _storage(self, path: Path) -> torch.UntypedStorage:
        if path not in self._storages:
            try:
                storage = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
            except (OSError, RuntimeError) as error:
                raise FileFormatError(explain(f"to map {path}", str(error).split("\n")[0], _CHANGED)) from error
            self._storages[path] = cast("torch.UntypedStorage", storage)
        return self._storages[path]


def torch_dtype(info: TensorInfo) -> torch.dtype:
    """The dtype of a stored tensor.

    Raises:
        UnsupportedModelError: it is no floating point one, so the file is quantised in a foreign way.
    """
    dtype = getattr(torch, DTYPE_NAMES.get(info.dtype, ""), None)
    if not isinstance(dtype, torch.dtype):
        remedy = "Quantised files are not supported: use the float16 or float32 release."
        raise UnsupportedModelError(explain(f"floating point weights in {info.file.name}", info.dtype, remedy))
    return dtype


def apply_transform(transform: Transform, tensors: Sequence[Tensor], parts: int) -> tuple[Tensor, ...]:
    """What a rule of the key tables does, all of it views except `join`, which only saving needs."""
    first = tensors[0]
    match transform:
        case "same":
            return tuple(tensors)
        case "transpose":
            return (first.t(),)
        case "squeeze":
            return (first[..., 0, 0],)
        case "unsqueeze":
            return (first[..., None, None],)
        case "split":
            return first.chunk(parts, dim=0)
        case "join":
            return (torch.cat(list(tensors), dim=0),)
