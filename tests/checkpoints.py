"""Checkpoints for tests: real layouts as sparse files (all names and shapes, no bytes), tiny ones with weights."""

from __future__ import annotations

import gzip
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from svd_core.autoencoder.autoencoder import Autoencoder
from svd_core.config import ModelConfig
from svd_core.image_encoder.image_encoder import ImageEncoder
from svd_core.unet.unet import VideoUNet
from svd_core.weights.keymaps import Part, Place, Places, rules_from
from svd_core.weights.mapped import apply_transform
from tests.tiny import randomise_

Shapes = dict[str, tuple[int, ...]]
_DATA = Path(__file__).parent / "data" / "manifests.json.gz"

CLIP = "conditioner.embedders.0.open_clip.model.visual."
SGM = Places(
    unet=Place("model.diffusion_model.", "sgm"),
    encoder=Place("conditioner.embedders.3.encoder.", "sgm"),
    decoder=Place("first_stage_model.", "sgm"),
    image_encoder=Place(CLIP, "open_clip"),
)
HOST_SAVED = Places(
    unet=SGM.unet,
    encoder=SGM.decoder,
    decoder=SGM.decoder,
    image_encoder=Place(CLIP, "transformers"),
)
DIFFUSERS = Places(
    unet=Place("unet/", "diffusers"),
    encoder=Place("vae/", "diffusers"),
    decoder=Place("vae/", "diffusers"),
    image_encoder=Place("image_encoder/", "transformers"),
)


def manifests() -> dict[str, dict[str, Any]]:
    """Names and shapes of the published layouts, and rename tables between them, by manifest name."""
    return json.loads(gzip.decompress(_DATA.read_bytes()))


def manifest(name: str) -> Shapes:
    """Shapes by tensor name of one layout."""
    return {key: tuple(shape) for key, shape in manifests()[name].items()}


def header_bytes(
    shapes: Mapping[str, tuple[int, ...]], dtype: str = "F16", metadata: dict[str, str] | None = None
) -> bytes:
    """Length prefix and header of a safetensors file that holds such tensors one after the other."""
    size = {"F16": 2, "F32": 4, "BF16": 2, "U8": 1}[dtype]
    fields: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for name, shape in shapes.items():
        end = position + size * math.prod(shape)
        fields[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def sparse_file(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str = "F16", metadata: dict[str, str] | None = None
) -> Path:
    """A safetensors file of the right size whose data are a hole."""
    header = header_bytes(shapes, dtype, metadata)
    size = {"F16": 2, "F32": 4, "BF16": 2, "U8": 1}[dtype]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size * sum(math.prod(shape) for shape in shapes.values()))
    return path


def random_networks(config: ModelConfig, seed: int = 0) -> dict[Part, dict[str, Tensor]]:
    """Weights of the three networks by network name."""
    networks = {
        "unet": VideoUNet(config.unet),
        "autoencoder": Autoencoder(config.autoencoder),
        "image_encoder": ImageEncoder(config.image_encoder),
    }
    return {part: dict(randomise_(network, seed).state_dict()) for part, network in networks.items()}


def in_layout(networks: Mapping[Part, Mapping[str, Tensor]], config: ModelConfig, places: Places) -> dict[str, Tensor]:
    """The same weights under the names of a file layout."""
    tensors: dict[str, Tensor] = {}
    for part, rules in rules_from(places, config).items():
        for rule in (rule.inverse() for rule in rules):
            made = apply_transform(rule.transform, [networks[part][name] for name in rule.sources], len(rule.targets))
            tensors |= dict(zip(rule.targets, made, strict=True))
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def save_single(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """One safetensors file by the reference writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, str(path), metadata)
    return path


def save_folder(
    folder: Path, tensors: Mapping[str, Tensor], configs: Mapping[str, Mapping[str, Any]], variant: str = ""
) -> Path:
    """A diffusers folder from tensors named `part/name`."""
    for part in ("unet", "vae", "image_encoder"):
        stem = "model" if part == "image_encoder" else "diffusion_pytorch_model"
        own = {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}
        save_single(folder / part / f"{stem}{variant}.safetensors", own)
        if part in configs:
            (folder / part / "config.json").write_text(json.dumps(configs[part]))
    return folder


def equal(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Names whose tensors differ in any bit, or that only one side has."""
    differing = [n for n in expected if n in actual and not torch.equal(actual[n], expected[n])]
    return sorted(set(actual) ^ set(expected)) + differing
