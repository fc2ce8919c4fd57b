"""From a picture to everything an SVD model is told: framed, encoded, with seeded augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .host import io

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ..svd_core.framing import Framed
    from ..svd_core.types import ImageConditioning, MotionControls
    from .host import VAE
    from .host_clip_vision import HostClipVision

_SIZES = ("auto", "manual")
_FRAMINGS = ("crop", "pad", "blur", "stretch")
_MAX_SEED = 2**64 - 1
# What the published checkpoints were trained on.
_TRAINED_FRAMES = (14, 25)
_TRAINED_FPS = (3, 30)


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
            inputs=[*_sources(), *_framing(), *_motion()],
            outputs=[
                io.Conditioning.Output("positive", display_name="positive"),
                io.Conditioning.Output("negative", display_name="negative"),
                io.Latent.Output("latent", display_name="latent", tooltip="Empty latents of all clips."),
                io.Float.Output("fps_out", display_name="fps", tooltip="Frames a second the file should play at."),
                io.String.Output("summary", display_name="summary", tooltip="What was chosen, and why."),
            ],
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
    ) -> io.NodeOutput:
        from ..svd_core.sampling.noise import clip_seeds
        from ..svd_core.types import MotionControls
        from .clips import as_conditioning, empty_latent

        source, framed = framed_picture(image, size, width, height, framing, vae)
        seeds = clip_seeds(seed, len(framed.pixels))
        controls = [MotionControls(fps, motion_bucket, augmentation, one) for one in seeds]
        told = conditioned(framed, controls, frames, clip_vision, vae)
        rate = playback_fps or float(fps)
        return io.NodeOutput(
            as_conditioning(told, controls[0]),
            as_conditioning(told.unconditional(), controls[0]),
            empty_latent(told, framed.box),
            rate,
            summary(framed, source, framing, frames, controls, rate),
        )


def framed_picture(
    image: Tensor,
    size: str,
    width: int,
    height: int,
    framing: str,
    vae: VAE,
) -> tuple[tuple[int, int], Framed]:
    """The pictures `B H W C` at the size of the clip, and the size they had."""
    from ..svd_core.framing import check_picture, choose_size, frame_picture
    from ..svd_core.source_image import check_size, to_pixels

    pixels = check_picture(to_pixels(image))
    source = pixels.shape[-1], pixels.shape[-2]
    target = choose_size(*source, width * height) if size == "auto" else check_size((width, height), _cell(vae))
    return source, frame_picture(pixels, *target, framing)


def conditioned(
    framed: Framed,
    controls: list[MotionControls],
    frames: int,
    clip_vision: HostClipVision,
    vae: VAE,
) -> ImageConditioning:
    """What the core makes of framed pictures with the host's encoders; see `condition_on_images`."""
    from ..svd_core.conditioning import condition_on_images
    from ..svd_core.config import SVD

    return condition_on_images(
        framed.pixels * 2 - 1,
        controls,
        frames=frames,
        # The host's models make their own vector of the scalars; this one only has to exist.
        vector=SVD.unet.vector,
        encode_latent=_for_host(vae.encode),
        # Uncut: SVD was trained on the whole picture squeezed to a square.
        encode_image=_for_host(lambda picture: clip_vision.encode_image(picture, crop=False).image_embeds),
    )


def summary(
    framed: Framed,
    source: tuple[int, int],
    framing: str,
    frames: int,
    controls: list[MotionControls],
    rate: float,
) -> str:
    """A few readable lines, warnings last."""
    height, width = framed.pixels.shape[-2:]
    first = controls[0]
    cut = f", {1 - framed.kept:.0%} of it cut off" if framed.kept < 0.995 else ""
    lines = [
        f"{width}x{height} ({framing}; the picture has {source[0]}x{source[1]}{cut})",
        f"{frames} frames at {rate:g} fps = {frames / rate:.2f} s",
        f"fps hint {first.fps}, motion_bucket {first.motion_bucket:g}, augmentation {first.augmentation:g}",
    ]
    if len(controls) > 1:
        lines.append(f"{len(controls)} clips, seeds {first.seed} to {controls[-1].seed}")
    if frames not in _TRAINED_FRAMES:
        lines.append(f"note: SVD was trained on {_TRAINED_FRAMES[0]} frames, SVD-XT on {_TRAINED_FRAMES[1]}")
    if not _TRAINED_FPS[0] <= first.fps <= _TRAINED_FPS[1]:
        lines.append(f"note: fps hints outside {_TRAINED_FPS[0]} to {_TRAINED_FPS[1]} were not trained")
    return "\n".join(lines)


def _for_host(encode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The core's callable, pixels `1 3 H W` in [-1, 1], from the host's, `1 H W 3` in [0, 1]."""
    return lambda picture: encode((picture.movedim(1, -1) + 1) / 2).float().cpu()


def _cell(vae: VAE) -> int:
    """Pixels along a latent cell."""
    from ..svd_core.errors import InputError, explain

    cell = getattr(vae, "downscale_ratio", None)
    if not isinstance(cell, int):
        remedy = "Use the VAE that came with the SVD checkpoint."
        raise InputError(explain("`vae` of an image-to-video model of the SVD family", "another kind", remedy))
    return cell


def _sources() -> list[io.Input]:
    return [
        io.ClipVision.Input("clip_vision", tooltip="Image encoder of the checkpoint: what the picture shows."),
        io.Vae.Input("vae", tooltip="Autoencoder of the checkpoint: how the picture looks."),
        io.Image.Input("image", tooltip="The picture to set in motion; several in a batch give as many clips."),
    ]


def _framing() -> list[io.Input]:
    return [
        io.Combo.Input(
            "size",
            options=list(_SIZES),
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
            options=list(_FRAMINGS),
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
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=_MAX_SEED,
            control_after_generate=True,
            tooltip="Seed of the augmentation noise; clip i of a batch has seed + i.",
        ),
        io.Float.Input(
            "playback_fps",
            default=0.0,
            min=0.0,
            max=1000.0,
            step=0.01,
            optional=True,
            tooltip="Frames a second of the finished file; 0 takes the fps hint.",
        ),
    ]
