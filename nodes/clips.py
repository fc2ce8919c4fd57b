"""Several clips in the host's flat batches: where one ends, and what the conditioning says about each.

The host knows one clip a batch. How long a clip is travels beside conditioning and latents under a key of ours;
the host's nodes hand both through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..svd_core.errors import InputError, explain
from ..svd_core.framing import Box
from ..svd_core.types import ImageConditioning, MotionControls
from .host_model import CLIP_FRAMES

Conditioning = list[list[Any]]
"""The host's: pairs of tokens `b n d` and a dictionary of everything else."""
Latent = dict[str, Any]
"""The host's: `samples` `(b t) c h w`, unscaled, and whatever nodes put beside it."""

_USUAL_FPS = 8
_BOX = "svd_studio_box"
_PER_CLIP = ("concat_latent_image", "fps", "motion_bucket_id", "augmentation_level")


def as_conditioning(
    told: ImageConditioning, controls: MotionControls, more: Mapping[str, object] | None = None
) -> Conditioning:
    """What the host's SVD models look for; the motion scalars are the same for all clips. `more` is added to it."""
    values = {
        "fps": controls.fps,
        "motion_bucket_id": controls.motion_bucket,
        "augmentation_level": controls.augmentation,
        "concat_latent_image": told.concat_latents,
        CLIP_FRAMES: told.frames,
        **(more or {}),
    }
    return [[told.context, values]]


def empty_latent(told: ImageConditioning, box: Box) -> Latent:
    """Zeros for B clips, and where the picture lies in their frames."""
    images = told.concat_latents
    samples = images.new_zeros(told.clips * told.frames, *images.shape[1:])
    return {"samples": samples, CLIP_FRAMES: told.frames, _BOX: box}


def box_of(latent: Latent) -> Box | None:
    """Where the picture lies in the frames, if a node of ours made the latent."""
    return latent.get(_BOX)


def clip_length(latent: Latent, conditioning: Sequence[list[Any]] = ()) -> int:
    """Frames a clip: what the conditioning says, else the latent, else all of them are one clip.

    Raises:
        InputError: no latents of pictures, or no whole number of clips.
    """
    samples = latent["samples"]
    if samples.ndim != 4 or not len(samples):
        found = f"shape {tuple(samples.shape)}"
        raise InputError(explain("`latent` as frames of four axes", found, "Use the latent of SVD Image Conditioning."))
    told = [entry.get(CLIP_FRAMES) for _, entry in conditioning]
    # The host's nodes hand the length on even with a part of the clip.
    own = min(latent.get(CLIP_FRAMES) or len(samples), len(samples))
    frames = next((value for value in told if value), own)
    if len(samples) % frames:
        whole = f"Take whole clips of {frames} frames."
        remedy = "Use `latent` and conditioning of the same node." if conditioning else whole
        raise InputError(explain(f"whole clips of {frames} frames", f"{len(samples)} latents", remedy))
    return frames


def playback_rate(conditioning: Conditioning) -> float:
    """Frames a second a preview may play at: the fps hint of the first clip, or a usual one."""
    told = [entry.get("fps") for _, entry in conditioning]
    rates = torch.as_tensor(next((value for value in told if value is not None), _USUAL_FPS)).flatten()
    return max(1.0, float(rates[0]))


def one_clip(conditioning: Conditioning, index: int, clips: int) -> Conditioning:
    """The conditioning of clip `index` of `clips` alone, as any host MODEL understands it."""
    return [[_pick(tokens, index, clips), _picked(values, index, clips)] for tokens, values in conditioning]


def _picked(values: dict[str, Any], index: int, clips: int) -> dict[str, Any]:
    return values | {name: _pick(values[name], index, clips) for name in _PER_CLIP if name in values}


def _pick(value: Any, index: int, clips: int) -> Any:  # noqa: ANN401 - a number, a list or a tensor
    """Row `index` of what has one row, or several, a clip; anything else holds for all clips."""
    if clips == 1 or not isinstance(value, Tensor | list) or not len(value) or len(value) % clips:
        return value
    rows = len(value) // clips
    part = value[index * rows : (index + 1) * rows]
    return part[0] if rows == 1 and not (isinstance(part, Tensor) and part.ndim > 1) else part
