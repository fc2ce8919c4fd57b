"""A cell as a host's prompt: the template's graph with the cell's values written into their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .plan import GraphTemplate


def cell_prompt(template: GraphTemplate, values: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt of one cell.

    Values are literals at their consumers, so a host caches every node whose values two cells share. Nodes without a
    binding are handed on as they are.
    """
    prompt = dict(template.prompt)
    for axis, places in template.bindings.items():
        for node, name in places:
            told = cast("Mapping[str, Any]", prompt[node])
            prompt[node] = {**told, "inputs": {**told["inputs"], name: values[axis]}}
    return prompt
