"""Which trained network this is, as a short text that a LoRA can carry and compare.

Twelve attention weights, spread over the network, are projected onto fixed random directions. Half-precision and
single-precision releases of the same weights give the same text, because values are rounded to half precision first;
weights that went through bfloat16 give a text that differs in the last digits only, which `same_base` forgives.
A finetune that moved the weights by a few percent gives another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import InputError, UnsupportedModelError, explain
from .build import SvdModel, model_path
from .detect import detect
from .inspection import refusal
from .keymaps import unet_rules
from .mapped import MappedFiles
from .source import open_checkpoint

_SIGNS = ("time_stack.0.attn1.to_q.weight", "transformer_blocks.0.attn1.to_v.weight")
_PER_SIGN = 6
_SAMPLED = 65_536
# Digits in units of a hundredth of a projection's spread; rounding to bfloat16 moves one by about a tenth of a unit.
_UNITS = 100
_ZERO = 0x800
_DIGITS = 3
_FORGIVEN = 1


def base_fingerprint(unet: nn.Module | Mapping[str, Tensor] | str | Path) -> str:
    """The fingerprint of a UNet of SVD's kind, such as `320x16-7f1802...`: width, temporal blocks, 12 x 3 hex digits.

    unet: a network with the original layer names (ours or a host's, without patches in its weights), its tensors by
    name, a checkpoint file or folder, or "nano". Of a file a few MB are read.

    Raises:
        InputError: it has no temporal attention, or its weights are on the meta device.
        FileFormatError, UnsupportedModelError: the file is damaged or of another family.
    """
    if isinstance(unet, str | Path):
        return _of_file(model_path(unet))
    tensors = dict(unet.named_parameters()) if isinstance(unet, nn.Module) else unet
    return _fingerprint({name: tensors[name] for name in _chosen(tensors)}, _blocks(tensors))


def latent_fingerprint(model: SvdModel) -> str:
    """The same for what gives latents and image tokens: what a network trained on them must find again.

    Raises:
        InputError: the weights are on the meta device.
    """
    return _fingerprint(_latent_weights(model), len(model.config.autoencoder.channels))


def same_base(first: str | None, second: str | None) -> bool:
    """Whether two fingerprints are of the same weights, stored in whatever dtype; unknown ones never are."""
    if first is None or second is None:
        return False
    (kind, digits), (other_kind, others) = _parts(first), _parts(second)
    near = all(abs(a - b) <= _FORGIVEN for a, b in zip(digits, others, strict=False))
    return kind == other_kind and len(digits) == len(others) > 0 and near


def _of_file(path: Path) -> str:
    checkpoint = open_checkpoint(path)
    detection = detect(checkpoint)
    if detection.places.unet is None or detection.config is None:
        raise UnsupportedModelError(refusal(checkpoint, detection))
    sources = {rule.targets[0]: rule.sources[0] for rule in unet_rules(detection.places.unet, detection.config.unet)}
    present = {name: checkpoint.tensors[key] for name, key in sources.items() if key in checkpoint.tensors}
    with MappedFiles() as files:
        return _fingerprint({name: files.tensor(present[name]) for name in _chosen(present)}, _blocks(present))


def _latent_weights(model: SvdModel) -> Mapping[str, Tensor]:
    """Matrices and kernels spread over autoencoder and image encoder."""
    chosen: dict[str, Tensor] = {}
    for part, network in (("autoencoder", model.autoencoder), ("image_encoder", model.image_encoder)):
        named = {name: value for name, value in network.named_parameters() if value.ndim > 1}
        weights = [(name, named[name]) for name in sorted(named)]
        count = min(2 * _PER_SIGN, len(weights))
        for index in range(count):
            name, value = weights[index * (len(weights) - 1) // max(1, count - 1)]
            chosen[f"{part}.{name}"] = value
    return chosen


def _blocks(names: Mapping[str, object]) -> int:
    return sum(name.endswith(_SIGNS[0]) for name in names)


def _chosen(names: Mapping[str, object]) -> list[str]:
    """Names spread evenly over each kind's, in their alphabetical order."""
    chosen: list[str] = []
    for sign in _SIGNS:
        found = sorted(name for name in names if name.endswith(sign))
        if not found:
            remedy = "Give the UNet of a Stable Video Diffusion model, with its original layer names."
            raise InputError(explain(f"layers ending in {sign}", "none", remedy))
        count = min(_PER_SIGN, len(found))
        chosen += [found[index * (len(found) - 1) // max(1, count - 1)] for index in range(count)]
    return chosen


def _fingerprint(tensors: Mapping[str, Tensor], blocks: int) -> str:
    if any(tensor.is_meta for tensor in tensors.values()):
        raise InputError(explain("weights to look at", "a network on the meta device", "Load the weights first."))
    width = max(tensors.values(), key=lambda tensor: -tensor.shape[0]).shape[0]
    return f"{width}x{blocks}-" + "".join(f"{_digit(tensor):0{_DIGITS}x}" for tensor in tensors.values())


def _digit(weight: Tensor) -> int:
    """The weight's projection onto random signs, which for random weights is a draw of N(0, 1)."""
    sample = weight.detach().flatten()[:_SAMPLED].to("cpu").to(torch.float16).double()
    norm = float(sample.norm())
    projection = float(sample @ _signs(len(sample))) / norm if norm > 0 else 0.0
    return min(max(_ZERO + round(projection * _UNITS), 0), 2 * _ZERO - 1) if projection == projection else 0


def _signs(count: int) -> Tensor:
    """+1 and -1, the same everywhere: a hash of the index, free of any generator's version."""
    mixed = (torch.arange(1, count + 1, dtype=torch.int64) * 0x9E3779B1) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x27D4EB2D) & 0xFFFFFFFF
    return ((mixed >> 16) & 1).double() * 2 - 1


def _parts(text: str) -> tuple[str, Sequence[int]]:
    kind, _, digits = text.partition("-")
    try:
        return kind, [int(digits[at : at + _DIGITS], 16) for at in range(0, len(digits), _DIGITS)]
    except ValueError:
        return kind, []
