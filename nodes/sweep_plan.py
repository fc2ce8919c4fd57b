"""How the axes of a sweep go together. The button that queues the sweep sits on this node."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from ..svd_core.seeds import LAST_SEED
from ..svd_core.sweep.plan import MOST_CELLS, Order
from .choices import listed, verdict
from .host import io

if TYPE_CHECKING:
    from ..svd_core.sweep.axes import Axis

_COMBINE = ("product", "zip", "random")
_ORDERS = get_args(Order)


class SVDStudioSweepPlan(io.ComfyNode):
    """Axes, how they combine, and in which order their cells are made, as SVD_SWEEP_PLAN."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioSweepPlan",
            display_name="SVD Sweep Plan",
            category="SVD Studio",
            description="Puts the axes together into cells, one clip each. Queue sweep renders all of them, one "
            "prompt a cell, into output/svd_sweeps; queued the ordinary way, the graph renders the one cell that SVD "
            "Sweep Cell names.",
            inputs=_inputs(),
            outputs=[
                io.Custom("SVD_SWEEP_PLAN").Output(
                    "plan", display_name="plan", tooltip="All cells, for SVD Sweep Cell and SVD Contact Sheet."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, combine: str | None = None, order: str | None = None) -> bool | str:
        """Say on the node what is no choice."""
        return verdict(lambda: listed("combine", combine, _COMBINE), lambda: listed("order", order, _ORDERS))

    @classmethod
    def execute(
        cls, axis: tuple[Axis, ...], name: str, combine: str, order: str, limit: int = 0, seed: int = 0
    ) -> io.NodeOutput:
        """The plan, without a graph."""
        from ..svd_core.sweep.graph import make_space

        return io.NodeOutput(make_space(name, axis, combine, order, limit, seed))


def _inputs() -> list[io.Input]:
    return [
        io.Custom("SVD_SWEEP_AXIS").Input("axis", tooltip="The last of the axes."),
        io.String.Input(
            "name",
            default="sweep",
            tooltip="The sweep's name and its folder in output/svd_sweeps. The same plan under the same name goes on "
            "where it was; another plan needs another name.",
        ),
        io.Combo.Input(
            "combine",
            options=list(_COMBINE),
            default="product",
            tooltip="product: every value with every other. zip: first with first, second with second. random: as "
            "many cells of the product as `limit` says, drawn by `seed`.",
        ),
        io.Combo.Input(
            "order",
            options=list(_ORDERS),
            default="grouped",
            tooltip="grouped: clips of one picture and camera together, so that a picture is encoded once, spread "
            "coarsely within. coarse: the corners of the whole space first, then ever finer. given: as written.",
        ),
        io.Int.Input(
            "limit",
            default=0,
            min=0,
            max=MOST_CELLS,
            optional=True,
            tooltip="At most so many clips; 0 makes all of them.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=LAST_SEED,
            control_after_generate=False,
            optional=True,
            tooltip="Which cells random draws. It has nothing to do with the seeds of the clips.",
        ),
    ]
