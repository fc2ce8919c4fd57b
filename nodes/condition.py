"""From a picture to everything an SVD model is told: framed, encoded, with seeded augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .choices import listed, verdict
from .conditioning_parts import FRAMINGS, SIZES, noise_seed, outputs, sources
from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

    from .host import VAE
    from .host_clip_vision import HostClipVision


class SVDStudioImageConditioning(io.ComfyNode):
    """One picture, or a batch of pictures for as many clips, as conditioning for any SVD model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioImageConditioning",
            display_name="SVD Image Conditioning",
            category="SVD Studio",
            description="Tells a Stable Video Diffusion model which picture to set in motion and how. A batch of "
            "pictures gives as many clips. Works with this pack's and ComfyUI's own CLIP_VISION and VAE.",
            inputs=[
                *sources("The picture to set in motion; several in a batch give as many clips."),
                *_framing(),
                *_motion(),
            ],
            outputs=outputs("What was chosen, and why."),
        )

    @classmethod
    def validate_inputs(
        cls, size: str | None, framing: str | None, motion_points: str | None = "", fps_points: str | None = ""
    ) -> bool | str:
        """Say on the node what is no choice and no curve."""
        from .conditioning import per_frame

        return verdict(
            lambda: listed("size", size, SIZES),
            lambda: listed("framing", framing, FRAMINGS),
            lambda: per_frame(motion_points or "", fps_points or "", 2),
        )

    @classmethod
    def execute(
        cls,
        clip_vision: HostClipVision,
        vae: VAE,
        image: Tensor,
        size: str,
        width: int,
        height: int,
        framing: str,
        frames: int,
        fps: int,
        motion_bucket: int,
        augmentation: float,
        seed: int,
        playback_fps: float = 0.0,
        motion_points: str = "",
        fps_points: str = "",
    ) -> io.NodeOutput:
        from ..svd_core.sampling.noise import clip_seeds
        from ..svd_core.types import MotionControls
        from . import conditioning as work
        from .clips import empty_latent

        wanted = work.Wanted(frames=frames, width=width, height=height, auto=size == "auto", framing=framing)
        values = work.per_frame(motion_points, fps_points, frames)
        picture = work.framed_picture(image, wanted, vae)
        seeds = clip_seeds(seed, len(picture.framed.pixels))
        controls = work.with_means([MotionControls(fps, motion_bucket, augmentation, one) for one in seeds], values)
        told = work.conditioned(picture.framed, controls, frames, clip_vision, vae)
        rate = playback_fps or float(fps)
        lines = [*work.size_lines(picture, wanted, rate), *work.motion_lines(controls, values, frames)]
        return io.NodeOutput(
            *work.both_halves(told, controls[0], values),
            empty_latent(told, picture.framed.box),
            rate,
            "\n".join(lines),
            ui=ui.PreviewText("\n".join(lines)),
        )


def _framing() -> list[io.Input]:
    return [
        io.Combo.Input(
            "size",
            options=list(SIZES),
            default="auto",
            tooltip="auto: the size on a 64-pixel grid nearest to the area of width x height and to the picture's own "
            "shape. manual: exactly width x height.",
        ),
        io.Int.Input(
            "width",
            default=1024,
            min=16,
            max=8192,
            step=8,
            tooltip="Pixels. With size auto, width x height is the area aimed at: 1024x576 for SVD, 64x64 embedded.",
        ),
        io.Int.Input(
            "height", default=576, min=16, max=8192, step=8, tooltip="Pixels; together with width, see there."
        ),
        io.Combo.Input(
            "framing",
            options=list(FRAMINGS),
            default="crop",
            tooltip="What happens where picture and clip differ in shape: crop the edges, pad with black, fill with "
            "a blurred copy, or stretch. SVD Decode can undo all but crop.",
        ),
    ]


def _motion() -> list[io.Input]:
    return [
        io.Int.Input(
            "frames",
            default=14,
            min=1,
            max=1000,
            tooltip="Frames of a clip. SVD was trained on 14, SVD-XT on 25; memory and time grow with it.",
        ),
        io.Int.Input(
            "fps",
            default=7,
            min=1,
            max=1000,
            tooltip="Frames a second the network is told: a higher value means less motion from frame to frame. Also "
            "the playback rate, unless playback_fps says otherwise.",
        ),
        io.Int.Input(
            "motion_bucket",
            default=127,
            min=0,
            max=255,
            tooltip="Amount of motion, without unit: 0 nearly still, 127 normal, 255 wild. SVD 1.1 was made for 127.",
        ),
        io.Float.Input(
            "augmentation",
            default=0.02,
            min=0.0,
            max=10.0,
            step=0.01,
            tooltip="Noise put on the picture (standard deviation, pixels in -1 to 1): more of it frees the clip from "
            "the picture and adds motion. Above 0.3 the picture gets lost.",
        ),
        noise_seed(),
        io.Float.Input(
            "playback_fps",
            default=0.0,
            min=0.0,
            max=1000.0,
            step=0.01,
            optional=True,
            tooltip="Frames a second of the finished file; 0 takes the fps hint.",
        ),
        io.String.Input(
            "motion_points",
            default="",
            optional=True,
            tooltip="motion_bucket that changes over the clip, as place:value with places from 0 (first frame) to 1 "
            "(last), for example 0:40, 1:160. Acts on this pack's MODEL; any other goes by the mean.",
        ),
        io.String.Input(
            "fps_points",
            default="",
            optional=True,
            tooltip="fps hint that changes over the clip, for example 0:6, 0.5:6, 1:14: a higher value slows the "
            "motion down there. Playback stays even. Acts on this pack's MODEL; any other goes by the mean.",
        ),
    ]
