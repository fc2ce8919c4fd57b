"""A camera as a file that appears in the list of presets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import camera_files
from .choices import verdict
from .host import io, ui

if TYPE_CHECKING:
    from ..svd_core.camera.move import CameraStack


class SVDStudioSaveCamera(io.ComfyNode):
    """Writes the moves, not the LoRAs in them: those are found again by name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioSaveCamera",
            display_name="Save SVD Camera",
            category="SVD Studio",
            description="Saves a camera under a name. It then appears in the presets of SVD Camera Move and in Load "
            "SVD Camera (press R), and `svd animate --camera FILE.json` reads it.",
            is_output_node=True,
            inputs=[
                io.Custom("SVD_CAMERA").Input("camera", tooltip="The moves to keep."),
                io.String.Input(
                    "name",
                    default="my camera",
                    tooltip="Letters, digits, spaces and . _ - ( ) +. A camera of the same name is replaced.",
                ),
            ],
            outputs=[io.Custom("SVD_CAMERA").Output("camera_out", display_name="camera", tooltip="The same camera.")],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """A name that cannot be a file is refused before anything runs."""
        return verdict(lambda: None if name is None else camera_files.path_of(name.strip()))

    @classmethod
    def execute(cls, camera: CameraStack, name: str) -> io.NodeOutput:
        path = camera_files.save(camera, name)
        return io.NodeOutput(camera, ui=ui.PreviewText(f"Saved as {path}"))
