"""Our single file: the original tensor names, and the config as JSON in the metadata.

Other programs find what they know: the conditioner's encoder with its `quant_conv` where the published files
have it, and a first-stage encoder with `quant_conv` folded in, which is the one hosts encode with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..config import ModelConfig
from .build import SvdModel
from .encoders import fold_quant_conv
from .keymaps import Part, Place, Places, Rule, rules_from
from .mapped import apply_transform
from .source import CONFIG_KEY
from .writer import Entry, write_tensors

_FIRST_STAGE = Place("first_stage_model.", "sgm")


def save_model(
    model: SvdModel,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model as one safetensors file, whole or not at all.

    metadata: further texts to carry (recipe, scores). dtype: storage dtype; None keeps each tensor's own.
    Blend factors are stored as they are, as in `load_model`. The same model gives the same bytes.

    Raises:
        InputError: the metadata is no text, the dtype cannot be stored, or the place cannot be written.
        OutputError: the disk is full or failed.
    """
    texts = {**(metadata or {}), CONFIG_KEY: model.config.to_json()}
    write_tensors(path, _entries(model, dtype), texts)


def _places(config: ModelConfig) -> Places:
    """Where the published files of the family have their networks."""
    embedder = 3 if config.family == "svd" else 1
    conditioner = Place(f"conditioner.embedders.{embedder}.encoder.", "sgm")
    return Places(
        unet=Place("model.diffusion_model.", "sgm"),
        encoder=conditioner if config.autoencoder.quant_conv else _FIRST_STAGE,
        decoder=_FIRST_STAGE,
        image_encoder=Place("conditioner.embedders.0.open_clip.model.visual.", "open_clip"),
    )


def _entries(model: SvdModel, dtype: torch.dtype | None) -> Iterator[Entry]:
    states: dict[Part, Mapping[str, Tensor]] = {
        "unet": model.unet.state_dict(),
        "autoencoder": model.autoencoder.state_dict(),
        "image_encoder": model.image_encoder.state_dict(),
    }
    for part, rules in rules_from(_places(model.config), model.config).items():
        for rule in rules:
            yield from _rule_entries(rule.inverse(), states[part], dtype)
    if model.config.autoencoder.quant_conv:
        yield from _first_stage_encoder(states["autoencoder"], dtype)


def _rule_entries(rule: Rule, state: Mapping[str, Tensor], dtype: torch.dtype | None) -> Iterator[Entry]:
    for index, (name, shape) in enumerate(zip(rule.targets, rule.target_shapes, strict=True)):
        sources = [state[source] for source in rule.sources]
        stored = sources[0].dtype if dtype is None or name.endswith("mix_factor") else dtype
        yield Entry(name, shape, stored, partial(_made, rule, sources, index, stored))


def _made(rule: Rule, sources: list[Tensor], index: int, stored: torch.dtype) -> Tensor:
    return apply_transform(rule.transform, sources, len(rule.targets))[index].to(stored)


def _first_stage_encoder(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> Iterator[Entry]:
    """The encoder once more, in the place and form hosts read it from."""
    pairs = [(state[f"{name}.weight"], state[f"{name}.bias"]) for name in ("encoder.conv_out", "quant_conv")]
    weight, bias = fold_quant_conv(pairs[0], pairs[1])
    folded = {"encoder.conv_out.weight": weight, "encoder.conv_out.bias": bias}
    for name, tensor in state.items():
        if name.startswith("encoder."):
            stored = dtype or tensor.dtype
            make = partial(folded.get(name, tensor).to, stored)
            yield Entry(_FIRST_STAGE.prefix + name, tuple(tensor.shape), stored, make)
