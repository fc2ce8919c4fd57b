"""What is this file: any checkpoint or LoRA, read from its header, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from ..svd_core.errors import SvdError
from . import catalog
from .host import io, ui

_SHOWN = 8


class SVDStudioInfo(io.ComfyNode):
    """Shows a readable report, and hands it on as text and as JSON."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioInfo",
            display_name="What Is This File?",
            category="SVD Studio",
            description="Says what a checkpoint or LoRA is, which family it belongs to and whether it is complete, "
            "without loading it.",
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=catalog.file_names(),
                    tooltip="A checkpoint, a diffusers folder or a LoRA of ComfyUI's model folders.",
                )
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="One line a fact."),
                io.String.Output("json", display_name="json", tooltip="The same for programs."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str) -> bool | str:
        """Only that the file is there; a damaged one is what this node is for."""
        try:
            catalog.find(file)
        except SvdError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        """The node runs again only when the file was exchanged."""
        return catalog.fingerprint(catalog.find(file))

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Read the header."""
        from ..svd_core.weights.inspection import inspect

        try:
            facts = inspect(catalog.find(file))
        except SvdError as error:
            facts = {"file": file, "problem": str(error)}
        text = readable(facts)
        return io.NodeOutput(text, json.dumps(facts, default=str), ui=ui.PreviewText(text))


def readable(facts: Mapping[str, object]) -> str:
    """One line a fact; empty ones and the long config are left out."""
    lines = [f"{name}: {_shown(value)}" for name, value in facts.items() if name != "config" and value not in ([], {})]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return ", ".join(f"{key} {_shown(entry)}" for key, entry in pairs.items())
    if isinstance(value, list | tuple):
        entries = cast("Sequence[object]", value)
        more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
        return ", ".join(_shown(entry) for entry in entries[:_SHOWN]) + more
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
