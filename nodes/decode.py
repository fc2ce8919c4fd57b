"""Latents to frames in chunks and tiles of stated size: the same pixels on every machine, whichever VAE does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import io, ui

if TYPE_CHECKING:
    from .clips import Latent
    from .host import VAE


class SVDStudioDecode(io.ComfyNode):
    """VAE Decode's counterpart for clips."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioDecode",
            display_name="SVD Decode",
            category="SVD Studio",
            description="Decodes clips a fixed number of frames at a time. Free memory never changes a pixel, and "
            "chunks and tiles leave no seams. Takes this pack's and ComfyUI's own VAE.",
            inputs=_inputs(),
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="All frames, clip after clip."),
                io.Int.Output("frames", display_name="frames", tooltip="Frames of one clip."),
                io.String.Output("report", display_name="report", tooltip="How it was decoded, and in what memory."),
            ],
        )

    @classmethod
    def execute(
        cls,
        vae: VAE,
        latent: Latent,
        decode_chunk: int,
        overlap: int,
        tile: int,
        restore_shape: bool,
    ) -> io.NodeOutput:
        from ..svd_core.framing import restore
        from .clips import box_of, clip_length
        from .decoding import decode_for_host

        frames, box = clip_length(latent), box_of(latent)
        images, report = decode_for_host(vae, latent["samples"], frames, decode_chunk, overlap, tile)
        if restore_shape and box is not None:
            images = restore(images, box)
        return io.NodeOutput(images, frames, report, ui=ui.PreviewText(report))


def _inputs() -> list[io.Input]:
    return [
        io.Vae.Input("vae", tooltip="The checkpoint's VAE; ComfyUI's own works as well."),
        io.Latent.Input("latent", tooltip="Sampled latents of one clip or several."),
        io.Int.Input(
            "decode_chunk",
            default=8,
            min=1,
            max=256,
            tooltip="Frames decoded together: memory grows with them, smoothness hardly.",
        ),
        io.Int.Input(
            "overlap",
            default=4,
            min=0,
            max=128,
            tooltip="Frames neighbouring chunks share so that no seam shows, at most half a chunk. 0 cuts hard. This "
            "pack's own VAE carries its state from chunk to chunk; for it any value above 0 is the same.",
        ),
        io.Int.Input(
            "tile",
            default=0,
            min=0,
            max=4096,
            step=64,
            tooltip="Longest side of a tile in pixels, 0 for whole frames. Small tiles save memory; all frames of a "
            "chunk stay together, so nothing flickers.",
        ),
        io.Boolean.Input(
            "restore_shape",
            default=True,
            tooltip="Cut away the bars, or undo the stretching, that SVD Image Conditioning made; off keeps the frame.",
        ),
    ]
