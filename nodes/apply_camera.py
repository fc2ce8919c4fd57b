"""Put a camera on a MODEL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import io, ui

if TYPE_CHECKING:
    from ..svd_core.camera.stack import CameraStack
    from .host import ModelPatcher


class SVDStudioApplyCamera(io.ComfyNode):
    """MODEL and SVD_CAMERA in, MODEL out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioApplyCamera",
            display_name="SVD Apply Camera",
            category="SVD Studio",
            description="Makes the moves of a camera happen in the clips this model samples: every frame and every "
            "step gets the strength it asks for, and the weights stay as they are. Works on any SVD model, beside "
            "other LoRAs and patches, and several times in a row.",
            inputs=_inputs(),
            outputs=[
                io.Model.Output("model_out", display_name="model", tooltip="The model with the camera on it."),
                io.String.Output("summary", display_name="summary", tooltip="What carries each move, one line a move."),
            ],
        )

    @classmethod
    def execute(cls, model: ModelPatcher, camera: CameraStack, bake: bool, fps: int = 7) -> io.NodeOutput:
        from .applying import apply_camera

        applied, summary = apply_camera(model, camera, fps, bake)
        return io.NodeOutput(applied, summary, ui=ui.PreviewText(summary))


def _inputs() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any SVD model, this pack's or ComfyUI's own, with whatever LoRAs are on it."),
        io.Custom("SVD_CAMERA").Input("camera", tooltip="The moves: from SVD Camera Move, Mix or Join."),
        io.Boolean.Input(
            "bake",
            default=False,
            tooltip="Off: every frame and step has its own strength and nothing is reloaded. On: adds the LoRAs to "
            "the weights, as ComfyUI's LoRA loader does: no cost per step, but only for moves of one strength all "
            "through the clip.",
        ),
        io.Int.Input(
            "fps",
            default=7,
            min=1,
            max=120,
            optional=True,
            tooltip="Frames a second the baked strengths and the summary are for. Without bake the clip's own rate, "
            "from its conditioning, counts when it is sampled.",
        ),
    ]
