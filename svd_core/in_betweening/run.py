"""From pictures to the clip that passes through them: every gap sampled, joined, and decoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError, explain
from ..framing import frame_picture
from ..pipeline import SILENT, Watch, decode_latents
from ..sampling import BetweenMethod, Bounded, Guidance, OnStep, ScheduleName
from ..settings import AnimateSettings, ResolvedSettings
from ..source_image import ImageLike, to_pixels
from ..types import Frames
from ..weights.build import SvdModel
from ..weights.fingerprint import base_fingerprint, latent_fingerprint
from .chain import Gap, Shelf, around, gaps, joined, mark_of, put_back
from .flow_start import check_freedom
from .gap import sample_gap
from .settings import InBetweenSettings, resolved_for


@dataclass(frozen=True, slots=True, kw_only=True)
class InBetween:
    """A finished clip: frames, latents `N c h w` times the scale factor, the settings of its first gap, gaps found
    on disk, and where all of them lie."""

    frames: Frames
    latents: Tensor
    resolved: ResolvedSettings
    reused: int
    kept: tuple[tuple[Gap, str], ...]


def in_between(
    model: SvdModel,
    images: Sequence[ImageLike],
    *,
    size: tuple[int, int] | None = None,
    framing: str = "crop",
    frames: int | None = None,
    fps: int | None = None,
    playback_fps: Fraction | float | None = None,
    motion_bucket: float | None = None,
    augmentation: float | None = None,
    seed: int = 0,
    steps: int | None = None,
    schedule: ScheduleName | None = None,
    guidance: Guidance | None = None,
    method: BetweenMethod = "vibid",
    early: float | None = None,
    renoise: int | None = None,
    distillation: float | None = None,
    flow_start: float = 0.0,
    loop: bool = False,
    keep_ends: bool = True,
    segments: Path | str | None = None,
    on_step: OnStep | None = None,
) -> Frames:
    """The clip that leads through two pictures or more, on a network trained to go on from one.

    K pictures give K - 1 gaps of `frames` frames, joined without a doubled picture: (K - 1) (frames - 1) + 1 frames.
    A loop, for which one picture is enough, has K gaps and K (frames - 1) frames. None means the model's own default;
    guidance is a curve that rises away from each direction's own picture, by default 1 throughout, for `trf` the
    model's. `early`, `renoise`, `distillation`: see `Bounded`. With `segments` every finished gap is kept in that
    folder and found there again. Errors as in `animate`, and `InputError` for too few pictures.
    """
    told = {"early": early, "renoise": renoise, "distillation": distillation}
    settings = InBetweenSettings(
        clip=AnimateSettings(
            size=size,
            frames=frames,
            fps=fps,
            playback_fps=playback_fps,
            motion_bucket=motion_bucket,
            augmentation=augmentation,
            seed=seed,
            steps=steps,
            schedule=schedule,
            guidance=guidance,
        ),
        bounded=bounded_with(method, told),
        flow_start=flow_start,
        framing=framing,
        loop=loop,
        keep_ends=keep_ends,
    )
    shelf = None if segments is None else Shelf(Path(segments))
    return in_between_clip(model, images, settings, shelf=shelf, watch=Watch(on_step=on_step)).frames


def bounded_with(method: str, told: dict[str, float | int | None]) -> Bounded:
    """A method with what was said of it; None stands for its default.

    Raises:
        InputError: as in `Bounded`.
    """
    given: dict[str, object] = {name: value for name, value in told.items() if value is not None}
    return Bounded(**{"method": method, **given})  # type: ignore[arg-type]


def in_between_clip(
    model: SvdModel,
    images: Sequence[ImageLike],
    settings: InBetweenSettings,
    *,
    shelf: Shelf | None = None,
    decode_chunk: int | None = None,
    watch: Watch = SILENT,
) -> InBetween:
    """The same with its latents; `shelf` is where finished gaps are kept. Errors as in `in_between`."""
    seed = settings.clip.seed
    wanted = gaps(len(images), loop=settings.loop, seed=seed if isinstance(seed, int) else seed[0])
    check_freedom(settings.flow_start)
    resolved = resolved_for(model.config, settings, wanted[0])
    size = resolved.width, resolved.height
    fitted = torch.cat([frame_picture(picture, *size, settings.framing).pixels for picture in _single(images)])
    pairs = {gap: fitted[[gap.first, gap.last]] for gap in wanted}
    marks = {} if shelf is None else _marks(model, settings, pairs)
    found = {gap: None if shelf is None else shelf.get(gap, marks[gap]) for gap in wanted}
    missing = [gap for gap in wanted if found[gap] is None]
    steps = len(resolved.sigmas) - 1
    for number, gap in enumerate(missing):
        report = replace(watch, on_step=_counted(watch.on_step, number * steps, len(missing) * steps))
        found[gap] = made = sample_gap(model, pairs[gap], settings, gap, watch=report)
        if shelf is not None:
            shelf.put(gap, marks[gap], made)
    latents = joined([part for part in found.values() if part is not None], loop=settings.loop)

    def decode(part: Tensor) -> Tensor:
        return decode_latents(model, part[None], chunk=decode_chunk, watch=watch)[0]

    pixels = decode_joined(decode, latents, loop=settings.loop)
    if settings.keep_ends:
        pixels = put_back(pixels, fitted, resolved.frames - 1)
    return InBetween(
        frames=Frames(pixels, resolved.playback[0]),
        latents=latents,
        resolved=resolved,
        reused=len(wanted) - len(missing),
        kept=tuple(marks.items()),
    )


def _single(images: Sequence[ImageLike]) -> list[Tensor]:
    """Pixels `1 3 H W` of every picture; a batch among them would put all that follow in the wrong place."""
    pixels = [to_pixels(image) for image in images]
    wrong = next((index for index, picture in enumerate(pixels) if len(picture) != 1), None)
    if wrong is not None:
        found = f"{len(pixels[wrong])} in the one numbered {wrong}"
        raise InputError(explain("images of one picture each", found, "Give every picture as an entry of its own."))
    return pixels


def decode_joined(decode: Callable[[Tensor], Tensor], latents: Tensor, *, loop: bool) -> Tensor:
    """Frames of a whole clip decoded at once, so that no gap shows; a loop is decoded past its seam."""
    if not loop:
        return decode(latents)
    longer, kept = around(latents)
    return decode(longer)[kept]


def _marks(model: SvdModel, settings: InBetweenSettings, pairs: Mapping[Gap, Tensor]) -> dict[Gap, str]:
    """What each gap's latents depend on: the model, the settings and the two pictures."""
    parameter = next(model.unet.parameters())
    same = {
        "config": model.config.to_json(),
        "weights": base_fingerprint(model.unet),
        "latents": latent_fingerprint(model),
        "computed": f"{parameter.dtype} {parameter.device.type}",
        "bounded": settings.bounded,
        "flow_start": settings.flow_start,
    }
    marks: dict[Gap, str] = {}
    for gap, pair in pairs.items():
        resolved = resolved_for(model.config, settings, gap)
        own = {
            "controls": resolved.controls[0],
            "sigmas": resolved.sigmas.tolist(),
            "guidance": resolved.weights.tolist(),
        }
        marks[gap] = mark_of({**same, **own}, pair)
    return marks


def _counted(on_step: OnStep | None, before: int, total: int) -> OnStep | None:
    """Steps of all gaps counted through."""
    if on_step is None:
        return None
    return lambda step: on_step(replace(step, index=step.index + before, total=total))
