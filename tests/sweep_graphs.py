"""Graphs with sweep nodes as a page sends them, and the files their axes find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svd_core.errors import InputError
from svd_core.sweep.entries import Kind

Prompt = dict[str, dict[str, Any]]


def node(class_type: str, /, **inputs: Any) -> dict[str, Any]:
    """One node."""
    return {"class_type": class_type, "inputs": inputs}


def axis(name: str, kind: str, values: str, before: str | None = None) -> dict[str, Any]:
    """An axis node."""
    chain = {} if before is None else {"axis": [before, 0]}
    return node("SVDStudioSweepAxis", name=name, kind=kind, values=values, **chain)


def plan_node(last: str, **changes: Any) -> dict[str, Any]:
    """A plan node."""
    usual = {"name": "sweep", "combine": "product", "order": "grouped", "limit": 0, "seed": 0}
    return node("SVDStudioSweepPlan", axis=[last, 0], **{**usual, **changes})


def cell(plan: str, axis: str = "", at: int = 0) -> dict[str, Any]:
    """A cell node."""
    return node("SVDStudioSweepCell", plan=[plan, 0], axis=axis, cell=at)


def two_by(seeds: int, **plan: Any) -> Prompt:
    """Two pictures by some seeds, with the host's own nodes in between."""
    return {
        "1": axis("image", "images", "photos/*.png"),
        "2": axis("seed", "seed", f"{seeds} from 10", "1"),
        "3": plan_node("2", **plan),
        "4": cell("3", "image"),
        "5": cell("3", "seed"),
        "6": node("Encode", image=["4", 3], width=64),
        "7": node("KSampler", positive=["6", 0], seed=["5", 0], steps=2),
        "8": node("SVDStudioSaveClip", images=["7", 0], notes=["4", 2]),
        "9": node("SVDStudioContactSheet", sweep="sweep", plan=["3", 0]),
        "10": node("PreviewImage", images=["9", 0]),
    }


def find(kind: Kind, pattern: str) -> Sequence[str]:
    """Two pictures, two LoRAs and one saved camera."""
    known = {"images": ["photos/a.png", "photos/b.png"], "lora files": ["x/pan.safetensors", "roll.safetensors"]}
    if kind == "camera":
        found = ["mine"] if pattern == "mine" else []
    else:
        found = known[kind] if "*" in pattern else [name for name in known[kind] if name == pattern]
    if not found:
        raise InputError(f"Expected a file; found none called {pattern}. Put it there.")
    return found
