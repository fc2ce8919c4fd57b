"""What may be asked of a clip, and how the gaps are filled from the model's own defaults.

Optional going in, complete coming out: behind `resolve` nothing is None that a stage must know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import torch
from torch import Tensor

from .camera.move import CameraStack
from .camera.stack import Finder
from .conditioning import Orbit, check_controls
from .config import ModelConfig
from .errors import InputError, explain
from .framing import check_volume
from .sampling.guidance import Guidance, GuidanceCurve, guidance_weights
from .sampling.noise import Stream, clip_generator, clip_seeds, draw
from .sampling.schedules import ScheduleName, check_sigmas, make_schedule, starting_at
from .sampling.solvers import Solver, SolverName, get_solver
from .source_image import BLACK, Colour, check_size
from .types import MotionControls

T = TypeVar("T")

# A typing error such as 2500 for 25 should be a sentence, not an hour of swapping.
_MAX_FRAMES = 1000
_MAX_STEPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Latents `B T c h w` or `T c h w` to start from, already times the scale factor, and the noise put on them."""

    latents: Tensor
    sigma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimateSettings:
    """Everything `animate` can be told; None means the model's default. Sequences hold one value a clip.

    size: (width, height) in pixels. fps: the hint to the network, and the playback rate unless `playback_fps`
    says otherwise. motion_bucket: amount of motion, 0-255. augmentation: noise on the source pixels in [-1, 1].
    seed: one number gives clip i the seed `seed + i`. guidance: a curve, `linear:1:2.5`, or T weights. noise:
    standard normal `B T c h w` instead of the seed's own. sigmas: `S + 1` instead of a named schedule. orbit:
    SV3D's camera path, by default one turn. background: RGB in [0, 1] behind transparency.
    camera: moves to make; find_lora: who knows their LoRAs, by default the ones that ship; depth: an image `H W`,
    white is near, that gives truck, pedestal, dolly and orbit parallax where no LoRA carries them; camera_freedom:
    noise of the training-free way, 1 is usual, more frees the subject.
    """

    size: tuple[int, int] | None = None
    frames: int | None = None
    fps: int | Sequence[int] | None = None
    playback_fps: Fraction | float | None = None
    motion_bucket: float | Sequence[float] | None = None
    augmentation: float | Sequence[float] | None = None
    seed: int | Sequence[int] = 0
    steps: int | None = None
    solver: SolverName | None = None
    schedule: ScheduleName | None = None
    guidance: Guidance | Sequence[Guidance] | None = None
    noise: Tensor | None = None
    sigmas: Tensor | None = None
    start: Start | None = None
    orbit: Orbit | None = None
    background: Colour = BLACK
    camera: CameraStack = field(default_factory=CameraStack)
    find_lora: Finder | None = None
    depth: Tensor | None = None
    camera_freedom: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSettings:
    """Settings of B clips with every gap filled.

    controls: one a clip; weights `B T`; sigmas `S + 1`; noise and start latents `B T c h w` float32 on the CPU.
    """

    width: int
    height: int
    frames: int
    controls: tuple[MotionControls, ...]
    playback: tuple[Fraction, ...]
    orbit: Orbit | None
    solver: Solver
    sigmas: Tensor
    weights: Tensor
    noise: Tensor
    start: Tensor | None

    @property
    def clips(self) -> int:
        """Number of clips B."""
        return len(self.controls)

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed a clip."""
        return tuple(clip.seed for clip in self.controls)


def resolve(settings: AnimateSettings, config: ModelConfig, clips: int) -> ResolvedSettings:
    """Fill the gaps from `config.sampling` and check everything that can be checked before a network runs.

    Raises:
        InputError: no picture, or a value out of range, off the grid, or of the wrong count for `clips`.
    """
    if clips < 1:
        raise InputError(explain("at least one picture", "none", "Give the picture the clip starts from."))
    default = config.sampling
    width, height = check_size(settings.size or (default.width, default.height), config.autoencoder.downsampling)
    frames = _counted("frames", settings.frames, default.frames, _MAX_FRAMES)
    check_volume(clips * frames, width, height)
    controls = _controls(settings, config, clips)
    cell = config.autoencoder.downsampling
    shape = (frames, config.autoencoder.latent_channels, height // cell, width // cell)
    curve = GuidanceCurve(default.guidance_shape, default.guidance_min, default.guidance_max)
    guidance = curve if settings.guidance is None else settings.guidance
    start = settings.start
    return ResolvedSettings(
        width=width,
        height=height,
        frames=frames,
        controls=controls,
        playback=_playback(settings, controls),
        orbit=_orbit(settings, config, frames),
        solver=get_solver(settings.solver or default.solver),
        sigmas=_sigmas(settings, config),
        weights=guidance_weights(guidance, clips, frames),
        noise=_noise(settings, controls, shape),
        start=None if start is None else _clip_latents("start.latents", start.latents, clips, shape),
    )


def _controls(settings: AnimateSettings, config: ModelConfig, clips: int) -> tuple[MotionControls, ...]:
    default = config.sampling
    rows = zip(
        _one_a_clip("fps", settings.fps, default.fps, clips),
        _one_a_clip("motion_bucket", settings.motion_bucket, default.motion_bucket, clips),
        _one_a_clip("augmentation", settings.augmentation, default.augmentation, clips),
        clip_seeds(settings.seed, clips),
        strict=True,
    )
    return tuple(check_controls(MotionControls(*row)) for row in rows)


def _one_a_clip(name: str, value: T | Sequence[T] | None, default: T, clips: int) -> Sequence[T]:
    chosen = default if value is None else value
    values: Sequence[T] = chosen if isinstance(chosen, Sequence) else [chosen] * clips
    if len(values) != clips:
        found = f"{len(values)} for {clips} clips"
        raise InputError(explain(f"one `{name}`, or one a clip", found, "Give a single value for all clips."))
    return values


def _counted(name: str, value: int | None, default: int, highest: int) -> int:
    count = default if value is None else value
    if not 1 <= count <= highest:
        raise InputError(explain(f"`{name}` in 1 .. {highest}", str(count), f"This model's default is {default}."))
    return count


def _playback(settings: AnimateSettings, controls: Sequence[MotionControls]) -> tuple[Fraction, ...]:
    if settings.playback_fps is None:
        return tuple(Fraction(clip.fps) for clip in controls)
    rate = Fraction(settings.playback_fps).limit_denominator(1001)
    if rate <= 0:
        found = f"{settings.playback_fps}"
        raise InputError(explain("`playback_fps` above 0", found, "Give the frames a second the file should play at."))
    return (rate,) * len(controls)


def _orbit(settings: AnimateSettings, config: ModelConfig, frames: int) -> Orbit | None:
    """The given path, or one full turn for a model that knows camera angles."""
    if settings.orbit is not None or not any(condition.per_frame for condition in config.unet.vector):
        return settings.orbit
    return Orbit.turntable(frames)


def _sigmas(settings: AnimateSettings, config: ModelConfig) -> Tensor:
    default = config.sampling
    if settings.sigmas is not None:
        sigmas = check_sigmas(settings.sigmas)
    else:
        steps = _counted("steps", settings.steps, default.steps, _MAX_STEPS)
        name = settings.schedule or _default_schedule(settings.solver or default.solver)
        sigmas = make_schedule(name, steps, default.sigma_min, default.sigma_max)
    return sigmas if settings.start is None else starting_at(sigmas, settings.start.sigma)


def _default_schedule(solver: str) -> ScheduleName:
    """AnimateLCM's step only makes sense on the grid it was distilled on; everything else is trained for Karras'."""
    return "animatelcm" if solver == "animatelcm" else "karras"


def _noise(settings: AnimateSettings, controls: Sequence[MotionControls], shape: tuple[int, ...]) -> Tensor:
    if settings.noise is not None:
        return _clip_latents("noise", settings.noise, len(controls), shape)
    return draw([clip_generator(clip.seed, Stream.LATENT) for clip in controls], shape)


def _clip_latents(name: str, latents: Tensor, clips: int, shape: tuple[int, ...]) -> Tensor:
    batch = latents.unsqueeze(0) if latents.ndim == 4 else latents
    if tuple(batch.shape) != (clips, *shape):
        found = f"shape {tuple(latents.shape)}"
        raise InputError(explain(f"`{name}` of shape {(clips, *shape)}", found, "Match clips, frames and size."))
    return batch.detach().to("cpu", torch.float32)
