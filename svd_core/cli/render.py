"""One picture to one clip on disk, with bars while it runs and every resolved setting in the file."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..camera.stack_text import to_json
from ..pipeline import Watch, animate_latents, decode_latents
from ..settings import AnimateSettings, ResolvedSettings
from ..types import Frames, StepInfo
from ..video_io import write_clip
from ..weights.build import SvdModel
from .models import placement, versions
from .output import Console
from .retiming import Retiming


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A finished clip: its frames, where it lies, how it was made, how long that took."""

    frames: Frames
    path: Path
    settings: dict[str, Any]
    seconds: float


def render(
    model: SvdModel,
    picture: Tensor,
    path: Path,
    settings: AnimateSettings,
    *,
    console: Console,
    label: str,
    source: dict[str, Any],
    decode_chunk: int | None = None,
    enlarge: int = 1,
    retiming: Retiming | None = None,
) -> Rendered:
    """Animate `picture` (`H W 3` in [0, 1]) and write it to `path`; `source` is recorded beside the settings.

    `enlarge` scales the file, not the returned frames: a small model's clip is hard to see in a player. `retiming`
    brings both to another rate.

    Raises:
        SvdError: as in `animate_clips` and `write_clip`.
    """
    started = time.perf_counter()
    steps = None if settings.sigmas is None else len(settings.sigmas) - 1
    total = steps or settings.steps or model.config.sampling.steps
    with console.progress(total, f"{label}: sampling") as bar:

        def on_step(step: StepInfo) -> None:
            bar.total = step.total
            bar.update()

        watch = Watch(on_step=on_step, on_notice=console.note)
        latents, resolved = animate_latents(model, [picture], settings, watch=watch)
    with console.progress(resolved.frames, f"{label}: decoding") as bar:

        def on_decode(done: int, _: int) -> None:
            bar.update(done - bar.n)

        pixels = decode_latents(model, latents, chunk=decode_chunk, watch=Watch(on_decode=on_decode))[0]
    frames = Frames(pixels, resolved.playback[0])
    if retiming is not None:
        frames = retiming.applied(frames, console, label)
    record = {**source, **recorded(model, settings, resolved), "decode_chunk": decode_chunk}
    if settings.camera:
        record["camera"] = json.loads(to_json(settings.camera))["moves"]
        record["freedom"] = settings.camera_freedom
    record |= retiming.record if retiming is not None else {}
    if enlarge > 1:
        record["enlarged"] = enlarge
    written = write_clip(_enlarged(frames, enlarge), path, {**record, "versions": versions()})
    return Rendered(frames=frames, path=written, settings=record, seconds=time.perf_counter() - started)


def recorded(model: SvdModel, settings: AnimateSettings, resolved: ResolvedSettings) -> dict[str, Any]:
    """Every setting of a one-clip run as JSON can hold it, gaps filled."""
    controls = resolved.controls[0]
    return {
        "model": model.config.name,
        "model_file": Path(model.report.source).name,
        **placement(model),
        "size": f"{resolved.width}x{resolved.height}",
        "frames": resolved.frames,
        "fps_hint": controls.fps,
        "motion_bucket": controls.motion_bucket,
        "augmentation": controls.augmentation,
        "seed": controls.seed,
        "steps": len(resolved.sigmas) - 1,
        "solver": settings.solver or model.config.sampling.solver,
        "schedule": settings.schedule or "default",
        "sigmas": [float(f"{float(sigma):.6g}") for sigma in resolved.sigmas],
        "guidance": [round(float(weight), 4) for weight in resolved.weights[0]],
    }


def _enlarged(frames: Frames, factor: int) -> Frames:
    if factor == 1:
        return frames
    pixels = rearrange(frames.pixels, "t h w c -> t c h w")
    larger = F.interpolate(pixels, scale_factor=factor, mode="bicubic", align_corners=False).clamp(0, 1)
    return Frames(rearrange(larger, "t c h w -> t h w c"), frames.fps)
