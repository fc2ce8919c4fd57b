"""Cells: each clip of a plan with the name its file gets and the key it is recognised by.

The key follows from what the clip is made of, file contents included, and from nothing else: the same cell in an
edited plan, in another order or on another machine keeps its key, a changed picture gives a new one.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..naming import safe
from .axes import Axis
from .contents import NANO, Contents, Locate
from .plan import AnimateTemplate, GraphTemplate, Plan

_KEY_LENGTH = 20
# Longest file name most systems take is 255 bytes; the suffix, a temporary mark and a number need their share.
_LONGEST_NAME = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`index`: place in the plan's order; `values`: by axis; `name`: of the file, unique within the plan."""

    key: str
    index: int
    name: str
    values: Mapping[str, Any]


def cells_of(plan: Plan, locate: Locate | None = None) -> list[Cell]:
    """Every cell of the plan in its order, each with a key and a name of its own.

    `locate`: where the models and LoRAs lie that a graph names; without it they count by their names.

    Two pictures of the same contents are two cells all the same: each is to have a clip named after it. Unreadable
    files are no error here: the cell fails on its own when its turn comes.
    """
    key_of = _keys(plan, Contents(plan.folder, locate=locate))
    varying = [axis for axis in plan.axes if len(axis.values) > 1]
    pictures = next((axis.name for axis in plan.axes if axis.kind == "images"), "image")
    frames = isinstance(plan.template, AnimateTemplate) and plan.template.settings.get("format") == "png"
    cells: list[Cell] = []
    taken: set[str] = set()
    alike: Counter[bytes] = Counter()
    for index, values in enumerate(plan.rows()):
        digest = hashlib.sha256(key_of(values))
        alike[digest.digest()] += 1
        if alike[digest.digest()] > 1:
            digest.update(b"%d" % alike[digest.digest()])
        key = digest.hexdigest()[:_KEY_LENGTH]
        name = cell_name(plan.name, values, varying, pictures)
        if frames:
            # A folder of frames must not look like a file of some format.
            name = name.replace(".", "_")
        if _folded(name) in taken:
            name = f"{name}-{key[:8]}"
        taken.add(_folded(name))
        cells.append(Cell(key=key, index=index, name=name, values=values))
    return cells


def read_files(plan: Plan, locate: Locate) -> None:
    """Read what a graph's words name, so that the hashes of large files are at hand when its cells are asked for."""
    if not isinstance(plan.template, GraphTemplate):
        return
    contents = Contents(plan.folder, locate=locate)
    told = [value for node in plan.template.prompt.values() for value in node.get("inputs", {}).values()]
    for value in (*told, *(value for axis in plan.axes for value in axis.values)):
        contents.file(value)


def cell_name(plan: str, values: Mapping[str, Any], varying: Sequence[Axis], pictures: str = "image") -> str:
    """`hills_seed3_pan_right`: the stem of the picture on its axis `pictures`, or the plan's name, then what varies."""
    image = values.get(pictures)
    parts = [Path(image).stem if isinstance(image, str) else plan]
    for axis in varying:
        if axis.name != pictures:
            value = values[axis.name]
            label = axis.label(value)
            parts.append(label if isinstance(value, str) else f"{axis.name}{label}")
    return _shortened("_".join(safe(part) for part in parts))


def _keys(plan: Plan, contents: Contents) -> Callable[[Mapping[str, Any]], bytes]:
    """What the key of a cell is the hash of: the cell as one text, wherever in the plan its parts stand."""
    if isinstance(plan.template, GraphTemplate):
        return _prompt_keys(plan.template, contents)
    settings = {"model": NANO, "format": "mp4", **plan.template.settings}
    fixed = {name: _each(name, value, contents) for name, value in settings.items()}
    shipped = contents.shipped_cameras() if "camera" in {*settings, *(axis.name for axis in plan.axes)} else None

    def key(values: Mapping[str, Any]) -> bytes:
        told = {**fixed, **{name: contents.resolved(name, value) for name, value in values.items()}}
        return _dump({"shipped": shipped, **{name: value for name, value in told.items() if value is not None}})

    return key


def _prompt_keys(template: GraphTemplate, contents: Contents) -> Callable[[Mapping[str, Any]], bytes]:
    """The same for a graph; of a large one, only the nodes an axis is bound to are written anew for each cell."""

    def told(node: str, changed: Mapping[str, Any]) -> bytes:
        inputs = {**template.prompt[node].get("inputs", {}), **changed}
        known = {name: contents.file(value) or value for name, value in inputs.items()}
        return hashlib.sha256(_dump([node, template.prompt[node].get("class_type"), known])).digest()

    nodes = {node: told(node, {}) for node in template.prompt}

    def key(values: Mapping[str, Any]) -> bytes:
        changed: dict[str, dict[str, Any]] = {}
        for axis, places in template.bindings.items():
            for node, name in places:
                changed.setdefault(node, {})[name] = values[axis]
        return b"".join(sorted({**nodes, **{node: told(node, inputs) for node, inputs in changed.items()}}.values()))

    return key


def _each(name: str, value: object, contents: Contents) -> object:
    if isinstance(value, list):
        return [contents.resolved(name, item) for item in cast("list[object]", value)]
    return contents.resolved(name, value)


def _dump(tree: object) -> bytes:
    return json.dumps(tree, sort_keys=True, default=str).encode()


def _folded(name: str) -> str:
    """Equal for names that some file system takes for one: it may forget capitals, and how an accent is written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shortened(name: str) -> str:
    """Cut to a length in bytes that leaves room, never in the middle of a character."""
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore").strip(" .") or "_"
