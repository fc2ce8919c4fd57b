"""The value an axis has in one cell, as whatever the rest of the graph needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..svd_core.sweep.plan import MOST_CELLS
from . import sweeping
from .host import ExecutionBlocker, io
from .sweep_value import load_picture

if TYPE_CHECKING:
    from ..svd_core.sweep.plan import Plan


class _Anything(str):
    """A socket type that the host finds equal to every other, so that lists of files and choices take it too."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False


class SVDStudioSweepCell(io.ComfyNode):
    """One axis of a plan in one cell. A sweep puts the values themselves into the graph and leaves this node out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioSweepCell",
            display_name="SVD Sweep Cell",
            category="SVD Studio",
            description="Gives the value of one axis to any node of the graph. When a sweep is queued, each of its "
            "prompts gets the values of its own cell; queued the ordinary way, the graph gets those of `cell`.",
            inputs=[
                io.Custom("SVD_SWEEP_PLAN").Input("plan", tooltip="The plan whose axis this is."),
                io.String.Input(
                    "axis", default="", tooltip="Name of the axis; may stay empty where the plan has only one."
                ),
                io.Int.Input(
                    "cell",
                    default=0,
                    min=0,
                    max=MOST_CELLS - 1,
                    tooltip="The cell rendered when the graph is queued the ordinary way, counted from 0 in the order "
                    "of the plan. A sweep does not look at it; “put these values into my graph” in the sweep panel "
                    "sets it.",
                ),
            ],
            outputs=[
                io.Int.Output("int", display_name="int", tooltip="A seed or a whole number."),
                io.Float.Output("float", display_name="float", tooltip="A number."),
                io.String.Output("string", display_name="string", tooltip="The value as text; of files, the name."),
                io.Image.Output("image", display_name="image", tooltip="The picture, where the axis holds images."),
                io.Custom("SVD_CAMERA").Output(
                    "camera", display_name="camera", tooltip="The camera, where the axis holds cameras."
                ),
                io.Custom(_Anything("*")).Output(
                    "any",
                    display_name="any",
                    tooltip="The value as it is, for lists: the file of a LoRA loader, a preset, a sampler's name.",
                ),
            ],
        )

    @classmethod
    def execute(cls, plan: Plan, axis: str, cell: int) -> io.NodeOutput:
        """All outputs; those the axis has nothing for stop what is wired to them, with a sentence."""
        from ..svd_core.sweep.graph import OUTPUTS, OUTPUTS_OF, value_at

        found, value = value_at(plan, axis, cell)
        made = {
            "int": lambda: int(value),
            "float": lambda: float(value),
            "string": lambda: str(value),
            "image": lambda: load_picture(str(value)),
            "camera": lambda: sweeping.camera(str(value)),
            "any": lambda: value,
        }
        allowed = OUTPUTS_OF[str(found.kind)]
        words = f"Expected {' or '.join(allowed)} of the cell, whose axis {found.name} holds {found.kind}; found"
        return io.NodeOutput(
            *(
                made[name]() if name in allowed else ExecutionBlocker(f"{words} {name} in use. Wire {allowed[0]}.")
                for name in OUTPUTS
            )
        )
