"""A camera from a file saved before."""

from __future__ import annotations

from . import camera_files
from .choices import verdict
from .host import io

_NONE = "(none saved yet)"


class SVDStudioLoadCamera(io.ComfyNode):
    """Reads what SVDStudioSaveCamera wrote."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioLoadCamera",
            display_name="Load SVD Camera",
            category="SVD Studio",
            description="A camera saved with Save SVD Camera. LoRAs in it are found by name in the LoRA folders.",
            inputs=[
                io.Combo.Input(
                    "name",
                    options=camera_files.names() or [_NONE],
                    tooltip="Cameras of ComfyUI's user folder. Press R after saving a new one.",
                )
            ],
            outputs=[io.Custom("SVD_CAMERA").Output("camera", display_name="camera", tooltip="The saved moves.")],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        """Only that the file is there."""
        return verdict(lambda: None if name is None else camera_files.check(name))

    @classmethod
    def fingerprint_inputs(cls, name: str) -> str:
        """The node runs again when the file was saved anew."""
        return camera_files.fingerprint(name)

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(camera_files.load(name))
