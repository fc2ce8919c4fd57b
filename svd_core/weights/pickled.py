"""Tensors in files of torch.save, found without running anything the file says.

Such a file is a pickle: a program that may name any function of any module. Here it may name what a table of tensors is
made of, seven kinds of storage and three functions, each stood in for by a record of where the numbers lie; any other
name ends the reading. The numbers themselves are never unpickled: they lie in the file as they are, and are mapped like
those of safetensors. No torch here.
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn, cast

from ..errors import FileFormatError, explain
from .reader import ITEM_BITS, Header, Shape, TensorInfo, unreadable

_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "BoolStorage": "BOOL",
}
# What torch.save (protocol 2) writes tables of tensors with. Others make, bend or hash what is never asked for here.
_OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINFLOAT, pickle.BINUNICODE, pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
)
# A table of names; the numbers lie elsewhere.
_PICKLE_LIMIT = 16_000_000
_DEEPEST = 4
_LONGEST_NAME = 300
_MAX_INT = 2**63 - 1
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DAMAGED = "The file is damaged or was not written by torch.save: download it again, or take a .safetensors file."
_OTHER_ORDER = "numbers in the byte order of another kind of machine"
_REFUSED = (
    "Only tables of tensors are read from pickles, for they can run any code: take the .safetensors file of this "
    "model, or one from its authors."
)


@dataclass(frozen=True, slots=True)
class _Storage:
    """A run of numbers in the file, by its name in there."""

    dtype: str
    name: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A tensor: a stretch of a storage, in order."""

    storage: _Storage
    first: int
    shape: Shape


def is_pickled(path: Path) -> bool:
    """Whether a file begins as torch.save's do, in either of its formats.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise unreadable(path, error) from error
    # A header of 640 bytes makes safetensors begin like a pickle.
    return head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")) and head[8:] != b"{"


def read_pickled(path: Path) -> Header:
    """The tensors of a file of torch.save; of nested tables the names are joined with dots.

    Raises:
        InputError: it cannot be read.
        FileFormatError: it is damaged, holds no tensors, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                tree, starts = _read_zip(path, file)
            else:
                file.seek(0)
                tree, starts = _read_legacy(path, file)
    except OSError as error:
        raise unreadable(path, error) from error
    tensors = {name: _placed(path, name, found, starts) for name, found in _flat(tree, set())}
    if not tensors:
        raise _damaged(path, "no tensors in it")
    return Header(tensors, {})


class _Reader(pickle._Unpickler):
    """Builds tables of `_Found`; knows no other names than those below. `storages`: dtypes of all named, by name.

    Python's own reader, not the one in C: that one takes the memory for as many entries as a byte of the file says.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(file)
        self._path = path
        self.storages: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> object:
        """What a name of the pickle stands for: a record, never the thing itself."""
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        allowed: dict[tuple[str, str], Callable[..., object]] = {
            ("collections", "OrderedDict"): self._table,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
        }
        if (module, name) not in allowed:
            found = f"a pickle that asks for {module}.{name}"[:200]
            raise FileFormatError(explain(f"nothing but tensors in {self._path.name}", found, _REFUSED))
        return allowed[module, name]

    def persistent_load(self, pid: object) -> _Storage:
        """The record of a storage."""
        fields = cast("tuple[object, ...]", pid) if isinstance(pid, tuple) else ()
        if len(fields) < 5 or fields[0] != "storage" or fields[1] not in _STORAGES.values():
            self._broken("a reference to something else than a storage")
        if len(fields) > 5 and fields[5] is not None:
            self._broken("a storage that is part of another")
        storage = _Storage(str(fields[1]), str(fields[2]))
        self.storages[storage.name] = storage.dtype
        return storage

    def _table(self) -> OrderedDict[object, object]:
        return OrderedDict()

    def _tensor(self, storage: object, first: object, shape: object, strides: object, *_rest: object) -> _Found:
        sizes, steps = _whole(shape), _whole(strides)
        if not isinstance(storage, _Storage) or type(first) is not int or first < 0 or sizes is None or steps is None:
            self._broken("a tensor that is described wrongly")
        if steps != _in_order(sizes) and math.prod(sizes) > 1 and not _same_order(sizes, steps):
            self._broken("a tensor whose numbers do not lie in order")
        return _Found(storage, first, sizes)

    def _parameter(self, tensor: object, *_rest: object) -> object:
        return tensor

    def _broken(self, found: str) -> NoReturn:
        raise _damaged(self._path, found)

    def _set_one(self) -> None:
        value, name = _stack(self).pop(), _stack(self).pop()
        self._put([(name, value)])

    def _set_several(self) -> None:
        items = cast("list[object]", cast("Any", self).pop_mark())
        self._put(zip(items[::2], items[1::2], strict=True))

    def _put(self, items: Iterable[tuple[object, object]]) -> None:
        table = _stack(self)[-1]
        for name, value in items:
            # Hashing tuples within tuples can take for ever, or the whole stack.
            if not isinstance(table, dict) or not isinstance(name, str | int):
                self._broken("a table without names")
            table[name] = value

    def _pass_over(self) -> None:
        """Attributes: torch's notes on a table; set on a record, they would undo what was checked."""
        _stack(self).pop()

    dispatch: ClassVar[dict[int, Any]] = {
        **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in _OPCODES},
        pickle.SETITEM[0]: _set_one,
        pickle.SETITEMS[0]: _set_several,
        pickle.BUILD[0]: _pass_over,
    }


def _stack(reader: _Reader) -> list[Any]:
    return cast("Any", reader).stack


def _load(path: Path, file: BinaryIO, storages: dict[str, str] | None = None) -> object:
    """One pickle of a file; dtypes of the storages it names go to `storages`."""
    try:
        reader = _Reader(path, file)
        tree = reader.load()
        if storages is not None:
            storages |= reader.storages
        return tree
    except FileFormatError:
        raise
    except Exception as error:
        # A broken pickle can fail in any way there is.
        raise _damaged(path, f"a pickle that breaks off ({type(error).__name__})") from error


def _read_zip(path: Path, file: BinaryIO) -> tuple[object, dict[str, tuple[int, int]]]:
    """The format since torch 1.6: a zip of a pickle and the storages; also where each of them begins and ends."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            main = next((name for name in entries if name.endswith("data.pkl") and name.count("/") <= 1), None)
            if main is None or any("/code/" in name for name in entries):
                found = "a zip of something else, or a TorchScript program"
                raise FileFormatError(explain(f"a file of torch.save in {path.name}", found, _REFUSED))
            start, end = _content(path, file, entries[main])
            if end - start > _PICKLE_LIMIT:
                raise _damaged(path, f"a table of {end - start:,} bytes")
            with archive.open(main) as table:
                tree = _load(path, cast("BinaryIO", table))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise _damaged(path, str(error)[:80]) from error
    folder = main.removesuffix("data.pkl")
    if (order := entries.get(f"{folder}byteorder")) is not None:
        file.seek(_content(path, file, order)[0])
        if file.read(6) != b"little":
            raise _damaged(path, _OTHER_ORDER)
    prefix = f"{folder}data/"
    starts = {
        name.removeprefix(prefix): _content(path, file, entry)
        for name, entry in entries.items()
        if name.startswith(prefix)
    }
    return tree, starts


def _content(path: Path, file: BinaryIO, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Where the bytes of a zip's entry begin and end in the file."""
    size = file.seek(0, 2)
    file.seek(max(0, entry.header_offset))
    head = file.read(30)
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or len(head) < 30:
        raise _damaged(path, f"{entry.filename[:60]} packed in another way")
    names, extra = struct.unpack("<HH", head[26:30])
    start = entry.header_offset + 30 + names + extra
    if entry.header_offset < 0 or start + entry.file_size > size:
        raise _damaged(path, f"{entry.filename[:60]} beyond its end")
    return start, start + entry.file_size


def _read_legacy(path: Path, file: BinaryIO) -> tuple[object, dict[str, tuple[int, int]]]:
    """The format before: five pickles, then the storages one after the other, each behind its count."""
    size = file.seek(0, 2)
    file.seek(0)
    if _load(path, file) != _LEGACY_MAGIC:
        raise FileFormatError(explain(f"a file of torch.save in {path.name}", "another pickle", _REFUSED))
    _load(path, file)
    system = _load(path, file)
    if not isinstance(system, dict) or cast("dict[str, object]", system).get("little_endian") is not True:
        raise _damaged(path, _OTHER_ORDER)
    dtypes: dict[str, str] = {}
    tree, names = _load(path, file, dtypes), _load(path, file)
    starts: dict[str, tuple[int, int]] = {}
    for name in cast("list[object]", names) if isinstance(names, list) else []:
        count = file.read(8)
        if len(count) < 8 or not isinstance(name, str) or name not in dtypes:
            raise _damaged(path, "storages that end early")
        start = file.tell()
        end = start + struct.unpack("<q", count)[0] * ITEM_BITS[dtypes[name]] // 8
        if not start <= end <= size:
            raise _damaged(path, "storages that end early")
        starts[name] = start, end
        file.seek(end)
    return tree, starts


def _flat(tree: object, passed: set[int], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, _Found]]:
    """The tensors of nested tables by their joined names; whatever else a training kept there is left.

    Tables in `passed` have been gone through: one in many places would be very many tensors.
    """
    if not isinstance(tree, Mapping) or depth > _DEEPEST or id(cast("object", tree)) in passed:
        return
    passed.add(id(cast("object", tree)))
    for name, value in cast("Mapping[object, object]", tree).items():
        if not isinstance(name, str) or len(prefix) + len(name) > _LONGEST_NAME:
            continue
        if isinstance(value, _Found):
            yield f"{prefix}{name}", value
        else:
            yield from _flat(value, passed, f"{prefix}{name}.", depth + 1)


def _placed(path: Path, name: str, found: _Found, starts: Mapping[str, tuple[int, int]]) -> TensorInfo:
    """A tensor with its place in the file, checked against the storage's end."""
    start, end = starts.get(found.storage.name, (0, 0))
    item = ITEM_BITS[found.storage.dtype] // 8
    begin, size = start + found.first * item, math.prod(found.shape) * item
    if begin + size > end:
        raise _damaged(path, f"{name[:60]} beyond the end of its storage")
    return TensorInfo(file=path, name=name, dtype=found.storage.dtype, shape=found.shape, start=begin, nbytes=size)


def _whole(value: object) -> Shape | None:
    """A short tuple of whole numbers in [0, 2^63), or None."""
    items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else None
    if items is None or len(items) > 8 or any(type(item) is not int or not 0 <= item <= _MAX_INT for item in items):
        return None
    return cast("Shape", items)


def _in_order(shape: Shape) -> Shape:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _same_order(shape: Shape, strides: Shape) -> bool:
    """Whether only axes of one entry, whose steps are never taken, differ."""
    return all(size == 1 or step == right for size, step, right in zip(shape, strides, _in_order(shape), strict=True))


def _damaged(path: Path, found: str) -> FileFormatError:
    return FileFormatError(explain(f"a whole file of torch.save in {path.name}", found, _DAMAGED))
