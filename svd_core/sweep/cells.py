"""Cells: each clip of a plan with the name its file gets and the key it is recognised by.

The key follows from what the clip is made of, file contents included, and from nothing else: the same cell in an
edited plan, in another order or on another machine keeps its key, a changed picture gives a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..naming import safe
from .plan import AnimateTemplate, Plan, Template

_KEY_LENGTH = 20
# Longest file name most systems take is 255 bytes; the suffix, a temporary mark and a number need their share.
_LONGEST_NAME = 180
_BLOCK = 2**20
# Options of `svd animate` whose values are files, read as a whole into the key.
_PICTURES = ("image", "companion", "depth")
_WITH_STRENGTH = ("camera_lora", "camera")
# A checkpoint of gigabytes is known by its header (every tensor's name, type and place) and its size.
_HEADER = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`index`: place in the plan's order; `values`: by axis; `name`: of the file, unique within the plan."""

    key: str
    index: int
    name: str
    values: Mapping[str, Any]


@dataclass(slots=True)
class Contents:
    """Hashes of files, each read once."""

    folder: Path
    _known: dict[tuple[str, bool], str] = field(default_factory=dict[tuple[str, bool], str])

    def of(self, value: str, *, header_only: bool = False) -> str | None:
        """Hash of the file `value` names, or None where it names none (it will be reported when its turn comes)."""
        key = (value, header_only)
        if key not in self._known:
            path = self.folder / value
            try:
                self._known[key] = _header_hash(path) if header_only else file_hash(path)
            except (OSError, ValueError):
                self._known[key] = ""
        return self._known[key] or None


def cells_of(plan: Plan) -> list[Cell]:
    """Every cell of the plan in its order.

    Unreadable files are no error here: the cell fails on its own when its turn comes.
    """
    contents = Contents(plan.folder)
    base = hashlib.sha256(_dump(_fixed(plan.template, contents)))
    varying = [axis.name for axis in plan.axes if len(axis.values) > 1]
    frames = isinstance(plan.template, AnimateTemplate) and plan.template.settings.get("format") == "png"
    cells: list[Cell] = []
    taken: set[str] = set()
    for index, values in enumerate(plan.rows()):
        digest = base.copy()
        digest.update(_dump({name: resolved(name, value, contents) for name, value in values.items()}))
        key = digest.hexdigest()[:_KEY_LENGTH]
        name = cell_name(plan.name, values, varying)
        if frames:
            # A folder of frames must not look like a file of some format.
            name = name.replace(".", "_")
        if name.lower() in taken:
            name = f"{name}-{key[:8]}"
        taken.add(name.lower())
        cells.append(Cell(key=key, index=index, name=name, values=values))
    return cells


def cell_name(plan: str, values: Mapping[str, Any], varying: Sequence[str]) -> str:
    """`hills_seed3_pan_right`: the picture's stem (or the plan's name), then what varies."""
    image = values.get("image")
    parts = [Path(image).stem if isinstance(image, str) else plan]
    for name in varying:
        if name != "image":
            value = values[name]
            text = Path(value).stem if isinstance(value, str) and name in (*_PICTURES, "model") else str(value)
            parts.append(text if isinstance(value, str) else f"{name}{text}")
    return _shortened("_".join(safe(part) for part in parts))


def resolved(name: str, value: object, contents: Contents) -> object:
    """What a value stands for: a file is its contents, everything else itself."""
    if not isinstance(value, str):
        return value
    if name == "model":
        return contents.of(value, header_only=True) or value
    if name in _PICTURES:
        return contents.of(value) or value
    if name in _WITH_STRENGTH:
        # FILE:strength; a drive letter has its colon first, so the last one counts.
        path, colon, rest = value.rpartition(":")
        for candidate, tail in ((value, ""), (path, colon + rest)):
            found = contents.of(candidate) if candidate else None
            if found:
                return found + tail
    return value


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _header_hash(path: Path) -> str:
    digest = hashlib.sha256()
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    if not files:
        raise OSError(path)
    for entry in files:
        digest.update(f"{entry.name}:{entry.stat().st_size};".encode())
        with entry.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            digest.update(stream.read(min(length, _HEADER)))
    return digest.hexdigest()


def _fixed(template: Template, contents: Contents) -> object:
    if isinstance(template, AnimateTemplate):
        return {name: _each(name, value, contents) for name, value in template.settings.items()}
    return template.prompt


def _each(name: str, value: object, contents: Contents) -> object:
    if isinstance(value, list):
        return [resolved(name, item, contents) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return resolved(name, value, contents)


def _dump(tree: object) -> bytes:
    return json.dumps(tree, sort_keys=True, default=str).encode()


def _shortened(name: str) -> str:
    """Cut to a length in bytes that leaves room, never in the middle of a character."""
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore").strip(" .") or "_"
