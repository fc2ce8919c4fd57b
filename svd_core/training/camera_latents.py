"""Training clips as the diffusion loss wants them: encoded once, kept on disk, read back bit for bit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..errors import NumericsError, explain
from ..weights.writer import Entry, write_tensors
from .camera_clips import CameraClip, ClipSource
from .sampler import Model

_PROBE_NOISE = 0.05
# Of the cache: a file of another one is made anew.
_FORMAT = 2
Encoded = dict[str, Tensor]
"""Of one group: latents `B T c h w`, condition `B c h w`, context `B 1 d`, fps `B`, bucket `B`, strength `T`.

`bucket` is NaN for clips without a motion bucket of their own.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentGroups:
    """Encoded clips, group by group; `pixel_noise` `c` is the latent deviation of one unit of pixel noise."""

    groups: tuple[Encoded, ...]
    pixel_noise: Tensor


def cached_latents(
    model: Model, source: ClipSource, model_key: str, folder: Path, progress: Callable[[int, int], None]
) -> LatentGroups:
    """The source's clips encoded by the model, from the folder's cache if it holds exactly these.

    `progress(done, total)` counts groups; it may raise to stop.

    Raises:
        NumericsError: the encoder produced NaN or infinity.
        OutputError: the disk is full or failed.
    """
    key = hashlib.sha256(f"{_FORMAT} {model_key} {source.key}".encode()).hexdigest()
    path = folder / f"latents-{key[:16]}.safetensors"
    if not path.is_file():
        encoded = _encode_all(model, source, progress)
        write_tensors(path, [Entry.of(*named) for named in encoded.items()], {"key": key})
    return _read(path, source.groups)


def _encode_all(model: Model, source: ClipSource, progress: Callable[[int, int], None]) -> Encoded:
    tensors: Encoded = {}
    for index in range(source.groups):
        progress(index, source.groups)
        clips = source.group(index)
        if not index:
            tensors["pixel_noise"] = _pixel_noise(model, clips[0].pixels[:1])
        encoded = [_encode(model, clip) for clip in clips]
        for name in encoded[0]:
            tensors[f"{index}.{name}"] = torch.stack([entry[name] for entry in encoded]).contiguous()
        tensors[f"{index}.strength"] = clips[0].strength
    progress(source.groups, source.groups)
    return tensors


@torch.no_grad()
def _encode(model: Model, clip: CameraClip) -> Encoded:
    device, dtype = _home(model)
    # Frame by frame: an encoder at real size needs its memory for one.
    frames = [model.autoencoder.encode(frame[None].to(device, dtype)).float().cpu() for frame in clip.pixels]
    condition = frames[0][0]
    if not all(bool(frame.isfinite().all()) for frame in frames):
        remedy = "Encode in float32: give --dtype fp32."
        raise NumericsError(explain("finite latents", "NaN or infinity from the autoencoder", remedy))
    picture = clip.pixels[:1].to(next(model.image_encoder.parameters()).device)
    return {
        "latents": torch.cat(frames) * model.config.autoencoder.scale_factor,
        "condition": condition,
        "context": model.image_encoder(picture).float().cpu(),
        "fps": torch.tensor(clip.fps),
        "bucket": torch.tensor(math.nan if clip.motion_bucket is None else clip.motion_bucket),
    }


@torch.no_grad()
def _pixel_noise(model: Model, picture: Tensor) -> Tensor:
    """How far a little pixel noise moves each latent channel, per unit of noise."""
    device, dtype = _home(model)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0)) * _PROBE_NOISE
    pair = torch.cat((picture, picture + noise)).to(device, dtype)
    first, second = (model.autoencoder.encode(one[None]).float().cpu() for one in pair)
    return (second - first).std(dim=(0, 2, 3)) / _PROBE_NOISE


def _home(model: Model) -> tuple[torch.device, torch.dtype]:
    parameter = next(model.autoencoder.parameters())
    return parameter.device, parameter.dtype


def _read(path: Path, groups: int) -> LatentGroups:
    with safe_open(path, framework="pt") as file:
        names = ("latents", "condition", "context", "fps", "bucket", "strength")
        read = tuple({name: file.get_tensor(f"{index}.{name}") for name in names} for index in range(groups))
        return LatentGroups(groups=read, pixel_noise=file.get_tensor("pixel_noise"))
