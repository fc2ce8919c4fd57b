"""Safetensors headers, read and checked without torch. Nothing behind the header is ever touched.

Every rule of the format is checked before a number is believed, because these files come from strangers:
a header that passes can be memory-mapped without a further look.
"""

from __future__ import annotations

import json
import math
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import FileFormatError, InputError, explain
from .magic import what_is

HEADER_LIMIT = 100_000_000
"""Largest header in bytes; a real one of 2,446 tensors takes 0.3 MB."""

ITEM_BITS: dict[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
_MAX_RANK = 32
_MAX_INT = 2**63 - 1
_DAMAGED = "The file is damaged or was not written as safetensors: download or export it again."

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Where one tensor lies: `file`, the `name` it has in there, absolute byte offset `start`, and its size."""

    file: Path
    name: str
    dtype: str
    shape: Shape
    start: int
    nbytes: int

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Header:
    """A checked header: tensors by name, and the file's free-form metadata."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of one safetensors file.

    Raises:
        InputError: there is no such file, or it cannot be opened.
        FileFormatError: the file is empty, truncated, damaged, or something else under this name.
    """
    raw, size = _header_bytes(path)
    entries = _parse(path, raw)
    metadata = _metadata(path, entries.pop("__metadata__", {}))
    begin = 8 + len(raw)
    tensors = {name: _tensor(path, name, entry, begin) for name, entry in entries.items()}
    _check_cover(path, tensors.values(), begin, size)
    return Header(tensors, metadata)


def _header_bytes(path: Path) -> tuple[bytes, int]:
    """The header's bytes and the size of the whole file."""
    try:
        with path.open("rb") as file:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise InputError(explain("a file", f"a device or pipe at {path}", "Name a .safetensors file."))
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _not_safetensors(path, prefix, f"{status.st_size} bytes")
            (length,) = struct.unpack("<Q", prefix)
            if not 2 <= length <= HEADER_LIMIT:
                raise _not_safetensors(path, prefix + file.read(56), f"a header said to be {length:,} bytes long")
            if 8 + length > status.st_size:
                raise _not_safetensors(
                    path, prefix + file.read(56), f"a {length:,} byte header in a file of {status.st_size:,} bytes"
                )
            return file.read(length), status.st_size
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a path the system will not open, whatever the reason."""
    remedy = "Check the path." if isinstance(error, FileNotFoundError) else "Check the path and its permissions."
    return InputError(explain("a readable safetensors file or folder", f"{path}: {error.strerror or error}", remedy))


def _not_safetensors(path: Path, head: bytes, found: str) -> FileFormatError:
    """Name what the file really is, if its first bytes tell; otherwise say what is wrong with the numbers."""
    looks_like_ours = head[4:9] == b"\0\0\0\0{"
    identity = None if looks_like_ours else what_is(head)
    if identity is not None:
        return FileFormatError(explain(f"safetensors in {path.name}", identity.name, identity.remedy))
    return _damaged(path, found)


def _damaged(path: Path, found: str) -> FileFormatError:
    return FileFormatError(explain(f"a whole safetensors file in {path.name}", found, _DAMAGED))


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    """JSON to a dictionary, duplicates refused."""
    if not raw.startswith(b"{"):
        raise _not_safetensors(path, struct.pack("<Q", len(raw)) + raw[:56], "a header that is no JSON object")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("the same name twice")
        return fields

    try:
        tree = json.loads(raw.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"a header that is no valid JSON ({_short(str(error))})") from error
    return cast("dict[str, Any]", tree)


def _metadata(path: Path, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _damaged(path, f"metadata that is no table: {_short(repr(value))}")
    metadata = cast("dict[str, object]", value)
    for name, text in metadata.items():
        if not isinstance(text, str):
            raise _damaged(path, f"metadata entry {_short(repr(name))} that is no text")
    return cast("dict[str, str]", metadata)


def _tensor(path: Path, name: str, entry: object, begin: int) -> TensorInfo:
    """Check one header entry on its own: dtype, shape, offsets, and that the three agree."""
    label = _short(repr(name))
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise _damaged(path, f"the unprintable tensor name {label}")
    fields = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    if fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"tensor {label} described by {_short(repr(entry))}")
    dtype = fields["dtype"]
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise _damaged(path, f"tensor {label} with the unknown dtype {_short(repr(dtype))}")
    shape, offsets = _whole_numbers(fields["shape"], _MAX_RANK), _whole_numbers(fields["data_offsets"], 2)
    if shape is None or offsets is None or len(offsets) != 2 or offsets[1] < offsets[0]:
        raise _damaged(path, f"tensor {label} with shape or offsets out of range: {_short(repr(entry))}")
    start, end = offsets
    bits = math.prod(shape) * ITEM_BITS[dtype]
    if bits != 8 * (end - start):
        raise _damaged(path, f"tensor {label} of {bits // 8:,} bytes by its shape and {end - start:,} by its offsets")
    return TensorInfo(file=path, name=name, dtype=dtype, shape=shape, start=begin + start, nbytes=end - start)


def _whole_numbers(value: object, limit: int) -> Shape | None:
    """A list of at most `limit` integers in [0, 2^63), or None."""
    if not isinstance(value, list):
        return None
    items = cast("list[object]", value)
    numbers = tuple(item for item in items if type(item) is int and 0 <= item <= _MAX_INT)
    return numbers if len(numbers) == len(items) <= limit else None


def _check_cover(path: Path, tensors: Iterable[TensorInfo], begin: int, size: int) -> None:
    """The tensors must tile the rest of the file: no gap, no overlap, nothing beyond its end."""
    position = begin
    for info in sorted(tensors, key=lambda info: (info.start, info.nbytes)):
        if info.start != position:
            fault = "a gap before" if info.start > position else "an overlap at"
            raise _damaged(path, f"{fault} tensor {_short(repr(info.name))}")
        position += info.nbytes
    if position > size:
        raise FileFormatError(
            explain(
                f"{position:,} bytes in {path.name}",
                f"{size:,}: the file is cut off",
                "The download or copy stopped early: fetch it again.",
            )
        )
    if position < size:
        raise _damaged(path, f"{size - position:,} bytes behind the last tensor")


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
