"""What a server must know of a sweep beside its record: what the artist wants of it, and what they marked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from .folder import write_json

STATE, STARS, GRAPH = "state.json", "stars.json", "graph.json"
Wish = Literal["running", "paused", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """`note` says why it is paused, where it was not the artist who did it.

    Failures on record before byte `failures_from` of the manifest are forgiven: those cells wait again.
    """

    wish: Wish = "running"
    note: str | None = None
    failures_from: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """Where the sweep's cells are in the artist's graph: cell nodes with their axes, the saving node, the page's graph.

    `workflow` is empty where the sweep was not queued from a page.
    """

    cells: Mapping[str, str]
    save: str
    plan_node: str
    workflow: Mapping[str, Any]


def read_state(folder: Path) -> State:
    """The default where there is none, or none that can be read."""
    fields = _read(folder / STATE)
    wish, note, start = fields.get("wish"), fields.get("note"), fields.get("failures_from")
    return State(
        wish=cast("Wish", wish) if wish in get_args(Wish) else "paused",
        note=note if isinstance(note, str) else None,
        failures_from=start if isinstance(start, int) else 0,
    )


def write_state(folder: Path, state: State) -> None:
    """Whole or not at all.

    Raises:
        InputError, OutputError: it cannot be written.
    """
    write_json(folder / STATE, asdict(state))


def read_stars(folder: Path) -> list[str]:
    """Keys of the starred cells, in the order they were starred."""
    stars = _read(folder / STARS).get("stars")
    return [key for key in cast("list[Any]", stars) if isinstance(key, str)] if isinstance(stars, list) else []


def write_stars(folder: Path, stars: list[str]) -> None:
    """Whole or not at all.

    Raises:
        InputError, OutputError: it cannot be written.
    """
    write_json(folder / STARS, {"stars": stars})


def read_graph(folder: Path) -> GraphFacts:
    """Empty for a sweep that no page queued."""
    fields = _read(folder / GRAPH)

    def words(name: str) -> dict[str, Any]:
        found = fields.get(name)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    return GraphFacts(
        cells=words("cells"),
        save=str(fields.get("save", "")),
        plan_node=str(fields.get("plan_node", "")),
        workflow=words("workflow"),
    )


def write_graph(folder: Path, facts: GraphFacts) -> None:
    """Whole or not at all.

    Raises:
        InputError, OutputError: it cannot be written.
    """
    write_json(folder / GRAPH, asdict(facts))


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        tree = json.loads(path.read_text(encoding="utf-8"))
        return cast("dict[str, Any]", tree) if isinstance(tree, dict) else {}
    return {}
