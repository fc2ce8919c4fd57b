"""A camera orbit around the subject of a picture, as conditioning for SV3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .choices import listed, verdict
from .conditioning_parts import noise_seed, outputs, sources
from .host import io, ui

if TYPE_CHECKING:
    from torch import Tensor

    from .host import VAE
    from .host_clip_vision import HostClipVision

_CONVENTIONS = ("sv3d", "comfyui")
_FRAMINGS = ("pad", "crop", "blur", "stretch")


class SVDStudioOrbit(io.ComfyNode):
    """Where the camera stands in every frame: elevation and azimuth."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs as the host shows them."""
        return io.Schema(
            node_id="SVDStudioOrbit",
            display_name="SV3D Orbit",
            category="SVD Studio",
            description="Sends the camera around the subject of a picture with an SV3D model, this pack's or "
            "ComfyUI's own. SV3D-p follows the angles; SV3D-u knows one orbit and ignores them. Best with a single "
            "object in the middle, cut out: transparency becomes white, as in the training.",
            inputs=[
                *sources("The subject; several pictures in a batch give as many clips."),
                *_size(),
                *_path(),
                *_rest(),
            ],
            outputs=outputs("The angles, and which frame is which."),
        )

    @classmethod
    def validate_inputs(
        cls, framing: str | None, elevation: str | None, azimuth: str | None, convention: str | None
    ) -> bool | str:
        """Say on the node what is no choice and no curve."""
        from ..svd_core.conditioning import orbit_degrees

        return verdict(
            lambda: listed("framing", framing, _FRAMINGS),
            lambda: listed("convention", convention, _CONVENTIONS),
            lambda: orbit_degrees(2, elevation or "0", azimuth or ""),
        )

    @classmethod
    def execute(
        cls,
        clip_vision: HostClipVision,
        vae: VAE,
        image: Tensor,
        width: int,
        height: int,
        framing: str,
        frames: int,
        elevation: str,
        azimuth: str,
        convention: str,
        fps: float,
        augmentation: float,
        seed: int,
    ) -> io.NodeOutput:
        from ..svd_core.conditioning import orbit_degrees
        from ..svd_core.sampling.noise import clip_seeds
        from ..svd_core.types import MotionControls
        from . import conditioning as work
        from .clips import empty_latent

        elevations, azimuths = orbit_degrees(frames, elevation, azimuth, convention)
        wanted = work.Wanted(frames=frames, width=width, height=height, auto=False, framing=framing, bars=1.0)
        picture = work.framed_picture(image, wanted, vae)
        seeds = clip_seeds(seed, len(picture.framed.pixels))
        controls = [MotionControls(max(1, round(fps)), 127, augmentation, one) for one in seeds]
        told = work.conditioned(picture.framed, controls, frames, clip_vision, vae)
        angles = {"elevation": elevations, "azimuth": azimuths}
        text = "\n".join([*work.size_lines(picture, wanted, fps), *_angle_lines(elevations, azimuths)])
        return io.NodeOutput(
            *work.both_halves(told, controls[0], angles),
            empty_latent(told, picture.framed.box),
            fps,
            text,
            ui=ui.PreviewText(text),
        )


def _angle_lines(elevations: list[float], azimuths: list[float]) -> list[str]:
    """The path, the frame nearest to the picture's own view, and how far the last frame is from the first."""

    def away(index: int) -> float:
        return min(azimuths[index], 360 - azimuths[index])

    nearest = min(range(len(azimuths)), key=lambda index: (away(index), -index))
    gap = abs(azimuths[0] - azimuths[-1])
    ends = min(gap, 360 - gap)
    return [
        f"elevation {elevations[0]:g} to {elevations[-1]:g} degrees, azimuth {azimuths[0]:.4g} to {azimuths[-1]:.4g}",
        f"frame {nearest + 1} of {len(azimuths)} is the picture's own view ({away(nearest):.3g} degrees off)",
        f"the last frame is {ends:.3g} degrees from the first",
        "note: SV3D-u knows its own orbit and reads none of the angles",
    ]


def _size() -> list[io.Input]:
    return [
        io.Int.Input("width", default=576, min=16, max=8192, step=8, tooltip="Pixels; SV3D was trained on 576x576."),
        io.Int.Input("height", default=576, min=16, max=8192, step=8, tooltip="Pixels; together with width."),
        io.Combo.Input(
            "framing",
            options=list(_FRAMINGS),
            default="pad",
            tooltip="What happens where picture and clip differ in shape: pad with white, crop the edges, fill with a "
            "blurred copy, or stretch.",
        ),
    ]


def _path() -> list[io.Input]:
    return [
        io.Int.Input("frames", default=21, min=1, max=1000, tooltip="Views of the orbit; SV3D was trained on 21."),
        io.String.Input(
            "elevation",
            default="10",
            tooltip="Degrees the camera stands above the subject: a number, or place:degrees with places from 0 "
            "(first frame) to 1 (last), for example 0:0, 0.5:30, 1:0. From -90 to 90.",
        ),
        io.String.Input(
            "azimuth",
            default="",
            tooltip="Degrees around the subject: empty for one full turn, or place:degrees, for example 0:360, 1:0 "
            "for the other way round, 0:-30, 0.5:30, 1:-30 for a swing.",
        ),
        io.Combo.Input(
            "convention",
            options=list(_CONVENTIONS),
            default="sv3d",
            tooltip="Which frame is the picture's own view. sv3d: the last one, as in the training; a full turn has "
            "no view twice and loops. comfyui: where the angle is 0; ComfyUI's own turn has it first and last.",
        ),
    ]


def _rest() -> list[io.Input]:
    return [
        io.Float.Input(
            "fps", default=7.0, min=0.01, max=1000.0, step=0.01, tooltip="Frames a second the file should play at."
        ),
        io.Float.Input(
            "augmentation",
            default=0.0,
            min=0.0,
            max=10.0,
            step=0.01,
            tooltip="Noise put on the picture (standard deviation, pixels in -1 to 1). SV3D was made for almost none.",
        ),
        noise_seed(),
    ]
