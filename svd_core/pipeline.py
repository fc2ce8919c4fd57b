"""From picture to clip: conditioning, sampling, decoding. The stages decide; this file only hands results on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from .autoencoder.decoding import stream_clip
from .autoencoder.footprint import CHUNK, DecodePlan
from .camera.move import CameraStack, Move
from .camera.stack import Finder
from .conditioning import Orbit, condition_on_images, stacked
from .directing import as_stack, direct, on_network, sample_directed, told
from .memory import OnNotice, usable_bytes, with_leaner_retry
from .sampling import (
    Guidance,
    OnStep,
    ScheduleName,
    SolverName,
    VDenoiser,
    guided_in_turn,
    guided_together,
    needs_unconditional,
    noised,
    pure_noise,
    sample,
    solver_noise,
)
from .settings import AnimateSettings, ResolvedSettings, Start, resolve
from .source_image import ImageLike, fit_image, to_pixels
from .types import Denoiser, Frames, ImageConditioning
from .unet import FAST, ExecutionPlan, HoistedUNet, VideoUNet, hoist_device, loop_device
from .unet.plan import CallShape, choose_plan, leaner
from .weights.build import SvdModel

OnDecode = Callable[[int, int], None]
"""Called while decoding with the frames done (measuring counted in) and the frames in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told what while a clip is made; `on_step` and `on_decode` may raise `Cancelled`."""

    on_step: OnStep | None = None
    on_decode: OnDecode | None = None
    on_notice: OnNotice | None = None


SILENT = Watch()


def animate(
    model: SvdModel,
    image: ImageLike | Sequence[ImageLike],
    *,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    fps: int | Sequence[int] | None = None,
    playback_fps: Fraction | float | None = None,
    motion_bucket: float | Sequence[float] | None = None,
    augmentation: float | Sequence[float] | None = None,
    seed: int | Sequence[int] = 0,
    steps: int | None = None,
    solver: SolverName | None = None,
    schedule: ScheduleName | None = None,
    guidance: Guidance | Sequence[Guidance] | None = None,
    camera: CameraStack | Sequence[Move | str] = (),
    find_lora: Finder | None = None,
    depth: Tensor | None = None,
    camera_freedom: float = 1.0,
    noise: Tensor | None = None,
    sigmas: Tensor | None = None,
    start: Start | None = None,
    orbit: Orbit | None = None,
    on_step: OnStep | None = None,
    on_decode: OnDecode | None = None,
) -> Frames | list[Frames]:
    """Set a picture in motion: one picture gives `Frames`, several (a list, or a batch axis) give a list of them.

    None means the model's own default; `AnimateSettings` describes every option. The same seed gives the same
    bytes on one machine; what else is in the batch changes rounding only. `camera` is a stack, or moves and their
    words (`pan_left:10:0-12`), made together. `on_step(StepInfo)` and
    `on_decode(done, total)` may raise `Cancelled`. `animate_clips` always gives a list, and can do a little more.

    Raises:
        InputError: a setting is out of range or does not fit the others; nothing has run then.
        NumericsError: NaN or infinity, with the stage.
        OutOfMemoryError: memory ran out even at a leaner plan.
    """
    settings = AnimateSettings(
        size=size,
        frames=frames,
        fps=fps,
        playback_fps=playback_fps,
        motion_bucket=motion_bucket,
        augmentation=augmentation,
        seed=seed,
        steps=steps,
        solver=solver,
        schedule=schedule,
        guidance=guidance,
        noise=noise,
        sigmas=sigmas,
        start=start,
        orbit=orbit,
        camera=as_stack(camera),
        find_lora=find_lora,
        depth=depth,
        camera_freedom=camera_freedom,
    )
    several = isinstance(image, Sequence)
    watch = Watch(on_step=on_step, on_decode=on_decode)
    clips = animate_clips(model, image if several else [image], settings, watch=watch)
    return clips if several or len(clips) > 1 else clips[0]


def animate_clips(
    model: SvdModel,
    images: Sequence[ImageLike],
    settings: AnimateSettings,
    *,
    plan: ExecutionPlan | None = None,
    decode_chunk: int | None = None,
    watch: Watch = SILENT,
) -> list[Frames]:
    """One clip a picture, all sampled in one batch.

    plan: how the UNet spends memory, by default the fastest that fits this machine. decode_chunk: frames decoded
    together. Errors as in `animate`.
    """
    latents, resolved = animate_latents(model, images, settings, plan=plan, watch=watch)
    pixels = decode_latents(model, latents, chunk=decode_chunk, watch=watch)
    return [Frames(clip, rate) for clip, rate in zip(pixels, resolved.playback, strict=True)]


def animate_latents(
    model: SvdModel,
    images: Sequence[ImageLike],
    settings: AnimateSettings,
    *,
    plan: ExecutionPlan | None = None,
    watch: Watch = SILENT,
) -> tuple[Tensor, ResolvedSettings]:
    """The same without decoding: latents `B T c h w` float32, times the scale factor, and the settings they had."""
    pixels = [to_pixels(image, background=settings.background) for image in images]

    def prepare(_: str) -> tuple[ResolvedSettings, Tensor]:
        resolved = resolve(settings, model.config, sum(len(batch) for batch in pixels))
        return resolved, torch.cat([fit_image(batch, resolved.width, resolved.height) for batch in pixels])

    resolved, fitted = with_leaner_retry("preparing the clip", prepare, "the size asked for", None, watch.on_notice)
    direction = direct(model, fitted, settings, resolved)
    if direction is not None and watch.on_notice is not None:
        for note in direction.plan.notes:
            watch.on_notice(note)
    chosen = plan or plan_for(model, resolved)

    def encode(_: str) -> ImageConditioning:
        return condition(model, fitted * 2 - 1, resolved)

    def run(plan: ExecutionPlan) -> Tensor:
        with on_network(model.unet, direction) as adapter:

            def around(denoiser: Denoiser) -> Denoiser:
                return told(denoiser, adapter, resolved.sigmas)

            def sampled(part: ResolvedSettings, on_step: OnStep | None) -> Tensor:
                return sample_latents(model.unet, conditioning, part, plan=plan, on_step=on_step, around=around)

            return sample_directed(model, direction, resolved, sampled, decoded, watch.on_step)

    def decoded(latents: Tensor) -> list[Tensor]:
        return decode_latents(model, latents, watch=Watch(on_notice=watch.on_notice))

    conditioning = with_leaner_retry("encoding the picture", encode, "one picture at a time", None, watch.on_notice)
    latents = with_leaner_retry("sampling", run, chosen, leaner(chosen), watch.on_notice)
    return rearrange(latents, "(b t) c h w -> b t c h w", b=resolved.clips), resolved


def plan_for(model: SvdModel, settings: ResolvedSettings) -> ExecutionPlan:
    """The fastest plan that fits beside the weights in the memory this machine has, not in what is free now."""
    device, dtype = loop_device(model.unet), _home(model.unet)[1]
    usable = usable_bytes(device)
    if usable is None:
        return FAST
    clips, frames, _, height, width = settings.noise.shape
    shape = CallShape(clips=clips, frames=frames, height=height, width=width, bytes_per_value=dtype.itemsize)
    networks = (model.unet, model.autoencoder, model.image_encoder)
    return choose_plan(model.config.unet, shape, usable - sum(_weight_bytes(network) for network in networks))


@torch.no_grad()
def condition(model: SvdModel, pixels: Tensor, settings: ResolvedSettings) -> ImageConditioning:
    """Conditioning of B pictures `B 3 H W` in [-1, 1], float32 on the UNet's device."""
    device = loop_device(model.unet)

    def encode_latent(picture: Tensor) -> Tensor:
        return model.autoencoder.encode(_moved(picture, model.autoencoder)).to(device, torch.float32)

    def encode_image(picture: Tensor) -> Tensor:
        # The preprocessing wants float32; the tower casts to its own dtype behind it.
        return model.image_encoder(picture.to(_home(model.image_encoder)[0])).to(device, torch.float32)

    return condition_on_images(
        pixels,
        settings.controls,
        frames=settings.frames,
        vector=model.config.unet.vector,
        encode_latent=encode_latent,
        encode_image=encode_image,
        orbit=settings.orbit,
    )


def sample_latents(
    unet: VideoUNet,
    conditioning: ImageConditioning,
    settings: ResolvedSettings,
    *,
    plan: ExecutionPlan,
    on_step: OnStep | None = None,
    around: Callable[[Denoiser], Denoiser] | None = None,
) -> Tensor:
    """Noise to latents `(b t) c h w` float32 on the UNet's device; `around` may put something about the denoiser."""
    device = loop_device(unet)
    highest = float(settings.sigmas[0])
    start = settings.start
    x = pure_noise(settings.noise, highest) if start is None else noised(start, settings.noise, highest)
    with torch.no_grad():
        denoiser = guided_denoiser(unet, conditioning, settings.weights, plan)
        return sample(
            denoiser if around is None else around(denoiser),
            x.flatten(0, 1).to(device),
            settings.sigmas,
            solver=settings.solver,
            noise=solver_noise(settings.seeds, settings.noise.shape[1:], device),
            on_step=on_step,
        )


def decode_latents(
    model: SvdModel, latents: Tensor, *, chunk: int | None = None, tile: int | None = None, watch: Watch = SILENT
) -> list[Tensor]:
    """Latents `B T c h w`, times the scale factor -> B clips of pixels `T H W 3` float32 in [0, 1] on the CPU.

    chunk: frames decoded together; tile: longest side of a spatial tile in latent cells, None for whole frames.
    Both are what is asked for, never what memory happens to be free; only running out of it changes them, and
    that is said. Errors as in `animate`.
    """
    asked = DecodePlan(chunk=CHUNK if chunk is None else chunk, tile=tile)

    def run(plan: DecodePlan) -> list[Tensor]:
        return _decode(model, latents, plan, watch.on_decode)

    return with_leaner_retry("decoding", run, asked, asked.leaner(), watch.on_notice)


@torch.no_grad()
def _decode(model: SvdModel, latents: Tensor, plan: DecodePlan, on_decode: OnDecode | None) -> list[Tensor]:
    clips, frames, _, height, width = latents.shape
    cell, count, done = model.config.autoencoder.downsampling, clips * frames, 0
    # Frames leave the device as they are finished, so that a long clip never lies there whole.
    pixels = torch.empty(count, height * cell, width * cell, 3)

    def progress(fed: int, total: int) -> None:
        if on_decode is not None:
            on_decode(count * fed // total, count)

    unscaled = latents.flatten(0, 1).to(_home(model.autoencoder)[0]) / model.config.autoencoder.scale_factor
    for piece in stream_clip(model.autoencoder, unscaled, frames, chunk=plan.chunk, tile=plan.tile, progress=progress):
        finished = rearrange((piece + 1) / 2, "n c h w -> n h w c").clamp(0, 1)
        pixels[done : done + len(finished)] = finished.cpu()
        done += len(finished)
    progress(1, 1)
    return list(pixels.split(frames))


def guided_denoiser(unet: VideoUNet, conditioning: ImageConditioning, weights: Tensor, plan: ExecutionPlan) -> Denoiser:
    """The UNet bound to B clips and their guidance (weights `B T`), laid out as the plan says."""
    if not needs_unconditional(weights):
        return clip_denoiser(unet, conditioning, plan)
    nothing = conditioning.unconditional()
    if plan.batched_guidance:
        return guided_together(clip_denoiser(unet, stacked(nothing, conditioning), plan), weights)
    return guided_in_turn(clip_denoiser(unet, nothing, plan), clip_denoiser(unet, conditioning, plan), weights)


def clip_denoiser(unet: VideoUNet, conditioning: ImageConditioning, plan: ExecutionPlan) -> VDenoiser:
    """The UNet bound to B clips, without guidance."""
    home, dtype = hoist_device(unet), _home(unet)[1]
    hoisted = HoistedUNet(
        unet,
        conditioning.context.to(home, dtype),
        conditioning.vector.to(home),
        num_frames=conditioning.frames,
        plan=plan,
    )
    concat = repeat(conditioning.concat_latents, "b c h w -> (b t) c h w", t=conditioning.frames)
    return VDenoiser(network=hoisted, concat=concat, dtype=dtype)


def _home(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where a network's weights live and in which dtype."""
    parameter = next(module.parameters())
    return parameter.device, parameter.dtype


def _weight_bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _moved(tensor: Tensor, module: nn.Module) -> Tensor:
    device, dtype = _home(module)
    return tensor.to(device, dtype)
