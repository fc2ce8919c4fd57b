"""A plan: what stays, what is varied and how; read from JSON and checked before anything runs.

The JSON form is described by `plan.schema.json` beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ..errors import FileFormatError, InputError, choose_from, explain
from . import order as orders
from .axes import Axis, axis_document, parse_axis

VERSION = 1
MOST_CELLS = 100_000
Order = Literal["grouped", "coarse", "given"]
_KEYS = ("version", "name", "template", "axes", "combine", "order", "limit", "folder")
_LONGEST_FILE = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Draw:
    """`count` cells of the grid at random, the same ones for the same seed."""

    count: int
    seed: int


@dataclass(frozen=True, slots=True)
class AnimateTemplate:
    """`settings`: long options of `svd animate` with `_` for `-`, the same in every cell."""

    settings: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"kind": "animate", "settings": dict(self.settings)}


@dataclass(frozen=True, slots=True)
class GraphTemplate:
    """A host's prompt in API form, and per axis the `(node id, input)` places its value is written to."""

    prompt: Mapping[str, Any]
    bindings: Mapping[str, tuple[tuple[str, str], ...]]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        bindings = {axis: [list(place) for place in places] for axis, places in self.bindings.items()}
        return {"kind": "graph", "prompt": dict(self.prompt), "bindings": bindings}


Template = AnimateTemplate | GraphTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked plan; `folder` is what its relative paths start in."""

    name: str
    template: Template
    axes: tuple[Axis, ...]
    combine: Literal["product", "zip"] | Draw = "product"
    order: Order = "grouped"
    limit: int | None = None
    folder: Path = field(default_factory=Path)

    def document(self) -> dict[str, Any]:
        """The plan as JSON that means the same anywhere on this machine: every axis as its values."""
        combine = self.combine
        tree: dict[str, Any] = {
            "version": VERSION,
            "name": self.name,
            "template": self.template.document(),
            "axes": [axis_document(axis) for axis in self.axes],
            "combine": {"random": combine.count, "seed": combine.seed} if isinstance(combine, Draw) else combine,
            "order": self.order,
            "folder": str(self.folder.absolute()),
        }
        return tree if self.limit is None else {**tree, "limit": self.limit}

    def rows(self) -> list[dict[str, Any]]:
        """The values of every cell by axis name, in the order they are to be made."""
        sizes = [len(axis.values) for axis in self.axes]
        return [
            {axis.name: axis.values[index] for axis, index in zip(self.axes, cell, strict=True)}
            for cell in self._ordered(sizes)
        ]

    def _ordered(self, sizes: Sequence[int]) -> list[orders.Indices]:
        cells = list(self._combined(sizes))
        if self.order == "coarse":
            cells = orders.coarse(cells, sizes)
        elif self.order == "grouped":
            leaders = [place for place, axis in enumerate(self.axes) if axis.leads]
            cells = orders.grouped(cells, sizes, leaders)
        return orders.first(cells, self.limit)

    def _combined(self, sizes: Sequence[int]) -> Sequence[orders.Indices]:
        if isinstance(self.combine, Draw):
            return list(orders.some(sizes, self.combine.count, self.combine.seed))
        return list(orders.together(sizes) if self.combine == "zip" else orders.every(sizes))


def load_plan(path: Path) -> Plan:
    """Read PLAN.json; its relative paths start in its own folder.

    Raises:
        InputError: no such file, or a plan that cannot be.
        FileFormatError: not JSON, or larger than any plan.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8-sig") if size <= _LONGEST_FILE else ""
    except UnicodeDecodeError as error:
        raise FileFormatError(explain(f"a JSON plan in {path}", "a file that is no text", "Check the name.")) from error
    except OSError as error:
        found = error.strerror or str(error)
        raise InputError(explain(f"a plan to read at {path}", found, "Check the name.")) from error
    if size > _LONGEST_FILE:
        raise FileFormatError(explain(f"a JSON plan in {path}", f"{size:,} bytes", "Check the name."))
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        place = f"an error at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "endless nesting"
        raise FileFormatError(explain(f"a JSON plan in {path}", place, "Correct the file.")) from error
    return parse_plan(document, path.parent)


def parse_plan(document: object, folder: Path) -> Plan:
    """A plan from its JSON tree; its own "folder", if it names one, goes before `folder`.

    Raises:
        InputError: the key or value at fault is named.
    """
    fields = _object(document, "a plan")
    _known(fields, _KEYS, "a plan")
    for name in ("name", "folder"):
        if not isinstance(fields.get(name, ""), str):
            raise InputError(explain(f"{name} as a text", repr(fields[name])[:80], "Correct or remove it."))
    folder = folder / fields.get("folder", "")
    if fields.get("version") != VERSION:
        remedy = f'Write "version": {VERSION}.'
        raise InputError(explain(f"a plan of version {VERSION}", repr(fields.get("version")), remedy))
    axes = tuple(parse_axis(entry, folder) for entry in _list(fields.get("axes", []), "axes"))
    names = [axis.name for axis in axes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(explain("axes of different names", f"{twice} twice", "Join or rename them."))
    plan = Plan(
        name=fields.get("name") or "sweep",
        template=_template(fields.get("template"), names),
        axes=axes,
        combine=_combine(fields.get("combine", "product")),
        order=_order(fields.get("order", "grouped")),
        limit=_limit(fields.get("limit")),
        folder=folder,
    )
    _check_size(plan)
    return plan


def _template(tree: object, axes: Sequence[str]) -> Template:
    fields = _object(tree, "template")
    kind = fields.get("kind")
    if kind == "animate":
        _known(fields, ("kind", "settings"), "template")
        settings = _object(fields.get("settings", {}), "template.settings")
        named = {name.replace("-", "_"): value for name, value in settings.items()}
        both = sorted(set(named) & set(axes))
        if both:
            remedy = "Keep it in one of the two places."
            raise InputError(explain("a setting or an axis of one name", f"both for {', '.join(both)}", remedy))
        return AnimateTemplate(named)
    if kind == "graph":
        _known(fields, ("kind", "prompt", "bindings"), "template")
        prompt = _object(fields.get("prompt"), "template.prompt")
        for node, told in prompt.items():
            _object(_object(told, f"node {node} of the prompt").get("inputs", {}), f"inputs of node {node}")
        bindings = _object(fields.get("bindings", {}), "template.bindings")
        return GraphTemplate(prompt, {axis: _places(prompt, axis, bindings.get(axis)) for axis in axes})
    raise InputError(choose_from("template.kind", kind, ("animate", "graph")))


def _places(prompt: Mapping[str, Any], axis: str, tree: object) -> tuple[tuple[str, str], ...]:
    """`[node, input]` or a list of such pairs, each existing in the prompt."""
    entries = _list(tree, f"bindings.{axis}")
    pairs = [entries] if entries and isinstance(entries[0], str) else entries
    places: list[tuple[str, str]] = []
    for entry in pairs:
        pair = _list(entry, f"bindings.{axis}")
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise InputError(explain(f"bindings.{axis} as [node id, input]", repr(pair)[:80], "Correct it."))
        node, name = cast("tuple[str, str]", tuple(pair))
        if name not in _object(prompt.get(node), f"node {node} of the prompt").get("inputs", {}):
            raise InputError(explain(f"an input of node {node} for {axis}", name, "Correct the binding."))
        places.append((node, name))
    if not places:
        raise InputError(explain(f"a place in the prompt for {axis}", "none", "Add it to bindings."))
    return tuple(places)


def _combine(tree: object) -> Literal["product", "zip"] | Draw:
    if tree in ("product", "zip"):
        return tree
    if isinstance(tree, Mapping):
        fields = cast("Mapping[str, Any]", tree)
        _known(fields, ("random", "seed"), "combine")
        count, seed = fields.get("random"), fields.get("seed", 0)
        if type(count) is int and type(seed) is int and 1 <= count <= MOST_CELLS:
            return Draw(count, seed)
    expected = f'combine as "product", "zip" or {{"random": 1 .. {MOST_CELLS:,}, "seed": s}}'
    raise InputError(explain(expected, repr(tree)[:80], "Correct it."))


def _order(tree: object) -> Order:
    if tree not in get_args(Order):
        raise InputError(choose_from("order", tree, get_args(Order)))
    return cast("Order", tree)


def _limit(tree: object) -> int | None:
    if tree is None or (isinstance(tree, int) and not isinstance(tree, bool) and tree >= 1):
        return tree
    raise InputError(explain("limit as a whole number from 1", repr(tree)[:80], "Correct or remove it."))


def _check_size(plan: Plan) -> None:
    sizes = [len(axis.values) for axis in plan.axes]
    if plan.combine == "zip" and len({size for size in sizes if size > 1}) > 1:
        found = ", ".join(f"{axis.name} {len(axis.values)}" for axis in plan.axes)
        raise InputError(explain("axes of one length (or 1) to combine with zip", found, "Make them equal."))
    total = 1
    for size in sizes:
        total *= size
    if plan.combine == "product" and total > MOST_CELLS:
        remedy = 'Use fewer values, or "combine": {"random": n}.'
        raise InputError(explain(f"at most {MOST_CELLS:,} cells", f"{total:,}", remedy))


def _object(tree: object, what: str) -> Mapping[str, Any]:
    if not isinstance(tree, Mapping):
        raise InputError(explain(f"{what} as an object", repr(tree)[:80], "Correct it."))
    return cast("Mapping[str, Any]", tree)


def _list(tree: object, what: str) -> list[Any]:
    if not isinstance(tree, list):
        raise InputError(explain(f"{what} as a list", repr(tree)[:80], "Correct it."))
    return cast("list[Any]", tree)


def _known(fields: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    unknown = sorted(set(fields) - set(keys))
    if unknown:
        raise InputError(explain(f"the keys {', '.join(keys)} in {what}", ", ".join(unknown), "Correct the spelling."))
