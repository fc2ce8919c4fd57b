"""Frames at another rate: in-between frames from motion, loops, eases, without weights and in flat memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .host import io, ui
from .load_interpolator import SOCKET

if TYPE_CHECKING:
    from torch import Tensor

_MODES = ("factor", "fps", "times")
_LOOPS = ("off", "close", "ping-pong")
_ENGINES = ("flow", "blend", "nearest")
_GUARDS = ("hold", "nearest", "blend", "off")
_EASES = ("linear", "in", "out", "in-out")
_PAIR_MODES = ("skip", "only")
_MEMORY = ("auto", "ram", "disk")


class SVDStudioInterpolate(io.ComfyNode):
    """IMAGE in, IMAGE at another rate out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioInterpolate",
            display_name="SVD Interpolate",
            category="SVD Studio",
            description="Brings a clip to another frame rate: new frames follow the motion between two, source frames "
            "stay as they are. Any factor or target rate, loops, ease, cuts left alone. Needs no model.",
            inputs=_inputs(),
            outputs=[
                io.Image.Output("images_out", display_name="images", tooltip="The frames of the result."),
                io.Float.Output("fps_out", display_name="fps", tooltip="Frames a second of the result."),
                io.Int.Output("count", display_name="count", tooltip="Frames of the result."),
                io.Mask.Output(
                    "synthesised",
                    display_name="synthesised",
                    tooltip="White for frames that were made, black for frames of the source.",
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="Counts, cuts found, frames held, dropped or repeated."
                ),
            ],
        )

    @classmethod
    def execute(cls, images: Tensor, source_fps: float, **settings: Any) -> io.NodeOutput:  # noqa: ANN401
        from .interpolating import interpolate

        made = interpolate(images, source_fps, **settings)
        return io.NodeOutput(*made, ui=ui.PreviewText(made[-1]))


def _inputs() -> list[io.Input]:
    return [
        io.Image.Input("images", tooltip="The frames of one clip in order; transparency goes along."),
        io.Float.Input(
            "source_fps",
            default=7.0,
            min=0.01,
            max=1000.0,
            step=0.01,
            tooltip="Frames a second of the source: connect fps of SVD Image Conditioning.",
        ),
        io.Combo.Input(
            "mode",
            options=list(_MODES),
            default="factor",
            tooltip="What decides the new times: factor, fps (a target rate) or times (a list for every pair).",
        ),
        io.Float.Input(
            "factor",
            default=2.0,
            min=0.01,
            max=100.0,
            step=0.01,
            tooltip="Frames for one source frame in mode factor; 2.5 is allowed, below 1 leaves frames out.",
        ),
        io.Float.Input(
            "fps",
            default=24.0,
            min=0.01,
            max=1000.0,
            step=0.01,
            tooltip="Target frames a second in mode fps; every frame is made for its exact time.",
        ),
        *_course_inputs(),
        *_picture_inputs(),
    ]


def _course_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "loop",
            options=list(_LOOPS),
            default="off",
            tooltip="close leads the last frame back to the first; ping-pong plays there and back. Both loop without "
            "a doubled frame.",
        ),
        io.Boolean.Input(
            "keep_duration",
            default=False,
            tooltip="Hold the last frame for its own time, so that N frames become N x factor and sound stays in step.",
        ),
        io.Combo.Input(
            "ease",
            options=list(_EASES),
            default="linear",
            tooltip="Speed over the whole clip: in starts slowly, out ends slowly, in-out both.",
        ),
        io.String.Input(
            "times",
            default="0.25, 0.5, 0.75",
            optional=True,
            tooltip="Mode times: where new frames stand between two source frames, 0 and 1 being those.",
        ),
    ]


def _picture_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "engine",
            options=list(_ENGINES),
            default="flow",
            tooltip="flow follows the motion, blend cross-fades, nearest repeats frames.",
        ),
        io.Combo.Input(
            "cut_guard",
            options=list(_GUARDS),
            default="hold",
            tooltip="What stands between two shots: hold the last frame, the nearest, a blend; off morphs one into the "
            "other.",
        ),
        io.Boolean.Input(
            "dedupe",
            default=False,
            tooltip="Take frames that only repeat the one before (animation on twos and threes) as one, and fill the "
            "time between with motion.",
        ),
        io.String.Input(
            "pairs",
            default="",
            optional=True,
            tooltip="Source frames such as 0-10, 15; what it means says pairs_mode. Empty: all pairs.",
        ),
        io.Combo.Input(
            "pairs_mode",
            options=list(_PAIR_MODES),
            default="skip",
            optional=True,
            tooltip="skip holds the listed frames until the next one; only interpolates after the listed frames alone.",
        ),
        io.Combo.Input(
            "memory",
            options=list(_MEMORY),
            default="auto",
            optional=True,
            tooltip="Where the result lies: in ram, or on disk in ComfyUI's temp folder, which any node can read as "
            "usual. auto takes the disk from 1 GB on.",
        ),
        io.Float.Input(
            "flow_scale",
            default=1.0,
            min=0.1,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Engine flow: size at which motion is looked for, as a factor of the frames'. 0.5 makes large "
            "frames (1080p, 4K) two to four times faster and costs fine detail in thin moving things.",
        ),
        io.Custom(SOCKET).Input(
            "engine_model",
            optional=True,
            tooltip="A frame interpolation model of Load SVD Interpolator or of ComfyUI's own loader: it makes the new "
            "frames in place of flow.",
        ),
    ]
