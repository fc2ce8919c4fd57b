"""What is this file: any checkpoint or LoRA, read from its header, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..svd_core.errors import SvdError
from . import catalog
from .choices import verdict
from .host import io, ui


class SVDStudioInfo(io.ComfyNode):
    """Shows a readable report, and hands it on as text and as JSON."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioInfo",
            display_name="What Is This File?",
            category="SVD Studio",
            description="Says what a checkpoint, LoRA or frame interpolator is, which family it belongs to and "
            "whether it is complete, without loading it.",
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "file",
                    options=catalog.file_names(),
                    tooltip="A checkpoint, a diffusers folder, a LoRA, a camera LoRA or a RIFE file of ComfyUI's model "
                    "folders.",
                )
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="One line a fact."),
                io.String.Output("json", display_name="json", tooltip="The same for programs."),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Only that the file is there; a damaged one is what this node is for."""
        return verdict(lambda: None if file is None else catalog.find(file))

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> str:
        """The node runs again only when the file was exchanged."""
        return "" if file is None else catalog.fingerprint(catalog.find(file))

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
    """One line a fact; empty ones are left out."""
    from ..svd_core.weights.readable import fact_lines

    told = {name: value for name, value in facts.items() if value is not None and value not in ([], {})}
    return "\n".join(f"{name}: {text}" for name, text in fact_lines(told))
