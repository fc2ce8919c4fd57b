"""Guidance with a weight a frame, put on a MODEL so that every sampler uses it, clip by clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..svd_core.sampling.guidance import GUIDANCE_SHAPES
from .choices import listed, verdict
from .host import io

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ..svd_core.sampling import GuidanceCurve
    from ..svd_core.sampling.points import CurvePoints
    from .host import ModelPatcher


class SVDStudioGuidance(io.ComfyNode):
    """MODEL in, MODEL out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioGuidance",
            display_name="SVD Guidance",
            category="SVD Studio",
            description="How strongly each frame is pulled towards the picture. Acts on any sampler, on each clip of "
            "a batch for itself, and whatever cfg the sampler is set to.",
            inputs=_inputs(),
            outputs=[io.Model.Output("model_out", display_name="model", tooltip="The model with the curve on it.")],
        )

    @classmethod
    def validate_inputs(cls, shape: str | None, points: str | None = "") -> bool | str:
        """Say on the node what is no shape and no curve."""
        from ..svd_core.sampling.points import CurvePoints

        curve = (points or "").strip()
        return verdict(
            lambda: listed("shape", shape, GUIDANCE_SHAPES), lambda: CurvePoints.parse(curve) if curve else None
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        shape: str,
        minimum: float,
        maximum: float,
        points: str = "",
    ) -> io.NodeOutput:
        from ..svd_core.sampling import GuidanceCurve
        from ..svd_core.sampling.points import CurvePoints
        from .sampling import check_family

        check_family(model)
        curve = CurvePoints.parse(points) if points.strip() else GuidanceCurve(shape, minimum, maximum)
        guided = model.clone()
        # Without the flag the host skips the unconditional half at cfg 1 and hands zeros to the curve.
        guided.set_model_sampler_cfg_function(per_clip(curve), disable_cfg1_optimization=True)
        return io.NodeOutput(guided)


def per_clip(curve: GuidanceCurve | CurvePoints) -> Callable[[dict[str, Any]], Tensor]:
    """The host's cfg function for a curve over the frames of each clip.

    The host passes and expects x minus the prediction, a linear change that guidance passes through.
    """
    from ..svd_core.sampling import combine, guidance_weights
    from .host_model import CLIP_FRAMES

    def guide(args: dict[str, Any]) -> Tensor:
        rows = len(args["cond"])
        frames = next((entry[CLIP_FRAMES] for entry in args["input_cond"] or () if CLIP_FRAMES in entry), rows)
        # A context window or a single clip has fewer rows than the conditioning says.
        frames = frames if rows % frames == 0 else rows
        return combine(args["uncond"], args["cond"], guidance_weights(curve.weights(frames), rows // frames, frames))

    return guide


def _inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any SVD or SV3D model."),
        io.Combo.Input(
            "shape",
            options=list(GUIDANCE_SHAPES),
            default="linear",
            tooltip="Course of the weight over the frames of a clip: constant (minimum throughout), linear (minimum at "
            "the first frame, maximum at the last: SVD's own), cosine (the same with soft ends), hold (maximum from "
            "the middle on), triangle (maximum in the middle: SV3D's orbits), trapezoid (maximum in the middle half).",
        ),
        io.Float.Input(
            "minimum",
            default=1.0,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Weight of the frames nearest the picture, without unit; 1 is no guidance.",
        ),
        io.Float.Input(
            "maximum",
            default=2.5,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Weight at the far end, without unit. 2.5 for SVD, 3 for SVD-XT; above 5 colours burn.",
        ),
        io.String.Input(
            "points",
            default="",
            optional=True,
            tooltip="Own curve instead of a shape, as place:weight with places from 0 (first frame) to 1 (last), for "
            "example 0:1, 0.5:3, 1:1. Straight lines between the points.",
        ),
    ]
