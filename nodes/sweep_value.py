"""What stands in the place of SVD Sweep Cell in the prompts of a sweep, where a literal will not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import camera_files, catalog, sweeping
from .choices import listed, verdict
from .host import ExecutionBlocker, io

if TYPE_CHECKING:
    from torch import Tensor

_KINDS = ("images", "camera")


class SVDStudioSweepValue(io.ComfyNode):
    """A picture by its name in the input folder, or a camera in words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioSweepValue",
            display_name="SVD Sweep Value",
            category="SVD Studio",
            description="Sweeps put this node into their prompts to load a cell's picture or camera. It also turns "
            "text into a camera, and loads pictures by name; a damaged picture is an error and not a black clip.",
            inputs=[
                io.Combo.Input("kind", options=list(_KINDS), default="camera", tooltip="What the value is."),
                io.String.Input(
                    "value",
                    default="pan_left:12",
                    tooltip="images: a file of ComfyUI's input folder. camera: moves made together, "
                    "pan_left:12 + zoom_in:5:0-12, amounts as in SVD Camera Move; saved: NAME is a saved camera.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The picture, upright, without transparency."),
                io.Custom("SVD_CAMERA").Output("camera", display_name="camera", tooltip="The camera."),
            ],
        )

    @classmethod
    def validate_inputs(cls, kind: str | None = None, value: str | None = None) -> bool | str:
        """Refuse on the node what is no move and what is not there."""

        def possible() -> None:
            if value is not None and kind == "camera":
                sweeping.camera(value)
            elif value is not None and kind == "images":
                sweeping.picture_path(value)

        return verdict(lambda: listed("kind", kind, _KINDS), possible)

    @classmethod
    def fingerprint_inputs(cls, kind: str | None = None, value: str | None = None) -> str:
        """Changes with the picture's file, and with the saved cameras that are named."""
        if kind == "images" and value is not None:
            return catalog.fingerprint(sweeping.picture_path(value))
        return "|".join(map(camera_files.fingerprint, sweeping.saved_in(value or "")))

    @classmethod
    def execute(cls, kind: str, value: str) -> io.NodeOutput:
        """The one of the two that `kind` says."""
        other = f"Expected kind to be what is wired; found {kind}. Set kind."
        if kind == "images":
            return io.NodeOutput(load_picture(value), ExecutionBlocker(other))
        return io.NodeOutput(ExecutionBlocker(other), sweeping.camera(value))


def load_picture(name: str) -> Tensor:
    """A picture of the input folder, `1 H W 3`.

    Raises:
        InputError, FileFormatError: it is not there, or damaged.
    """
    from ..svd_core.video_io import read_picture

    return read_picture(sweeping.picture_path(name)).pixels[None]
