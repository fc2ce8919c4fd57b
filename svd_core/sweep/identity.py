"""Which folder a sweep has, and whether two plans are the same sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import explain
from ..naming import safe
from .plan import GraphTemplate, Plan

_LONGEST_ID = 120
_NAMED = 3


def folder_name(name: str) -> str:
    """The folder of a sweep of this name: what every system takes, and nothing that leads elsewhere."""
    return safe(name).encode()[:_LONGEST_ID].decode(errors="ignore").strip(" .")


def same_plan(known: Plan, wanted: Plan) -> bool:
    """Whether two plans make the same clips, wherever their pictures lie on this machine."""
    return replace(known, folder=wanted.folder).document() == wanted.document()


def another_plan(path: Path, known: Plan, wanted: Plan) -> str:
    """What sets two plans apart."""
    before, now = known.document(), wanted.document()
    parts = [name for name in ("name", "axes", "combine", "order", "limit") if before.get(name) != now.get(name)]
    if before["template"] != now["template"]:
        parts.append(f"the graph{_changes(known, wanted)}")
    remedy = "Give the plan another name; the clips of the earlier one stay as they are."
    return explain(f"the plan that sweep {path.name!r} was begun with", f"another ({', '.join(parts)})", remedy)


def _changes(known: Plan, wanted: Plan) -> str:
    """` at KSampler.steps`: the first inputs that differ, of nodes both graphs have."""
    if not isinstance(known.template, GraphTemplate) or not isinstance(wanted.template, GraphTemplate):
        return ""
    before, now = known.template.prompt, wanted.template.prompt
    changed = [
        f"{now[node].get('class_type')}.{name}"
        for node in now
        if node in before
        for name, value in now[node].get("inputs", {}).items()
        if before[node].get("inputs", {}).get(name) != value
    ]
    return f" at {', '.join(changed[:_NAMED])}" if changed else ""
