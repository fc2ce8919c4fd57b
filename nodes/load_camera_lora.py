"""A LoRA file as a camera: whatever its naming, with everything that is to know about it in words."""

from __future__ import annotations

from pathlib import Path

from . import catalog
from .choices import verdict
from .host import io, ui

_NOTHING = "no LoRA found"
_HELP = (
    "Loads a LoRA that was trained on Stable Video Diffusion and hands it on as a camera, for SVD Apply Camera or to "
    "mix and join with other moves. Every naming is understood (kohya, PEFT, diffusers, ComfyUI, this pack's own). The "
    "report says how many of its layers were found and how many of those look along time; a LoRA none of whose layers "
    "is found stops the graph. Files belong into ComfyUI/models/svd_camera_loras or ComfyUI/models/loras."
)


class SVDStudioLoadCameraLora(io.ComfyNode):
    """One list of LoRA files, checked on the node before anything runs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioLoadCameraLora",
            display_name="Load SVD Camera LoRA",
            category="SVD Studio",
            description=_HELP,
            inputs=[
                io.Combo.Input(
                    "lora_name",
                    options=catalog.lora_names() or [_NOTHING],
                    tooltip="A .safetensors file of ComfyUI/models/svd_camera_loras or ComfyUI/models/loras, or the "
                    "adapter_model.safetensors of a PEFT folder in there.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    tooltip="Factor on the LoRA: 1 is as trained, 0 is off, 2 twice as strong; a negative factor "
                    "asks for the opposite move.",
                ),
            ],
            outputs=[
                io.Custom("SVD_CAMERA").Output(
                    "camera", display_name="camera", tooltip="The LoRA as a camera of one move, all through the clip."
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Naming, rank, alpha, layers found, and what is doubtful about the file.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, lora_name: str | None, strength: float | None = None) -> bool | str:
        """Refuse on the node what the header already shows to be impossible."""
        return verdict(lambda: None if lora_name is None else _check_header(catalog.find_lora(lora_name)))

    @classmethod
    def fingerprint_inputs(cls, lora_name: str | None, strength: float | None = None) -> str:
        """The node runs again when the file, or the adapter's settings beside it, were exchanged."""
        if lora_name is None:
            return str(strength)
        path = catalog.find_lora(lora_name)
        settings = path.parent / "adapter_config.json"
        files = [path, settings] if settings.is_file() else [path]
        return "|".join([*map(catalog.fingerprint, files), str(strength)])

    @classmethod
    def execute(cls, lora_name: str, strength: float) -> io.NodeOutput:
        """Read the file and say what it is."""
        from ..svd_core.camera.move import CameraStack, Move
        from ..svd_core.weights.lora import load_camera_lora

        lora = load_camera_lora(catalog.find_lora(lora_name))
        report = lora.summary()
        return io.NodeOutput(CameraStack((Move(lora=lora, amount=strength),)), report, ui=ui.PreviewText(report))


def _check_header(path: Path) -> None:
    """Everything `load_camera_lora` refuses before it reads a weight.

    Raises:
        SvdError: damaged, no LoRA, or one for another network.
    """
    from ..svd_core.weights.lora_check import check_lora

    check_lora(path)
