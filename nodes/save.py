"""Finished frames to a file that plays anywhere and brings its graph back when it is dropped on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

_FORMATS = ("mp4", "webm", "webp", "gif", "png")


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
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=_inputs(),
            outputs=[
                io.Video.Output(
                    "video", display_name="video", is_output_list=True, tooltip="The clips for video nodes, lossless."
                ),
                io.String.Output("files", display_name="files", tooltip="The files written, one a line."),
            ],
        )

    @classmethod
    def execute(
        cls, images: Tensor, fps: float, filename: str, format: str, frames: int = 0, notes: str = ""
    ) -> io.NodeOutput:
        from .saving import Clip, graph_in_file, save_clips

        clips = Clip.split(images, frames, fps)
        inside = graph_in_file(cls.hidden.prompt, cls.hidden.extra_pnginfo, notes)
        files = save_clips(clips, filename, format, inside)
        shown = [ui.SavedResult(file.name, file.subfolder, io.FolderType.output) for file in files]
        preview = (
            ui.PreviewVideo(shown) if format in ("mp4", "webm") else ui.SavedImages(shown, is_animated=format != "png")
        )
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
            "any value of the graph such as %seed% or %motion_bucket% are filled in.",
        ),
        io.Combo.Input(
            "format",
            options=list(_FORMATS),
            default="mp4",
            tooltip="mp4 (H.264) plays everywhere, webm (VP9) is smaller, webp and gif move in web pages, png is a "
            "folder of lossless frames. All but gif bring the graph back when dropped on the page.",
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
    ]
