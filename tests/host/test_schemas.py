"""Ids, inputs, outputs and their order, as saved graphs rely on them; a change must be meant.

After a change that is meant, run this file with SVD_STUDIO_WRITE_SCHEMAS=1 and look at the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.host.server import Server

# What an artist has saved in the folder of the user.
SAVED_MARK, SAVED_LISTS = (
    "saved: ",
    {("SVDStudioLoadCamera", "name"), ("SVDStudioLoadInterpolator", "interpolator_name")},
)
SNAPSHOT = Path(__file__).with_name("schemas.json")


def schema(info: dict[str, Any]) -> dict[str, Any]:
    """What a saved graph depends on; lists of files differ from machine to machine and are left out."""
    given = {name: entry for kind in ("required", "optional") for name, entry in info["input"].get(kind, {}).items()}
    order = [name for names in info["input_order"].values() for name in names if name in given]
    return {
        "inputs": {name: _input((info["name"], name) in SAVED_LISTS, *given[name]) for name in order},
        "outputs": dict(zip(info["output_name"], info["output"], strict=True)),
        "output_node": info["output_node"],
    }


def _input(saved: bool, kind: Any, options: dict[str, Any] | None = None) -> dict[str, Any]:
    options = options or {}
    kept = {name: options[name] for name in ("default", "min", "max", "step") if name in options}
    choices = [entry for entry in options.get("options", []) if not str(entry).startswith(SAVED_MARK)]
    files = saved or any(".safetensors" in str(entry) for entry in choices)
    return {"type": kind, **kept} | ({} if files else {"options": choices})


def test_schemas_are_as_released(server: Server) -> None:
    listed = server.get("/object_info")
    found = {name: schema(info) for name, info in sorted(listed.items()) if name.startswith("SVDStudio")}
    if os.environ.get("SVD_STUDIO_WRITE_SCHEMAS"):
        SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    assert found == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_every_input_explains_itself(server: Server) -> None:
    listed = server.get("/object_info")
    for name, info in listed.items():
        if name.startswith("SVDStudio"):
            assert info["description"], f"{name} has no description"
            for kind in ("required", "optional"):
                silent = [key for key, entry in info["input"].get(kind, {}).items() if not entry[1].get("tooltip")]
                assert not silent, f"{name}: no tooltip on {silent}"
