"""Finished frames to a file that plays anywhere and brings its graph back when it is dropped on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .choices import listed, verdict
from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

_FORMATS = ("mp4", "webm", "webp", "gif", "png")
_VIDEOS = ("mp4", "webm")
_CODECS = ("auto", "h264", "h265", "vp9", "av1")
_QUALITIES = ("best", "high", "medium", "small")


class SVDStudioSaveClip(io.ComfyNode):
    """One file a clip, or a folder of PNG frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioSaveClip",
            display_name="Save Clip",
            category="SVD Studio",
            description="Saves clips to ComfyUI's output folder with the graph inside, and shows them on the node.",
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            inputs=_inputs(),
            outputs=[
                io.Video.Output(
                    "video", display_name="video", is_output_list=True, tooltip="The clips for video nodes, lossless."
                ),
                io.String.Output("files", display_name="files", tooltip="The files written, one a line."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, format: str | None, codec: str | None = "auto", quality: str | None = "high"
    ) -> bool | str:
        """Say on the node what is no choice, and what this machine cannot write."""

        def has_encoder() -> None:
            from ..svd_core.video_io.codecs import Encoding, encoder_for

            if format in _VIDEOS and codec is not None:
                encoder_for(f".{format}", Encoding(codec))

        return verdict(
            lambda: listed("format", format, _FORMATS),
            lambda: listed("codec", codec, _CODECS),
            lambda: listed("quality", quality, _QUALITIES),
            has_encoder,
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        fps: float,
        filename: str,
        format: str,
        frames: int = 0,
        notes: str = "",
        codec: str = "auto",
        quality: str = "high",
    ) -> io.NodeOutput:
        from ..svd_core.video_io.codecs import Encoding
        from .saving import Clip, cell_of, graph_in_file, save_cell, save_clips

        clips = Clip.split(images, frames, fps)
        inside = graph_in_file(cls.hidden.prompt, cls.hidden.extra_pnginfo, notes)
        encoding = Encoding(codec, quality)
        cell = cell_of(cls.hidden.prompt, cls.hidden.unique_id)
        if cell is None:
            files = save_clips(clips, filename, format, inside, encoding)
        else:
            files = save_cell(clips, cell, format, inside, encoding)
        shown = [ui.SavedResult(file.name, file.subfolder, io.FolderType.output) for file in files]
        preview = ui.PreviewVideo(shown) if format in _VIDEOS else ui.SavedImages(shown, is_animated=format != "png")
        return io.NodeOutput([clip.video() for clip in clips], "\n".join(file.path for file in files), ui=preview)


def _inputs() -> list[io.Input]:
    return [
        io.Image.Input("images", tooltip="Frames of one clip, or of several of equal length one after the other."),
        io.Float.Input(
            "fps",
            default=7.0,
            min=0.01,
            max=1000.0,
            step=0.01,
            tooltip="Frames a second the file plays at: connect fps of SVD Image Conditioning.",
        ),
        io.String.Input(
            "filename",
            default="svd/%date%_clip",
            tooltip="Name in ComfyUI's output folder, without ending; slashes make folders, a counter is added. "
            "%date%, %time%, %date:yyMMdd%, %stem% (of the loaded picture), %width%, %height%, %frames%, %fps%, and "
            "any value of the graph such as %seed% or %motion_bucket% are filled in. In a sweep clips are named after "
            "their cells and go to output/svd_sweeps.",
        ),
        io.Combo.Input(
            "format",
            options=list(_FORMATS),
            default="mp4",
            tooltip="mp4 plays everywhere, webm is smaller, webp and gif move in web pages, png is a folder of "
            "lossless frames. All but gif bring the graph back when dropped on the page.",
        ),
        io.Int.Input(
            "frames",
            default=0,
            min=0,
            max=100000,
            optional=True,
            tooltip="Frames of one clip: connect frames of SVD Decode to get one file a clip; 0 saves all as one clip.",
        ),
        io.String.Input(
            "notes",
            default="",
            multiline=True,
            optional=True,
            tooltip="Text kept in the file, for example the summary of SVD Image Conditioning.",
        ),
        io.Combo.Input(
            "codec",
            options=list(_CODECS),
            default="auto",
            optional=True,
            tooltip="How mp4 and webm are coded. auto: h264 in mp4, vp9 in webm. h265 and av1 take half the space, "
            "but not every player and browser knows them. webm holds vp9 and av1 only.",
        ),
        io.Combo.Input(
            "quality",
            options=list(_QUALITIES),
            default="high",
            optional=True,
            tooltip="best: for further editing, large. high: no eye tells it from the frames. medium: for the web. "
            "small: visible losses. Holds for mp4, webm and webp; png is always lossless, gif has 256 colours.",
        ),
    ]
