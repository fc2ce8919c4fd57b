"""Put a camera on a MODEL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import catalog
from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

    from ..svd_core.camera.stack import CameraStack
    from .host import VAE, ModelPatcher


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
    def fingerprint_inputs(cls, **_given: object) -> str:
        """The node runs again when LoRA files come or go: a move may be carried by another one then."""
        return "|".join(catalog.fingerprint(folder) for folder in catalog.lora_folders())

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        camera: CameraStack,
        bake: bool,
        fps: int = 7,
        image: Tensor | None = None,
        vae: VAE | None = None,
        depth: Tensor | None = None,
        freedom: float = 1.0,
    ) -> io.NodeOutput:
        from .applying import apply_camera
        from .camera_start import Source

        source = None
        if image is not None and vae is not None:
            source = Source(image=image, vae=vae, depth=depth, freedom=freedom)
        applied, summary = apply_camera(model, camera, fps=fps, baked=bake, source=source)
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
        io.Image.Input(
            "image",
            optional=True,
            tooltip="Only for moves no LoRA is for: the source picture, framed as the clip shows it (cropped to its "
            "shape otherwise). The clip is then started from this picture moved by the camera, an approximation.",
        ),
        io.Vae.Input("vae", optional=True, tooltip="Goes with image: the VAE of the SVD checkpoint."),
        io.Image.Input(
            "depth",
            optional=True,
            tooltip="Goes with image: a depth picture, white is near. Truck, pedestal, dolly and orbit then show "
            "parallax.",
        ),
        io.Float.Input(
            "freedom",
            default=1.0,
            min=0.1,
            max=4.0,
            step=0.05,
            optional=True,
            tooltip="Goes with image, without unit: below 1 the clip follows the camera more closely, above 1 the "
            "subject moves more.",
        ),
    ]
