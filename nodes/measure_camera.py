"""What the camera did on finished frames, and whether it was what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

    from ..svd_core.camera.stack import CameraStack


class SVDStudioMeasureCamera(io.ComfyNode):
    """Track, verdict and clip report of one clip, as a plot, as text and as JSON."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioMeasureCamera",
            display_name="SVD Measure Camera",
            category="SVD Studio",
            description="Measures how the camera moved on the frames of a clip, whatever moves in front of it, and "
            "compares it with the camera that was asked for. Needs no model.",
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="The frames of one clip, at least 2 of 24 x 24 pixels."),
                io.Float.Input(
                    "fps",
                    default=7.0,
                    min=0.01,
                    max=1000.0,
                    step=0.01,
                    tooltip="Frames a second the clip plays at: connect fps of SVD Image Conditioning. Amounts a "
                    "second depend on it.",
                ),
                io.Custom("SVD_CAMERA").Input(
                    "camera",
                    optional=True,
                    tooltip="The camera that was asked for; without it the clip is measured and nothing is judged.",
                ),
            ],
            outputs=[
                io.Image.Output("plot", display_name="plot", tooltip="Speed of every step: measured, and asked for."),
                io.String.Output("text", display_name="text", tooltip="The verdict and the numbers, one line each."),
                io.String.Output(
                    "json", display_name="json", tooltip="Everything for programs, with the values of every frame."
                ),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, fps: float, camera: CameraStack | None = None) -> io.NodeOutput:
        from .measuring import measure_camera

        plot, text, json = measure_camera(images, fps, camera)
        return io.NodeOutput(plot, text, json, ui=ui.PreviewText(text))
