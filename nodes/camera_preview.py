"""What a camera will do, as pictures: no model, no GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

    from ..svd_core.camera.move import CameraStack


class SVDStudioCameraPreview(io.ComfyNode):
    """The frame's way over the picture, and the course of every move."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioCameraPreview",
            display_name="SVD Camera Preview",
            category="SVD Studio",
            description="Draws what a camera will do before anything is sampled: the frame's way over your picture, "
            "and how far and how fast every move is on each frame. Takes no time and no GPU.",
            is_output_node=True,
            inputs=[
                io.Image.Input("image", tooltip="The picture the clip starts from; of a batch the first is shown."),
                io.Custom("SVD_CAMERA").Input("camera", tooltip="The moves to draw."),
                io.Int.Input("frames", default=14, min=2, max=1024, tooltip="Length of the clip in frames."),
                io.Int.Input(
                    "fps", default=8, min=1, max=1000, tooltip="Frames a second; amounts are counted per second."
                ),
            ],
            outputs=[
                io.Image.Output(
                    "path", display_name="path", tooltip="The views over the picture, from blue (first) to orange."
                ),
                io.Image.Output("curves", display_name="curves", tooltip="Position and speed over the frames."),
                io.String.Output(
                    "summary",
                    display_name="summary",
                    tooltip="One line a move, and a warning where the camera leaves the picture.",
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, camera: CameraStack, frames: int, fps: int) -> io.NodeOutput:
        from ..svd_core.camera.preview import draw_curves, draw_path, warning
        from ..svd_core.camera.stack_text import move_text

        path = draw_path(image[0, ..., :3], camera, frames, fps)[None]
        curves = draw_curves(camera, frames, fps)[None]
        lines = [move_text(move) for move in camera.moves] or ["No moves."]
        shown: dict[str, Any] = ui.PreviewImage(path, cls=cls).as_dict()
        warned = warning(camera, frames, fps)
        if warned is not None:
            lines.append(warned)
        # An empty text takes the warning of an earlier run off the node.
        return io.NodeOutput(path, curves, "\n".join(lines), ui={**shown, "text": (warned or "",)})
