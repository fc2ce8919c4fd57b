"""Teach a camera move from a folder of photographs or films, inside the host."""

from __future__ import annotations

from ..svd_core.seeds import LAST_SEED
from ..svd_core.training.camera_names import trainable
from . import catalog
from .choices import listed, verdict
from .host import io, ui

_SOURCES = ("photos", "clips", "drawn worlds")


class SVDStudioTrainCameraLora(io.ComfyNode):
    """A camera LoRA that knows what its strengths do, saved where the camera nodes find it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioTrainCameraLora",
            display_name="SVD Train Camera LoRA",
            category="SVD Studio",
            description="Learns a camera move for a model from your own photographs (a camera is moved over them) or "
            "films (they are cut, measured and sorted), measures what its strengths do, and saves the LoRA to "
            "models/svd_camera_loras. Cancel any time: queue the same settings again and it goes on where it was.",
            is_output_node=True,
            inputs=_inputs(),
            outputs=[
                io.String.Output("lora", display_name="lora", tooltip="Name of the file in models/svd_camera_loras."),
                io.Image.Output("preview", display_name="preview", tooltip="A clip with the LoRA at strength 1."),
                io.String.Output("summary", display_name="summary", tooltip="Measured strengths, one a line."),
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str | None, preset: str | None, learn_from: str | None) -> bool | str:
        """Say on the node what is no choice."""
        return verdict(
            lambda: listed("learn_from", learn_from, _SOURCES),
            lambda: listed("preset", preset, trainable()),
            lambda: model is None or catalog.find(model),
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None, learn_from: str | None, folder: str | None, **_given: object) -> str:
        """Train again when photographs or the model have changed under the same names."""
        if model is None or learn_from is None or folder is None:
            return ""
        from .training import contents

        return contents(catalog.find(model), learn_from, folder)

    @classmethod
    def execute(
        cls,
        model: str,
        preset: str,
        learn_from: str,
        folder: str,
        name: str,
        steps: int,
        rank: int,
        frames: int,
        width: int,
        height: int,
        seed: int,
        measured_clips: int = 8,
    ) -> io.NodeOutput:
        from .training import Wish, train_for_host

        wish = Wish(
            model=catalog.find(model),
            preset=preset,
            learn_from=learn_from,
            folder=folder,
            name=name,
            steps=steps,
            rank=rank,
            frames=frames,
            size=(width, height),
            seed=seed,
            trials=measured_clips,
        )
        saved, preview, summary = train_for_host(wish)
        return io.NodeOutput(saved, preview, summary, ui=ui.PreviewText(summary))


def _inputs() -> list[io.Input]:
    return [*_what(), *_how()]


def _what() -> list[io.Input]:
    return [
        io.Combo.Input(
            "model", options=catalog.model_names(), tooltip="The model the LoRA is for; it works on that model only."
        ),
        io.Combo.Input("preset", options=trainable(), default="pan_left", tooltip="The move to learn."),
        io.Combo.Input(
            "learn_from",
            options=list(_SOURCES),
            default="photos",
            tooltip="photos: any pictures, 20 are enough to begin with. clips: your own films; what shows the move is "
            "found and measured by itself. drawn worlds: no files at all, for the embedded model.",
        ),
        io.String.Input(
            "folder",
            default="",
            tooltip="Folder with the photos or clips inside ComfyUI's input folder, for example my_photos; nothing "
            "for drawn worlds.",
        ),
        io.String.Input(
            "name",
            default="my_%preset%",
            tooltip="Name of the LoRA in models/svd_camera_loras, without ending. %preset%, %date% and %seed% are "
            "filled in. A file of that name is replaced when the training is done.",
        ),
    ]


def _how() -> list[io.Input]:
    return [
        io.Int.Input(
            "steps",
            default=400,
            min=1,
            max=100000,
            tooltip="Optimiser steps. A few hundred teach a move; more make it faster and cleaner.",
        ),
        io.Int.Input(
            "rank",
            default=16,
            min=1,
            max=64,
            tooltip="Width of the LoRA, 1 to 64; 8 is enough for a move, larger learns more and weighs more.",
        ),
        io.Int.Input(
            "frames",
            default=0,
            min=0,
            max=256,
            tooltip="Frames of a training clip; 0 is the model's own number. Fewer need less memory.",
        ),
        io.Int.Input(
            "width",
            default=0,
            min=0,
            max=4096,
            step=8,
            tooltip="Width of the training clips in pixels; 0 is 512 for SVD and 64 for the embedded model.",
        ),
        io.Int.Input(
            "height",
            default=0,
            min=0,
            max=4096,
            step=8,
            tooltip="Height of the training clips in pixels; 0 is 320 for SVD and 64 for the embedded model.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=LAST_SEED,
            control_after_generate=False,
            tooltip="The same seed and settings give the same LoRA on the same machine.",
        ),
        io.Int.Input(
            "measured_clips",
            default=8,
            min=1,
            max=128,
            optional=True,
            tooltip="Clips the finished LoRA is measured on at six strengths; more make its amounts more exact.",
        ),
    ]
