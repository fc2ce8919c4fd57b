"""What both conditioning nodes do: pictures to the size of the clip, through the encoders, and a few readable lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..svd_core.conditioning import check_controls, condition_on_images
from ..svd_core.config import SVD
from ..svd_core.errors import InputError, explain
from ..svd_core.framing import Framed, check_picture, check_volume, choose_size, frame_picture
from ..svd_core.sampling.points import CurvePoints
from ..svd_core.source_image import Colour, check_size, to_pixels
from ..svd_core.types import ImageConditioning, MotionControls
from .clips import Conditioning, as_conditioning
from .host import VAE
from .host_clip_vision import HostClipVision
from .host_model import FPS_PER_FRAME, MOTION_PER_FRAME

# What the published checkpoints were trained on.
_TRAINED_FRAMES = (14, 25)
_TRAINED_FPS = (3, 30)
_TRAINED_MOTION = 255
_MUCH_AUGMENTATION = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The clip asked for: with `auto` width x height is only the area aimed at; `bars` a grey in [0, 1]."""

    frames: int
    width: int
    height: int
    auto: bool
    framing: str
    bars: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Pictures at the size of the clip, and the width and height they had."""

    framed: Framed
    source: tuple[int, int]


def framed_picture(image: Tensor, wanted: Wanted, vae: VAE) -> Picture:
    """Bring pictures `B H W C` to the size of the clip; transparency is laid over `bars`.

    Raises:
        InputError: no usable picture or size, or a VAE that is not for clips.
    """
    if image.ndim != 4:
        remedy = "Connect an IMAGE, for example from Load Image."
        raise InputError(explain("`image` of four axes", f"shape {tuple(image.shape)}", remedy))
    source = image.shape[2], image.shape[1]
    check_picture(*source)
    grid = pixels_per_cell(vae)
    given = wanted.width, wanted.height
    width, height = choose_size(*source, given[0] * given[1]) if wanted.auto else check_size(given, grid)
    check_volume(wanted.frames * len(image), width, height)
    colour: Colour = (wanted.bars, wanted.bars, wanted.bars)
    pixels = to_pixels(image, background=colour)
    return Picture(framed=frame_picture(pixels, width, height, wanted.framing, wanted.bars), source=source)


def conditioned(
    framed: Framed, controls: Sequence[MotionControls], frames: int, clip_vision: HostClipVision | None, vae: VAE
) -> ImageConditioning:
    """What the core makes of framed pictures with the host's encoders; see `condition_on_images`.

    Raises:
        InputError: no CLIP_VISION.
    """
    if clip_vision is None:
        remedy = "Take clip_vision from Load SVD Model or Image Only Checkpoint Loader; this file has none."
        raise InputError(explain("`clip_vision` of an SVD checkpoint", "nothing", remedy))
    return condition_on_images(
        framed.pixels * 2 - 1,
        controls,
        frames=frames,
        # The host's models make their own vector of the scalars; this one only has to exist.
        vector=SVD.unet.vector,
        encode_latent=for_host(vae.encode),
        # Uncut: SVD was trained on the whole picture squeezed to a square.
        encode_image=for_host(lambda picture: clip_vision.encode_image(picture, crop=False).image_embeds),
    )


def per_frame(motion: str, fps: str, frames: int) -> dict[str, list[float]]:
    """Conditioning entries for values that change over a clip, from texts such as `0:40, 1:160`; empty ones are none.

    Raises:
        InputError: no such curve, or a value out of range.
    """
    texts = {MOTION_PER_FRAME: ("motion_points", motion), FPS_PER_FRAME: ("fps_points", fps)}
    found: dict[str, list[float]] = {}
    for key, (name, text) in texts.items():
        if text.strip():
            found[key] = CurvePoints.parse(text, f"`{name}` as place:value").weights(frames).tolist()
    for value in found.get(MOTION_PER_FRAME, ()):
        check_controls(MotionControls(1, value, 0.0, 0))
    if min(found.get(FPS_PER_FRAME, [1.0])) < 1:
        raise InputError(explain("`fps_points` of 1 and more", repr(fps), "Write for example 0:6, 1:12."))
    return found


def with_means(controls: Sequence[MotionControls], values: dict[str, list[float]]) -> list[MotionControls]:
    """The controls with the mean over the frames where values change: what a MODEL goes by that knows one value."""
    changes: dict[str, Any] = {}
    if motion := values.get(MOTION_PER_FRAME):
        changes["motion_bucket"] = sum(motion) / len(motion)
    if fps := values.get(FPS_PER_FRAME):
        changes["fps"] = max(1, round(sum(fps) / len(fps)))
    return [dataclasses.replace(one, **changes) for one in controls]


def both_halves(
    told: ImageConditioning, controls: MotionControls, values: dict[str, list[float]]
) -> tuple[Conditioning, Conditioning]:
    """Positive and negative."""
    return as_conditioning(told, controls, values), as_conditioning(told.unconditional(), controls, values)


def size_lines(picture: Picture, wanted: Wanted, rate: float) -> list[str]:
    """What became of the picture, and how long the clip is."""
    framed, (width, height) = picture.framed, picture.source
    high, wide = framed.pixels.shape[-2:]
    cut = f", {1 - framed.kept:.0%} of it cut off" if framed.kept < 0.995 else ""
    why = f"nearest to the area of {wanted.width}x{wanted.height} and the picture's shape; " if wanted.auto else ""
    return [
        f"{wide}x{high} ({why}{wanted.framing}; the picture has {width}x{height}{cut})",
        f"{wanted.frames} frames at {rate:g} fps = {wanted.frames / rate:.2f} s",
    ]


def motion_lines(controls: Sequence[MotionControls], values: dict[str, list[float]], frames: int) -> list[str]:
    """What the network is told of the motion, and notes where it was not trained for it."""
    first = controls[0]
    motion = _course(values.get(MOTION_PER_FRAME), first.motion_bucket)
    lines = [
        f"fps hint {_course(values.get(FPS_PER_FRAME), first.fps)}, motion_bucket {motion}, "
        f"augmentation {first.augmentation:g}"
    ]
    if values:
        lines.append("note: values that change over the clip act on this pack's MODEL; others go by the mean")
    if len(controls) > 1:
        lines.append(f"{len(controls)} clips, seeds {first.seed} to {controls[-1].seed}")
    if frames not in _TRAINED_FRAMES:
        lines.append(f"note: SVD was trained on {_TRAINED_FRAMES[0]} frames, SVD-XT on {_TRAINED_FRAMES[1]}")
    if not _TRAINED_FPS[0] <= first.fps <= _TRAINED_FPS[1]:
        lines.append(f"note: fps hints outside {_TRAINED_FPS[0]} to {_TRAINED_FPS[1]} were not trained")
    if max(values.get(MOTION_PER_FRAME, [first.motion_bucket])) > _TRAINED_MOTION:
        lines.append(f"note: motion above {_TRAINED_MOTION} was not trained")
    if first.augmentation > _MUCH_AUGMENTATION:
        lines.append(f"note: with augmentation above {_MUCH_AUGMENTATION:g} the picture gets lost")
    return lines


def _course(values: Sequence[float] | None, plain: float) -> str:
    return f"{plain:g}" if values is None else f"{values[0]:g} to {values[-1]:g}"


def for_host(encode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The core's callable, pixels `1 3 H W` in [-1, 1], from the host's, `1 H W 3` in [0, 1]."""
    return lambda picture: encode((picture.movedim(1, -1) + 1) / 2).float().cpu()


def pixels_per_cell(vae: VAE) -> int:
    """Pixels along a latent cell."""
    cell = getattr(vae, "downscale_ratio", None)
    if not isinstance(cell, int):
        remedy = "Use the VAE that came with the SVD checkpoint."
        raise InputError(explain("`vae` of an image-to-video model of the SVD family", "another kind", remedy))
    return cell
