"""Two pictures, or a chain of them, to the clip between; the same picture twice is a loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..svd_core.sampling.schedules import SCHEDULE_NAMES
from .choices import listed, verdict
from .conditioning_parts import FRAMINGS, MAX_SEED, SIZES
from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

    from .host import VAE, ModelPatcher
    from .host_clip_vision import HostClipVision

_METHODS = ("vibid", "mpd", "trf")


class SVDStudioInBetween(io.ComfyNode):
    """IMAGE and IMAGE in, the frames that lead from one to the other out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioInBetween",
            display_name="SVD In-Between",
            category="SVD Studio",
            description="Makes the clip that leads from one picture to another with a model that only knows how to go "
            "on from one: no other weights. More pictures make a chain, one picture a perfect loop. Works with this "
            "pack's and ComfyUI's own SVD MODEL.",
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
            inputs=[*_sources(), *_method(), *_frames(), *_motion(), *_fine()],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="All frames, each picture shown once."),
                io.Float.Output("fps_out", display_name="fps", tooltip="Frames a second the file should play at."),
                io.Latent.Output("latent", display_name="latent", tooltip="The same frames before decoding."),
                io.String.Output("summary", display_name="summary", tooltip="What was made, and how."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        method: str | None,
        size: str | None,
        framing: str | None,
        schedule: str | None,
        guidance: str | None = "",
    ) -> bool | str:
        """Say on the node what is no choice and no curve."""
        from ..svd_core.sampling.guidance import parse_guidance

        curve = (guidance or "").strip()
        return verdict(
            lambda: listed("method", method, _METHODS),
            lambda: listed("size", size, SIZES),
            lambda: listed("framing", framing, FRAMINGS),
            lambda: listed("schedule", schedule, SCHEDULE_NAMES),
            lambda: parse_guidance(curve) if curve else None,
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        clip_vision: HostClipVision,
        vae: VAE,
        start: Tensor,
        end: Tensor | None = None,
        **wanted: Any,  # noqa: ANN401 - the widgets, by name
    ) -> io.NodeOutput:
        from .in_betweening import Parts, Wish, between_for_host

        parts = Parts(model=model, clip_vision=clip_vision, vae=vae)
        made = between_for_host(
            parts, [start] if end is None else [start, end], Wish(**wanted), cls.hidden.prompt, cls.hidden.unique_id
        )
        return io.NodeOutput(made.images, made.fps, made.latent, made.summary, ui=ui.PreviewText(made.summary))


def _sources() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="Any SVD model; made for SVD and SVD-XT, not for SV3D. Guidance is set here."),
        io.ClipVision.Input("clip_vision", tooltip="Image encoder of the checkpoint: what the pictures show."),
        io.Vae.Input("vae", tooltip="Autoencoder of the checkpoint: how the pictures look."),
        io.Image.Input(
            "start", tooltip="The first picture. A batch is a chain: the clip leads through its pictures in order."
        ),
        io.Image.Input(
            "end",
            optional=True,
            tooltip="The last picture, or more pictures of a chain, of any size: framing fits them to the first. Not "
            "needed for a loop.",
        ),
        io.Boolean.Input(
            "loop",
            default=False,
            tooltip="Lead the last picture back to the first, without showing it twice: with start alone a clip that "
            "begins and ends at it.",
        ),
    ]


def _method() -> list[io.Input]:
    return [
        io.Combo.Input(
            "method",
            options=list(_METHODS),
            default="vibid",
            tooltip="vibid goes forwards and backwards in turn in every step. mpd lets the forward motion alone decide "
            "the first steps, against playing there and back. trf fuses both ways: softer, tends to ghosts.",
        ),
        io.Float.Input(
            "flow_start",
            default=0.0,
            min=0.0,
            max=10.0,
            step=0.1,
            tooltip="Start from frames that follow the motion between the pictures, under so much noise: 0 is off, 1 "
            "usual, more gives the model more freedom. Faster, and steadier where one motion leads to the end.",
        ),
        io.Boolean.Input(
            "keep_ends",
            default=True,
            tooltip="Show the pictures themselves, bit for bit. Off shows them as the autoencoder sees them, like all "
            "other frames: no jump in sharpness.",
        ),
    ]


def _frames() -> list[io.Input]:
    return [
        io.Combo.Input(
            "size",
            options=list(SIZES),
            default="auto",
            tooltip="auto: nearest to the area of width x height and to the shape of the first picture. manual: "
            "exactly width x height.",
        ),
        io.Int.Input("width", default=1024, min=16, max=8192, step=8, tooltip="Pixels; with size auto see there."),
        io.Int.Input("height", default=576, min=16, max=8192, step=8, tooltip="Pixels; together with width."),
        io.Combo.Input(
            "framing",
            options=list(FRAMINGS),
            default="crop",
            tooltip="What happens where a picture and the clip differ in shape: crop the edges, pad with black, fill "
            "with a blurred copy, or stretch.",
        ),
        io.Int.Input(
            "frames",
            default=14,
            min=2,
            max=1000,
            tooltip="Frames from a picture to the next, both counted. SVD was trained on 14, SVD-XT on 25.",
        ),
    ]


def _motion() -> list[io.Input]:
    return [
        io.Int.Input(
            "fps",
            default=7,
            min=1,
            max=1000,
            tooltip="Frames a second the network is told, and the playback rate: the main control. 6 to 24; a higher "
            "value means less motion of the model's own, and fewer conflicts between both ways.",
        ),
        io.Int.Input(
            "motion_bucket",
            default=127,
            min=0,
            max=255,
            tooltip="Amount of motion, without unit: 0 nearly still, 127 normal, 255 wild.",
        ),
        io.Float.Input(
            "augmentation",
            default=0.02,
            min=0.0,
            max=10.0,
            step=0.01,
            tooltip="Noise put on the pictures the network is told (standard deviation, pixels in -1 to 1).",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=MAX_SEED,
            control_after_generate=True,
            tooltip="Seed of all noise; gap i of a chain has seed + i.",
        ),
        io.Int.Input(
            "steps",
            default=25,
            min=1,
            max=1000,
            tooltip="Sampling steps; each takes two calls of the model, so a clip takes twice its usual time.",
        ),
    ]


def _fine() -> list[io.Input]:
    return [
        io.Combo.Input(
            "schedule",
            options=list(SCHEDULE_NAMES),
            default="karras",
            optional=True,
            tooltip="Noise levels of the steps: karras is the reference, align_your_steps was optimised for 10 steps.",
        ),
        io.String.Input(
            "guidance",
            default="",
            optional=True,
            tooltip="Weight over the frames, as constant:1 or linear:1:2.5, rising away from each direction's own "
            "picture. Empty: 1 throughout, the published choice; for trf the model's own curve.",
        ),
        io.Float.Input(
            "early",
            default=0.4,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Share of the steps, from the noisy end, in which mpd follows the forward motion and trf noises "
            "again. Not used by vibid.",
        ),
        io.Int.Input(
            "renoise",
            default=1,
            min=0,
            max=20,
            optional=True,
            tooltip="How often mpd and trf noise each of those steps again and repeat it: smoother and slower.",
        ),
        io.Float.Input(
            "distillation",
            default=0.5,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="How far mpd leads the forward motion to the end picture in those steps, 0 to 1.",
        ),
        io.Int.Input(
            "decode_chunk",
            default=8,
            min=1,
            max=256,
            optional=True,
            tooltip="Frames decoded together: memory grows with them.",
        ),
    ]
