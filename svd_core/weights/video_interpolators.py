"""Files of the video interpolator: ours, and Framer's layout (a diffusers UNet with a mask token among its tensors).

Framer's layout is read as its published code describes it; its weights have not been seen. Names and shapes are checked
one by one, and a file that differs is refused.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..config import FRAMER, SVD_INTERPOLATOR, InterpolatorConfig, UNetConfig, VectorCondition
from ..errors import (
    FileFormatError,
    InputError,
    UnsupportedModelError,
    WeightsMismatchError,
    damaged_weights,
    explain,
    some_keys,
)
from ..operations import TORCH, Operations
from ..unet.interpolator import VideoInterpolator
from .detect import find_places
from .foreign import svd_relative
from .keymaps import Place, Rule, unet_rules
from .mapped import MappedFiles, apply_transform
from .pickled import is_pickled
from .reader import TensorInfo
from .sizes import Shapes, unet_config
from .source import Checkpoint, open_checkpoint
from .writer import Entry, write_tensors

INTERPOLATOR_KEY = "svd_studio.interpolator"
"""Under this name our files carry config, base and training as JSON."""
_PREFIX = "video_interpolator."
_TOKEN = "mask_token"
_REMEDY = "Give a file that `svd train interpolator` wrote, or Framer's `unet` folder."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInterpolator:
    """An interpolator in evaluation mode, and what its file says: `base`, the fingerprint of the model whose latents
    it speaks (None: not said), and all of its metadata."""

    model: VideoInterpolator
    base: str | None
    metadata: Mapping[str, str]


def save_interpolator(
    model: VideoInterpolator, path: str | Path, *, base: str, metadata: Mapping[str, str], dtype: torch.dtype
) -> None:
    """Write one safetensors file, whole or not at all; blend factors keep their precision.

    Raises:
        InputError: the place cannot be written.
        OutputError: the disk is full or failed.
    """
    told = json.dumps({"config": dataclasses.asdict(model.config), "base": base}, separators=(",", ":"))
    state = dict(model.unet.state_dict()) | ({} if model.mask_token is None else {_TOKEN: model.mask_token.detach()})
    entries = [
        Entry.of(_PREFIX + name, tensor if name.endswith("mix_factor") else tensor.to(dtype))
        for name, tensor in state.items()
    ]
    write_tensors(path, entries, {**metadata, INTERPOLATOR_KEY: told})


def load_interpolator_network(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    operations: Operations = TORCH,
) -> StoredInterpolator:
    """Read an interpolator: a file of ours, a single file in the original names, or a folder in diffusers' names.

    Blend factors keep their stored precision; `operations` is the namespace of the layers.

    Raises:
        InputError: no such file.
        FileFormatError: damaged.
        UnsupportedModelError: no interpolator.
        WeightsMismatchError: tensors missing, misshapen or unknown.
        DamagedWeightsError: NaN or infinite weights.
    """
    checkpoint = open_checkpoint(Path(path))
    config, place, base = _identified(checkpoint)
    model = VideoInterpolator(config, operations=operations, device="meta")
    model.load_state_dict(_weights(checkpoint, place, config, dtype, device), strict=True, assign=True)
    for name, tensor in model.named_parameters():
        if not bool(tensor.isfinite().all()):
            raise damaged_weights(str(path), name)
    return StoredInterpolator(model=model.requires_grad_(False).eval(), base=base, metadata=checkpoint.metadata)


def is_video_interpolator(path: str | Path) -> bool:
    """Whether a file's header says that it is a video interpolator, whole or not; RIFE's files are none.

    Raises:
        InputError, FileFormatError: nothing readable there.
    """
    path = Path(path)
    if path.is_file() and is_pickled(path):
        return False
    checkpoint = open_checkpoint(path)
    relative = svd_relative(checkpoint)
    return INTERPOLATOR_KEY in checkpoint.metadata or (relative is not None and relative.family == "interpolator")


def read_interpolator_config(path: str | Path) -> InterpolatorConfig:
    """The config of an interpolator from its file's header, no weight read.

    Raises:
        InputError, FileFormatError, UnsupportedModelError, WeightsMismatchError: as in `load_interpolator_network`.
    """
    checkpoint = open_checkpoint(Path(path))
    config, place, _ = _identified(checkpoint)
    _rules(checkpoint, place, config)
    return config


def _identified(checkpoint: Checkpoint) -> tuple[InterpolatorConfig, Place, str | None]:
    """Config, where its tensors lie, and the fingerprint of its base where the file says it."""
    told = checkpoint.metadata.get(INTERPOLATOR_KEY)
    if told is None:
        return *_foreign(checkpoint), None
    config, base = _stored(told, checkpoint.path)
    return config, Place(_PREFIX, "sgm"), base


def _stored(text: str, path: Path) -> tuple[InterpolatorConfig, str]:
    """Config and base from our metadata, distrusted until both have been built."""
    try:
        tree = cast("dict[str, Any]", json.loads(text))
        fields = dict(tree["config"])
        unet = dict(fields["unet"])
        unet["vector"] = tuple(VectorCondition(**entry) for entry in unet["vector"])
        for name in ("channels", "attention"):
            unet[name] = tuple(unet[name])
        low, high = fields["gate"]
        fields |= {"unet": UNetConfig(**unet), "gate": (float(low), float(high))}
        config = InterpolatorConfig(**fields)
        known = SVD_INTERPOLATOR.unet
        numbers = [value for value in dataclasses.asdict(config.unet).values() if not isinstance(value, tuple | str)]
        if (
            any(type(value) is not int or value < 1 for value in numbers)
            or max(config.unet.channels) > max(known.channels)
            or max(config.unet.res_blocks, config.unet.transformer_depth) > 8
            or not 3 <= config.frames <= 64
        ):
            raise ValueError(f"sizes {config.unet.channels}, {config.frames} frames")
        # What no network can be made of shows here, where nothing is allocated.
        VideoInterpolator(config, device="meta")
        return config, str(tree["base"])
    except (InputError, KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise FileFormatError(
            explain(f"an interpolator's config in {path.name}", str(error)[:200], "Export it again, or train it anew.")
        ) from error


def _foreign(checkpoint: Checkpoint) -> tuple[InterpolatorConfig, Place]:
    """The config of a file that is not ours, from its shapes: the paper's nine channels, or Framer's eight."""
    place = find_places(checkpoint, "conditioner")[0].unet
    if place is None or place.prefix + _TOKEN not in checkpoint.tensors:
        found = f"no UNet with a {_TOKEN} in {checkpoint.path.name}"
        raise UnsupportedModelError(explain("a video frame interpolator", found, _REMEDY))
    unet, _, _ = unet_config(Shapes(checkpoint, place), checkpoint.configs.get("unet", {}))
    extra = unet.in_channels - 2 * unet.out_channels
    if extra not in (0, 1):
        found = f"{unet.in_channels} input channels for {unet.out_channels} of a latent"
        raise UnsupportedModelError(explain("noise, keys and at most a mask channel at the input", found, _REMEDY))
    return dataclasses.replace(SVD_INTERPOLATOR if extra else FRAMER, unet=unet), place


def _rules(checkpoint: Checkpoint, place: Place, config: InterpolatorConfig) -> tuple[Rule, ...]:
    """How the file's tensors become the network's, all of them accounted for."""
    rules = unet_rules(place, config.unet)
    inside = {name for name in checkpoint.tensors if name.startswith(place.prefix)}
    wanted = {name: shape for rule in rules for name, shape in zip(rule.sources, rule.shapes, strict=True)}
    token = place.prefix + _TOKEN
    known = {*wanted, token} if config.form == "masked" else set(wanted)
    wrong = [name for name, shape in wanted.items() if checkpoint.shape(name) != shape]
    if wrong or inside - known or (config.form == "masked" and token not in inside):
        found = f"{len(wrong)} missing or misshapen, {len(inside - known)} unknown"
        names = some_keys([*wrong, *sorted(inside - known)])
        raise WeightsMismatchError(explain(f"every tensor of {config.name}", f"{found} ({names})", _REMEDY))
    return rules


def _weights(
    checkpoint: Checkpoint, place: Place, config: InterpolatorConfig, dtype: torch.dtype, device: torch.device | str
) -> dict[str, Tensor]:
    rules = _rules(checkpoint, place, config)
    with MappedFiles() as files:
        weights = {f"unet.{name}": tensor for rule in rules for name, tensor in _tensors(rule, checkpoint, files)}
        if config.form == "masked":
            weights[_TOKEN] = _token(checkpoint.tensors[place.prefix + _TOKEN], files, config.latent_channels)
        # A rounded blend logit is worse than a rounded share.
        return {
            name: tensor.to(device) if name.endswith("mix_factor") else tensor.to(device, dtype)
            for name, tensor in weights.items()
        }


def _tensors(rule: Rule, checkpoint: Checkpoint, files: MappedFiles) -> list[tuple[str, Tensor]]:
    sources = [files.tensor(checkpoint.tensors[name]) for name in rule.sources]
    return list(zip(rule.targets, apply_transform(rule.transform, sources, len(rule.targets)), strict=True))


def _token(info: TensorInfo, files: MappedFiles, channels: int) -> Tensor:
    """Ours is `c 1 1`, Framer's `1 1 c 1 1`; one value a channel either way."""
    if info.count != channels:
        found = f"shape {list(info.shape)}"
        raise WeightsMismatchError(explain(f"a mask token of {channels} values", found, _REMEDY))
    return files.tensor(info).reshape(channels, 1, 1)
