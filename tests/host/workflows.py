"""Workflows as the page saves them, turned into what the page would send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.host.server import Prompt

EXAMPLES = Path(__file__).resolve().parents[2] / "example_workflows"
_NOTES = ("Note", "MarkdownNote")
_AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize")
_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def to_prompt(path: Path, object_info: dict[str, Any]) -> Prompt:
    """The graph of a saved workflow; every node type must be known to the host."""
    saved = json.loads(path.read_text(encoding="utf-8"))
    sources = {link[0]: [str(link[1]), link[2]] for link in saved["links"]}
    return {
        str(node["id"]): {"class_type": node["type"], "inputs": _inputs(node, object_info[node["type"]], sources)}
        for node in saved["nodes"]
        if node["type"] not in _NOTES
    }


def _inputs(node: dict[str, Any], info: dict[str, Any], sources: dict[int, list[Any]]) -> dict[str, Any]:
    given = {name: entry for kind in ("required", "optional") for name, entry in info["input"].get(kind, {}).items()}
    values = iter(node.get("widgets_values", []))
    found: dict[str, Any] = {}
    for name, (kind, *more) in given.items():
        if kind in _WIDGETS or isinstance(kind, list):
            # A graph saved before an input was added lacks its value; the page takes the default.
            found[name] = next(values, more[0].get("default"))
            if more and more[0].get("control_after_generate"):
                assert next(values, "fixed") in _AFTER_GENERATE, f"{node['type']}.{name}"
    for entry in node.get("inputs", []):
        assert entry["name"] in given, f"{node['type']} has no input {entry['name']}"
        if entry["link"] is not None:
            found[entry["name"]] = sources[entry["link"]]
    return found
