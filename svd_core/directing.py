"""Sampling with a camera: LoRAs on the network while it runs, and the training-free way where there are none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .camera.adapter import Adapter, attach, following
from .camera.fallback import Course, chart, halves, start_from, steer
from .camera.move import CameraStack, Move
from .camera.stack import Plan, resolve
from .camera.stack_text import parse_move
from .errors import InputError, explain
from .sampling import OnStep
from .sampling.noise import Stream, clip_generator, draw
from .settings import AnimateSettings, ResolvedSettings, Start
from .types import Denoiser, Frames
from .unet import VideoUNet
from .weights.build import SvdModel
from .weights.camera_files import CameraFiles
from .weights.fingerprint import base_fingerprint

Run = Callable[[ResolvedSettings, OnStep | None], Tensor]
"""Samples latents `(b t) c h w` with the settings given."""

# Pictures encoded at a time: bounds memory and does not change the result.
_ENCODED_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """The camera of B clips, ready to run: the plan, and where each picture's clip goes without a LoRA."""

    plan: Plan
    courses: tuple[Course, ...] = ()
    freedom: float = 1.0


def as_stack(camera: CameraStack | Sequence[Move | str]) -> CameraStack:
    """A stack as it is; moves, or their words on the command line, all together."""
    if isinstance(camera, CameraStack):
        return camera
    return CameraStack(tuple(parse_move(move) if isinstance(move, str) else move for move in camera))


def direct(model: SvdModel, fitted: Tensor, settings: AnimateSettings, resolved: ResolvedSettings) -> Direction | None:
    """Make a camera ready for pictures `B 3 H W` in [0, 1] at the clips' size; None if there is no camera.

    Raises:
        InputError: a move does not fit the clip, a LoRA not the model, the clips differ in rate, or `start` is given
            where a move needs it.
    """
    if not settings.camera:
        return None
    if len(set(resolved.playback)) > 1:
        remedy = "Amounts are per second: animate clips of another rate in a call of their own."
        raise InputError(explain("one rate for all clips of a camera", f"{len(set(resolved.playback))}", remedy))
    rate = float(resolved.playback[0])
    find = settings.find_lora or CameraFiles(config=model.config.unet)
    base = base_fingerprint(model.unet)
    plan = resolve(settings.camera, resolved.frames, rate, base, find, depth=settings.depth is not None)
    if not plan.approximate:
        return Direction(plan=plan)
    if resolved.start is not None:
        remedy = "Leave `start` out, or use moves that a LoRA carries."
        raise InputError(explain("no `start` beside training-free moves", "one", remedy))
    courses = tuple(chart(picture, plan, settings.depth) for picture in fitted)
    return Direction(plan=plan, courses=courses, freedom=settings.camera_freedom)


@contextmanager
def on_network(unet: VideoUNet, direction: Direction | None) -> Generator[Adapter | None]:
    """The LoRAs of a direction on the network, and off again whatever happens."""
    if direction is None or not direction.plan.placed:
        yield None
        return
    adapter = attach(unet, direction.plan.placed)
    try:
        yield adapter
    finally:
        adapter.detach()


def told(denoiser: Denoiser, adapter: Adapter | None, sigmas: Tensor) -> Denoiser:
    """The denoiser, with the adapter told in every call how far along the schedule it is."""
    return denoiser if adapter is None else following(denoiser, adapter, sigmas)


def sample_directed(
    model: SvdModel,
    direction: Direction | None,
    resolved: ResolvedSettings,
    run: Run,
    decode: Callable[[Tensor], list[Tensor]],
    on_step: OnStep | None,
) -> Tensor:
    """Latents `(b t) c h w` of the clips: in one run, or without training in two that share one schedule.

    run, decode: the pipeline's; decode takes `B T c h w` and gives B clips `T H W 3` in [0, 1].
    """
    if direction is None or not direction.courses:
        return run(resolved, on_step)

    def encode(pixels: Tensor) -> Tensor:
        return encode_frames(model, pixels)

    freedom = direction.freedom
    starts = [start_from(course, encode, freedom=freedom) for course in direction.courses]
    height, width = resolved.noise.shape[-2:]
    rough, fine = halves(resolved.sigmas, height, width, moving=starts[0] is not None, freedom=freedom)
    count = len(rough) + len(fine) - 2
    latents = run(_started(replace(resolved, sigmas=rough), starts), _counted(on_step, 0, count))
    clips = decode(latents.unflatten(0, (resolved.clips, -1)))
    rate = resolved.playback[0]
    steered = [
        steer(Frames(clip, rate), course, encode, freedom=freedom)
        for clip, course in zip(clips, direction.courses, strict=True)
    ]
    fresh = draw([clip_generator(seed, Stream.STEER) for seed in resolved.seeds], resolved.noise.shape[1:])
    again = _started(replace(resolved, sigmas=fine, noise=fresh), steered)
    return run(again, _counted(on_step, len(rough) - 1, count))


def _started(resolved: ResolvedSettings, starts: Sequence[Start | None]) -> ResolvedSettings:
    latents = [start.latents.cpu() for start in starts if start is not None]
    return replace(resolved, start=torch.stack(latents)) if latents else resolved


def _counted(on_step: OnStep | None, before: int, total: int) -> OnStep | None:
    """Steps of both runs counted through."""
    if on_step is None:
        return None
    return lambda step: on_step(replace(step, index=step.index + before, total=total))


def encode_frames(model: SvdModel, pixels: Tensor) -> Tensor:
    """Pixels `N 3 H W` in [-1, 1] -> latents `N c h w` on the CPU, times the scale factor."""
    home = next(model.autoencoder.parameters())
    scale = model.config.autoencoder.scale_factor
    with torch.no_grad():
        parts = [
            model.autoencoder.encode(part.to(home.device, home.dtype)).float().cpu() * scale
            for part in pixels.split(_ENCODED_AT_ONCE)
        ]
    return torch.cat(parts)
