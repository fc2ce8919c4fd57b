"""Inputs and outputs that every node has which tells a model about a picture."""

from __future__ import annotations

from .host import io

MAX_SEED = 2**64 - 1
SIZES = ("auto", "manual")
FRAMINGS = ("crop", "pad", "blur", "stretch")


def sources(image: str) -> list[io.Input]:
    """Encoders and picture; `image` is the picture's tooltip."""
    return [
        io.ClipVision.Input("clip_vision", tooltip="Image encoder of the checkpoint: what the picture shows."),
        io.Vae.Input("vae", tooltip="Autoencoder of the checkpoint: how the picture looks."),
        io.Image.Input("image", tooltip=image),
    ]


def noise_seed() -> io.Input:
    """The seed of the augmentation."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        control_after_generate=True,
        tooltip="Seed of the augmentation noise; clip i of a batch has seed + i.",
    )


def outputs(summary: str) -> list[io.Output]:
    """Conditioning, latents, rate and text; `summary` is the text's tooltip."""
    return [
        io.Conditioning.Output("positive", display_name="positive"),
        io.Conditioning.Output("negative", display_name="negative"),
        io.Latent.Output("latent", display_name="latent", tooltip="Empty latents of all clips."),
        io.Float.Output("fps_out", display_name="fps", tooltip="Frames a second the file should play at."),
        io.String.Output("summary", display_name="summary", tooltip=summary),
    ]
