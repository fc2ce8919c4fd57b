"""What an interpolator is worth: against the cross-fade, the flow engine and the truth, by how much moves.

The figure that counts is taken in decoded space (decode(made) against decode(true), the fade made of latents too), as
the autoencoder loses more than any interpolation gains; pixels against the true frames stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..interpolation.engines import WITHOUT_WEIGHTS, Gap
from ..unet.interpolator import blend
from ..weights.video_engine import VideoBetween
from .interpolator_clips import SPEEDS, HeldOut, held_out
from .worlds import WorldSize

FLOW = "flow_px"
_COMPARED = ("decoded_blend", "decoded", "pixels_blend", "pixels", "pixels_engine", "pixels_flow")
_BATCH = 10
_ROUND = 4
_LEAST = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One class of clips: dB of mean squared errors averaged over all clips, peak 1.

    `decoded_*` against the decoded truth, `pixels_*` against the true frames: the cross-fade, the network, its engine
    (fade plus decoded change), the flow engine. `won` is the share of clips nearer to the decoded truth than the fade,
    `worst` the dB lost on the clip that loses most, `flow` the mean flow in pixels a frame.
    """

    speed: str
    clips: int
    flow: float
    decoded_blend: float
    decoded: float
    pixels_blend: float
    pixels: float
    pixels_engine: float
    pixels_flow: float
    won: float
    worst: float

    @property
    def gain(self) -> float:
        """What the network gains over the cross-fade in decoded space, dB."""
        return self.decoded - self.decoded_blend

    def to_json(self) -> dict[str, object]:
        """Plain rounded numbers."""
        told = {**asdict(self), "gain": self.gain}
        return {name: round(value, _ROUND) if isinstance(value, float) else value for name, value in told.items()}


def compare(
    between: VideoBetween,
    seed: int,
    clips: int,
    speeds: Sequence[str] = tuple(SPEEDS),
    *,
    on_row: Callable[[Row], None] | None = None,
) -> list[Row]:
    """One row a class over `clips` held-out clips of `seed`."""
    rows: list[Row] = []
    for speed in speeds:
        worlds = held_out(seed, clips, speed, clip_size(between))
        rows.append(row_of(speed, errors_of(between, worlds)))
        if on_row is not None:
            on_row(rows[-1])
    return rows


@torch.no_grad()
def errors_of(between: VideoBetween, worlds: HeldOut) -> dict[str, Tensor]:
    """Mean squared error of every clip by what is compared, see `Row`; `flow_px` is the clips' own flow."""
    frames = between.network.config.frames
    device = next(between.network.parameters()).device
    errors: dict[str, list[Tensor]] = {name: [] for name in _COMPARED}
    for pixels in worlds.pixels.split(_BATCH):
        made = between.latents(pixels[:, [0, -1]].to(device))
        faded = between.decode(blend(made[:, 0], made[:, -1], frames))[:, 1:-1].cpu()
        drawn = between.decode(made)[:, 1:-1].cpu()
        true = between.decode(encoded(between, pixels.to(device)))[:, 1:-1].cpu().clamp(-1, 1)
        real, fade = pixels[:, 1:-1], blend(pixels[:, 0], pixels[:, -1], frames)[:, 1:-1]
        pairs = (
            (faded.clamp(-1, 1), true),
            (drawn.clamp(-1, 1), true),
            (fade, real),
            (drawn.clamp(-1, 1), real),
            ((fade + drawn - faded).clamp(-1, 1), real),
            (_flowed(pixels), real),
        )
        for name, (one, other) in zip(_COMPARED, pairs, strict=True):
            errors[name].append(((one - other) / 2).square().mean(dim=(1, 2, 3, 4)))
    return {name: torch.cat(parts) for name, parts in errors.items()} | {FLOW: worlds.flow}


def row_of(speed: str, errors: Mapping[str, Tensor]) -> Row:
    """The figures of a class from the errors of its clips."""
    decibels = {name: float(-10 * torch.log10(errors[name].mean().clamp(min=_LEAST))) for name in _COMPARED}
    gains = 10 * torch.log10(errors["decoded_blend"].clamp(min=_LEAST) / errors["decoded"].clamp(min=_LEAST))
    return Row(
        speed=speed,
        clips=len(gains),
        flow=float(errors[FLOW].mean()),
        won=float((gains >= 0).float().mean()),
        worst=float((-gains).max()),
        **decibels,
    )


def clip_size(between: VideoBetween) -> WorldSize:
    """Clips as long as the network's and of its base's size."""
    sampling = between.base.config.sampling
    return WorldSize(frames=between.network.config.frames, height=sampling.height, width=sampling.width)


def encoded(between: VideoBetween, pixels: Tensor) -> Tensor:
    """Scaled latents `B T c h w` of pixels `B T 3 H W`."""
    autoencoder = between.base.autoencoder
    dtype = next(autoencoder.parameters()).dtype
    latents = autoencoder.encode(pixels.flatten(0, 1).to(dtype)).unflatten(0, pixels.shape[:2])
    return latents.float() * between.base.config.autoencoder.scale_factor


def _flowed(pixels: Tensor) -> Tensor:
    """The flow engine's frames between first and last, `B T-2 3 H W` in [-1, 1]."""
    times = tuple(torch.linspace(0, 1, pixels.shape[1])[1:-1].tolist())
    frames = (pixels.permute(0, 1, 3, 4, 2) + 1) / 2
    gaps = [Gap(clip[0], clip[-1], times) for clip in frames]
    made = torch.stack(list(WITHOUT_WEIGHTS["flow"]().between(gaps)))
    return made.unflatten(0, (len(pixels), -1)).permute(0, 1, 4, 2, 3) * 2 - 1
