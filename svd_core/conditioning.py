"""What the UNet is told about a clip: the picture twice (CLIP token, image latents) and the motion scalars.

Networks come in as callables; the picture's size and range are settled by `source_image` before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from .config import VectorCondition
from .errors import InputError, NumericsError, choose_from, explain
from .sampling.noise import Stream, clip_generator
from .sampling.points import CurvePoints
from .sinusoid import sinusoid
from .types import ImageConditioning, MotionControls

Encode = Callable[[Tensor], Tensor]
"""Pixels `1 3 H W` in [-1, 1], float32 on the CPU -> latents `1 c h w` unscaled, or an embedding `1 d`."""

# The hosts' own widget limits; far outside what the networks were trained on, but not nonsense.
_MAX_FPS, _MAX_MOTION_BUCKET, _MAX_AUGMENTATION = 1000, 1023.0, 10.0


@dataclass(frozen=True, slots=True)
class Orbit:
    """SV3D's camera path around the object: polar angle and azimuth of each frame, `T` each, in radians.

    The last frame is the view of the source picture.
    """

    polar: Tensor
    azimuth: Tensor

    @staticmethod
    def around(elevations: Sequence[float], azimuths: Sequence[float]) -> Orbit:
        """From degrees, in the convention SV3D was trained in: 90 - elevation, and azimuths relative to the last."""
        if len(elevations) != len(azimuths) or not azimuths:
            found = f"{len(elevations)} elevations and {len(azimuths)} azimuths"
            raise InputError(explain("one elevation and one azimuth a frame", found, "Give lists of equal length."))
        relative = [(azimuth - azimuths[-1]) % 360 for azimuth in azimuths]
        polar = [90 - elevation for elevation in elevations]
        return Orbit(_radians(polar), _radians(relative))

    @staticmethod
    def turntable(frames: int, elevation: float = 10.0) -> Orbit:
        """One full turn at constant elevation (degrees), ending at the source view."""
        return Orbit.around([elevation] * frames, [360 * (index + 1) / frames % 360 for index in range(frames)])


OrbitConvention = Literal["sv3d", "comfyui"]
ORBIT_CONVENTIONS: tuple[OrbitConvention, ...] = get_args(OrbitConvention)


def orbit_degrees(
    frames: int, elevation: str, azimuth: str = "", convention: OrbitConvention = "sv3d"
) -> tuple[list[float], list[float]]:
    """Elevation and azimuth of every frame in degrees, azimuths in [0, 360).

    elevation, azimuth: a number, or points place:degrees with places from 0 to 1; no azimuth is one full turn.
    convention: which frame shows the source picture. sv3d counts azimuths from the last frame, as SV3D was trained
    (Voleti et al. 2024, and its reference code); a full turn then has no frame twice, so the clip loops. comfyui
    counts them from zero: its own node's turn starts and ends at the picture.

    Raises:
        InputError: no such curve or convention, or an elevation beyond the poles.
    """
    if convention not in ORBIT_CONVENTIONS:
        raise InputError(choose_from("convention", convention, ORBIT_CONVENTIONS))
    elevations = _degrees(elevation, "elevation", frames)
    if max(map(abs, elevations)) > 90:
        found = f"{max(elevations, key=abs):g}"
        raise InputError(explain("`elevation` from -90 to 90 degrees", found, "0 is level, 90 looks straight down."))
    if azimuth.strip():
        azimuths = _degrees(azimuth, "azimuth", frames)
    elif convention == "sv3d":
        azimuths = [360 * (index + 1) / frames for index in range(frames)]
    else:
        azimuths = [360 * index / max(frames - 1, 1) for index in range(frames)]
    origin = azimuths[-1] if convention == "sv3d" else 0.0
    return elevations, [(angle - origin) % 360 for angle in azimuths]


def _degrees(text: str, name: str, frames: int) -> list[float]:
    points = CurvePoints.parse(text if ":" in text else f"0:{text}", f"`{name}` as degrees, or as place:degrees")
    return points.weights(frames).tolist()


def check_controls(controls: MotionControls) -> MotionControls:
    """The controls, if every value can be embedded.

    Raises:
        InputError: a value is out of range; the message names it.
    """
    limits = {
        "fps": (controls.fps, 1, _MAX_FPS),
        "motion_bucket": (controls.motion_bucket, 0, _MAX_MOTION_BUCKET),
        "augmentation": (controls.augmentation, 0, _MAX_AUGMENTATION),
    }
    for name, (value, lowest, highest) in limits.items():
        if not lowest <= value <= highest:
            remedy = "Choose a value in that range; the defaults stand in the model's config."
            raise InputError(explain(f"`{name}` in {lowest} .. {highest:g}", f"{value:g}", remedy))
    return controls


def condition_values(controls: Sequence[MotionControls], orbit: Orbit | None) -> dict[str, Tensor]:
    """The numbers behind the vector, by their names in the config: `B`, or `B T` for the orbit's angles.

    SVD was trained on the frame rate minus one, hence fps_id = fps - 1.
    """
    values = {
        "fps_id": torch.tensor([float(clip.fps - 1) for clip in controls]),
        "motion_bucket_id": torch.tensor([float(clip.motion_bucket) for clip in controls]),
        "augmentation": torch.tensor([float(clip.augmentation) for clip in controls]),
    }
    if orbit is not None:
        values["polar"] = orbit.polar.float().expand(len(controls), -1)
        values["azimuth"] = orbit.azimuth.float().expand(len(controls), -1)
    return values


def assemble_vector(conditions: Sequence[VectorCondition], values: Mapping[str, Tensor], frames: int) -> Tensor:
    """Sinusoids side by side in the config's order: `B V`, or `B T V` as soon as one condition is per frame.

    values: `B` a clip, `B T` a frame, float32 (see `condition_values`).

    Raises:
        InputError: a condition has no value, or its number of frames is not `frames`.
    """
    parts = [sinusoid(_value(condition, values, frames), condition.width) for condition in conditions]
    if not any(condition.per_frame for condition in conditions):
        return torch.cat(parts, dim=-1)
    per_frame = [part if part.ndim == 3 else part.unsqueeze(1).expand(-1, frames, -1) for part in parts]
    return torch.cat(per_frame, dim=-1)


def augment(pixels: Tensor, controls: Sequence[MotionControls]) -> Tensor:
    """Put each clip's own noise on its picture: `B 3 H W` in [-1, 1] -> the same plus `augmentation * N(0, 1)`.

    The noise comes from the clip's seed alone, so a clip is the same in any batch.
    """
    clips: list[Tensor] = []
    for clean, clip in zip(pixels, controls, strict=True):
        noise = torch.randn(clean.shape, generator=clip_generator(clip.seed, Stream.AUGMENTATION))
        clips.append(clean + clip.augmentation * noise)
    return torch.stack(clips)


def condition_on_images(
    pixels: Tensor,
    controls: Sequence[MotionControls],
    *,
    frames: int,
    vector: Sequence[VectorCondition],
    encode_latent: Encode,
    encode_image: Encode,
    orbit: Orbit | None = None,
) -> ImageConditioning:
    """Everything the UNet knows about B clips of `frames` frames, one picture a clip.

    pixels: `B 3 H W` in [-1, 1], float32 on the CPU; controls: one a clip. CLIP sees the clean picture, the
    autoencoder the augmented one; its mode stays unscaled (Blattmann et al. 2023, appendix D).
    Clips are encoded one by one: memory stays flat and a clip's conditioning does not depend on its batch.

    Raises:
        InputError: values out of range, no orbit for a model that needs one, or fewer controls than pictures.
        NumericsError: an encoder gave NaN or infinity.
    """
    if len(controls) != pixels.shape[0]:
        found = f"{len(controls)} for {pixels.shape[0]} pictures"
        raise InputError(explain("one set of motion controls a picture", found, "Repeat them for each clip."))
    values = condition_values([check_controls(clip) for clip in controls], orbit)
    embeddings = torch.cat([encode_image(picture) for picture in pixels.split(1)])
    latents = torch.cat([encode_latent(picture) for picture in augment(pixels, controls).split(1)])
    return ImageConditioning(
        context=_finite(embeddings, "the image encoder").unsqueeze(1),
        concat_latents=_finite(latents, "the autoencoder's encoder"),
        vector=assemble_vector(vector, values, frames).to(latents.device),
        frames=frames,
    )


def stacked(first: ImageConditioning, second: ImageConditioning) -> ImageConditioning:
    """Both in one batch, the clips of `first` before those of `second`: how guidance runs in a single call."""
    return ImageConditioning(
        context=torch.cat([first.context, second.context]),
        concat_latents=torch.cat([first.concat_latents, second.concat_latents]),
        vector=torch.cat([first.vector, second.vector]),
        frames=first.frames,
    )


def _value(condition: VectorCondition, values: Mapping[str, Tensor], frames: int) -> Tensor:
    if condition.name not in values:
        expected = f"a value for the condition `{condition.name}`, which this model was trained on"
        found = f"only {', '.join(sorted(values))}"
        raise InputError(explain(expected, found, "For an SV3D model give an `orbit`."))
    value = values[condition.name]
    if condition.per_frame and value.shape[-1] != frames:
        found = f"{value.shape[-1]} values"
        raise InputError(explain(f"`{condition.name}` for each of {frames} frames", found, "Match orbit and frames."))
    return value


def _finite(tensor: Tensor, where: str) -> Tensor:
    if bool(tensor.isfinite().all()):
        return tensor
    remedy = "Load the model in bfloat16 or float32; if it persists the weights are damaged."
    raise NumericsError(explain(f"finite values from {where}", "NaN or infinity", remedy))


def _radians(degrees: Sequence[float]) -> Tensor:
    return torch.tensor([math.radians(angle) for angle in degrees])
