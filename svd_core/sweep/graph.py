"""A graph with sweep nodes in it, as the host's page sends it, turned into a plan whose cells are plain prompts.

Cell nodes disappear: numbers and words become literals at whatever they were wired to, pictures and cameras come out
of one loader an axis. Axis, plan and sheet nodes are left out, and whatever hangs on them alone. What remains is the
artist's graph, so a host's cache holds everything two cells share.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from ..errors import InputError, explain
from .axes import Axis, Value, axis_document, natural
from .entries import Find, read_entries
from .plan import GraphTemplate, Plan, parse_plan

AXIS, PLAN, CELL, SHEET = "SVDStudioSweepAxis", "SVDStudioSweepPlan", "SVDStudioSweepCell", "SVDStudioContactSheet"
SAVE = "SVDStudioSaveClip"
OUTPUTS = ("int", "float", "string", "image", "camera", "any")
"""Of a cell node, in their order."""

# Of a cell's outputs those that need a loader: its kind of value and the place of it among the loader's outputs.
_LOADER = "SVDStudioSweepValue"
_LOADED = {"image": ("images", 0), "camera": ("camera", 1)}
_NUMBERS = ("int", "float", "string", "any")
OUTPUTS_OF = {
    "number": _NUMBERS,
    "seed": _NUMBERS,
    "images": ("image", "string", "any"),
    "camera": ("camera", "string", "any"),
    "lora files": ("string", "any"),
    "text": ("string", "any"),
}
"""Which of them an axis of a kind can fill."""

Prompt = Mapping[str, Mapping[str, Any]]


class GraphError(InputError):
    """Something in the graph is in the way of a sweep; `node` is the id of the node it is about."""

    def __init__(self, message: str, node: str | None = None) -> None:
        super().__init__(message)
        self.node = node


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSweep:
    """The plan; which cell node stands for which axis; the node that saves the clip of a cell; what should be said."""

    plan: Plan
    cells: Mapping[str, str]
    save: str
    notes: tuple[str, ...] = ()


def make_space(name: str, axes: tuple[Axis, ...], combine: str, order: str, limit: int, seed: int) -> Plan:
    """What is varied, without a graph yet: combine is product, zip or random; a limit of 0 is none.

    Raises:
        InputError: axes that do not go together, too many cells, or random without a number.
    """
    if combine == "random" and limit < 1:
        raise InputError(explain("`limit` as the number of random cells", str(limit), "Set limit to 1 or more."))
    tree: dict[str, Any] = {
        "version": 1,
        "name": name.strip() or "sweep",
        "template": {"kind": "animate", "settings": {}},
        "axes": [axis_document(axis) for axis in axes],
        "combine": {"random": limit, "seed": seed} if combine == "random" else combine,
        "order": order,
    }
    return parse_plan(tree if limit < 1 else {**tree, "limit": limit}, Path())


def graph_sweep(prompt: Prompt, plan_node: str, find: Find, folder: Path) -> GraphSweep:
    """The sweep of one plan node; pictures are names in `folder`, the host's input folder.

    Raises:
        GraphError: with the node to look at.
    """
    space, axes = _space(prompt, plan_node, find)
    cells = _cells(prompt, plan_node, {axis.name for axis in axes.values()})
    writing = _Writing(prompt, cells, {axis.name: axis for axis in axes.values()})
    graph = writing.rewritten()
    _prune(graph, {plan_node, *cells, *(node for node, told in graph.items() if told.get("class_type") == SHEET)})
    bound = _surviving(writing.bindings, graph)
    kept: list[Axis] = []
    for node, axis in axes.items():
        if bound.get(axis.name):
            kept.append(axis)
        elif len(axis.values) > 1:
            remedy = "Put SVD Sweep Cell with this axis where its values belong, or unplug the axis."
            raise GraphError(explain(f"a use of axis {axis.name} in the graph", "none", remedy), node)
    save, notes = _save_node(graph, bound)
    template = GraphTemplate(graph, {axis.name: tuple(bound[axis.name]) for axis in kept})
    plan = replace(space, template=template, axes=tuple(kept), folder=folder)
    return GraphSweep(plan=plan, cells=cells, save=save, notes=notes)


def saving_node(graph: Prompt, bindings: Mapping[str, Sequence[tuple[str, str]]]) -> str | None:
    """The Save Clip whose clip is a cell's: the first that depends on a cell, else the first; None without any."""
    saves = sorted((node for node, told in graph.items() if told.get("class_type") == SAVE), key=natural)
    places = {node for bound in bindings.values() for node, _ in bound}
    return next((save for save in saves if places & _ancestors(graph, save)), saves[0] if saves else None)


def value_at(plan: Plan, axis: str, index: int) -> tuple[Axis, Value]:
    """What an axis (an empty name means the only one) has in one cell of a plan.

    Raises:
        InputError: no such axis or cell.
    """
    names = [one.name for one in plan.axes]
    wanted = axis.strip().replace("-", "_") or (names[0] if len(names) == 1 else "")
    if wanted not in names:
        remedy = "Write the name of an axis of the plan."
        raise InputError(explain(f"`axis` as one of {', '.join(names)}", repr(axis), remedy))
    rows = plan.rows()
    if not 0 <= index < len(rows):
        raise InputError(explain(f"`cell` in 0 .. {len(rows) - 1}", str(index), "Choose a smaller number."))
    return plan.axes[names.index(wanted)], rows[index][wanted]


def cell_values(prompt: Prompt, find: Find) -> dict[str, tuple[Axis, Value]]:
    """By axis, what the cell nodes of a graph queued the ordinary way stand for; unreadable ones are left out."""
    found: dict[str, tuple[Axis, Value]] = {}
    for node, told in prompt.items():
        link = _link(told.get("inputs", {}).get("plan"))
        if told.get("class_type") != CELL or link is None:
            continue
        with suppress(InputError):
            space, _ = _space(prompt, link[0], find)
            cell = _whole(_literal(prompt, node, "cell", 0))
            axis, value = value_at(space, str(_literal(prompt, node, "axis", "")), cell)
            found.setdefault(axis.name, (axis, value))
    return found


def workflow_at(workflow: Mapping[str, Any], cells: Mapping[str, str], index: int) -> dict[str, Any]:
    """The page's graph with its cell nodes at `index`, subgraphs included: what a clip of that cell carries with it.

    A node of a subgraph is `outer:inner` in `cells`; ids within definitions are the last part.
    """
    wanted = {name.rpartition(":")[2] for name in cells}

    def turned(tree: object) -> object:
        if isinstance(tree, list):
            return [turned(entry) for entry in cast("list[object]", tree)]
        if not isinstance(tree, dict):
            return tree
        fields = cast("dict[str, Any]", tree)
        values = fields.get("widgets_values")
        if fields.get("type") == CELL and str(fields.get("id")) in wanted:
            if isinstance(values, list) and len(cast("list[Any]", values)) >= 2:
                return {**fields, "widgets_values": [values[0], index, *values[2:]]}
            if isinstance(values, dict):
                return {**fields, "widgets_values": {**cast("dict[str, Any]", values), "cell": index}}
        parts = ("nodes", "definitions", "subgraphs")
        return {name: turned(entry) if name in parts else entry for name, entry in fields.items()}

    return cast("dict[str, Any]", turned(dict(workflow)))


def _space(prompt: Prompt, plan_node: str, find: Find) -> tuple[Plan, dict[str, Axis]]:
    """What the plan node and the axis nodes before it say; the axes by their nodes."""
    if plan_node not in prompt or prompt[plan_node].get("class_type") != PLAN:
        remedy = "Add SVD Sweep Plan, or take it out of bypass or mute."
        raise GraphError(explain("the plan in the graph", f"no node {plan_node!r} of that kind", remedy), plan_node)
    axes: dict[str, Axis] = {}
    for node in reversed(list(_chain(prompt, plan_node))):
        words = {name: _literal(prompt, node, name, "") for name in ("name", "kind", "values")}
        with _about(node):
            axes[node] = read_entries(str(words["name"]), str(words["kind"]), str(words["values"]), find)
    with _about(plan_node):
        space = make_space(
            str(_literal(prompt, plan_node, "name", "sweep")),
            tuple(axes.values()),
            str(_literal(prompt, plan_node, "combine", "product")),
            str(_literal(prompt, plan_node, "order", "grouped")),
            _whole(_literal(prompt, plan_node, "limit", 0)),
            _whole(_literal(prompt, plan_node, "seed", 0)),
        )
    return space, axes


def _chain(prompt: Prompt, plan_node: str) -> Iterator[str]:
    """Axis nodes, the last of the chain first."""
    node, seen = plan_node, set[str]()
    while (link := _link(prompt[node].get("inputs", {}).get("axis"))) is not None:
        before, _ = link
        if prompt.get(before, {}).get("class_type") != AXIS or before in seen:
            found = str(prompt.get(before, {}).get("class_type", "nothing"))
            raise GraphError(explain("SVD Sweep Axis at `axis`", found, "Wire the axes one after the other."), node)
        seen.add(before)
        yield before
        node = before
    if node == plan_node:
        raise GraphError(explain("an axis at the plan", "none", "Wire SVD Sweep Axis to it."), plan_node)


def _cells(prompt: Prompt, plan_node: str, names: set[str]) -> dict[str, str]:
    """The cell nodes of this plan and their axes; one that names none means the only axis."""
    cells: dict[str, str] = {}
    for node, told in prompt.items():
        link = _link(told.get("inputs", {}).get("plan"))
        if told.get("class_type") != CELL or link is None or link[0] != plan_node:
            continue
        named = str(_literal(prompt, node, "axis", "")).strip().replace("-", "_")
        if not named and len(names) == 1:
            (named,) = names
        if named not in names:
            expected = f"`axis` as one of {', '.join(sorted(names))}"
            raise GraphError(explain(expected, repr(named), "Write the name of an axis of the plan."), node)
        cells[node] = named
    return cells


class _Writing:
    """The graph without its cell nodes, and the places their values went to."""

    def __init__(self, prompt: Prompt, cells: Mapping[str, str], axes: Mapping[str, Axis]) -> None:
        self._prompt = prompt
        self._cells = cells
        self._axes = axes
        self._loaders: dict[str, str] = {}
        self._added: dict[str, dict[str, Any]] = {}
        self.bindings: dict[str, list[tuple[str, str]]] = {}

    def rewritten(self) -> dict[str, dict[str, Any]]:
        graph: dict[str, dict[str, Any]] = {}
        for node, told in self._prompt.items():
            inputs = dict(cast("Mapping[str, Any]", told.get("inputs", {})))
            for name, value in inputs.items():
                link = _link(value)
                if link is not None and link[0] in self._cells and node not in self._cells:
                    inputs[name] = self._put(node, name, link)
            graph[node] = {"class_type": told.get("class_type"), "inputs": inputs}
        return {**graph, **self._added}

    def _put(self, node: str, name: str, link: tuple[str, int]) -> object:
        """What takes the place of a wire from a cell."""
        axis = self._axes[self._cells[link[0]]]
        output = OUTPUTS[link[1]] if 0 <= link[1] < len(OUTPUTS) else "?"
        allowed = OUTPUTS_OF[str(axis.kind)]
        if output not in allowed:
            expected = f"{' or '.join(allowed)} of the cell, whose axis {axis.name} holds {axis.kind}"
            raise GraphError(explain(expected, f"{output} in use", f"Wire {allowed[0]} instead."), link[0])
        if output == "int":
            self._check_whole(axis, node, name)
        if output in _LOADED:
            kind, place = _LOADED[output]
            return [self._loader(axis, kind), place]
        self.bindings.setdefault(axis.name, []).append((node, name))
        return axis.values[0]

    def _loader(self, axis: Axis, kind: str) -> str:
        """The node that loads an axis's values, the same for all that use it."""
        if axis.name not in self._loaders:
            node = f"svd_sweep_{axis.name}"
            while node in self._prompt or node in self._added:
                node += "_"
            self._loaders[axis.name] = node
            self._added[node] = {"class_type": _LOADER, "inputs": {"kind": kind, "value": axis.values[0]}}
            self.bindings.setdefault(axis.name, []).append((node, "value"))
        return self._loaders[axis.name]

    def _check_whole(self, axis: Axis, node: str, name: str) -> None:
        odd = next((value for value in axis.values if value != int(cast("float", value))), None)
        if odd is not None:
            kind = self._prompt[node].get("class_type")
            remedy = "Wire float instead, or write whole numbers on the axis."
            raise GraphError(explain(f"whole numbers for {name} of {kind}", f"{odd} on {axis.name}", remedy), node)


def _prune(graph: dict[str, dict[str, Any]], gone: set[str]) -> None:
    """Take nodes out, what cannot run without them, and then axes and plans nothing uses any more."""
    while gone:
        for node in gone:
            graph.pop(node, None)
        gone = {node for node in graph if any(source not in graph for source in _sources(graph, node))}
        if not gone:
            used = {source for node in graph for source in _sources(graph, node)}
            gone = {node for node, told in graph.items() if told["class_type"] in (AXIS, PLAN) and node not in used}


def _surviving(bindings: Mapping[str, list[tuple[str, str]]], graph: Prompt) -> dict[str, list[tuple[str, str]]]:
    """Places whose node is still there and, for a loader, still of use."""
    used = {source for node in graph for source in _sources(graph, node)}

    def holds(node: str) -> bool:
        return node in used or graph[node]["class_type"] != _LOADER

    return {
        axis: kept
        for axis, places in bindings.items()
        if (kept := [(node, name) for node, name in places if node in graph and holds(node)])
    }


def _save_node(graph: Prompt, bindings: Mapping[str, list[tuple[str, str]]]) -> tuple[str, tuple[str, ...]]:
    chosen = saving_node(graph, bindings)
    if chosen is None:
        remedy = "End the graph in it: it is what gives a clip its name and its place in the sweep's record."
        raise GraphError(explain("Save Clip in the graph", "none", remedy))
    others = sum(told["class_type"] == SAVE for told in graph.values()) - 1
    if not others:
        return chosen, ()
    note = f"The clip of a cell is that of Save Clip {chosen}; the other {others} save as they always do."
    return chosen, (note,)


def _ancestors(graph: Prompt, node: str) -> set[str]:
    """A node and everything it depends on."""
    found, left = set[str](), [node]
    while left:
        here = left.pop()
        if here not in found and here in graph:
            found.add(here)
            left += _sources(graph, here)
    return found


def _sources(graph: Prompt, node: str) -> list[str]:
    links = (_link(value) for value in graph[node].get("inputs", {}).values())
    return [link[0] for link in links if link is not None]


def _link(value: object) -> tuple[str, int] | None:
    """The node and output a wired input names."""
    if isinstance(value, list) and len(pair := cast("list[object]", value)) == 2:
        node, output = pair
        if isinstance(node, str) and isinstance(output, int):
            return node, output
    return None


def _literal(prompt: Prompt, node: str, name: str, default: object) -> object:
    """What a widget says; a wire from one of the host's primitive nodes counts, any other cannot be known here."""
    value = prompt[node].get("inputs", {}).get(name, default)
    link = _link(value)
    if link is None:
        return value
    source = prompt.get(link[0], {})
    inner = source.get("inputs", {}).get("value")
    if str(source.get("class_type", "")).startswith("Primitive") and _link(inner) is None and inner is not None:
        return inner
    found = f"a wire from {source.get('class_type', 'nothing')}"
    raise GraphError(explain(f"`{name}` typed on the node", found, "Unplug it and type the value."), node)


def _whole(value: object) -> int:
    try:
        return int(cast("Any", value))
    except (TypeError, ValueError) as error:
        raise InputError(explain("a whole number", repr(value), "Correct it.")) from error


@contextmanager
def _about(node: str) -> Generator[None]:
    """Errors inside are about this node."""
    try:
        yield
    except GraphError:
        raise
    except InputError as error:
        raise GraphError(str(error), node) from error
