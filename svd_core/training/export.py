"""From trained networks to the file that ships: half precision, original names, config, scores and recipe inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from ..weights.build import SvdModel
from ..weights.report import LoadReport
from ..weights.save import save_model
from .networks import Networks


def export(networks: Networks, path: Path, metadata: Mapping[str, object]) -> None:
    """Write `networks` as one fp16 safetensors file; the values of `metadata` travel as JSON text."""
    model = SvdModel(
        unet=networks.unet,
        autoencoder=networks.autoencoder,
        image_encoder=networks.image_encoder,
        config=networks.config,
        report=_made_here(networks),
    )
    texts = {name: json.dumps(value, separators=(",", ":")) for name, value in metadata.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, path, texts, dtype=torch.float16)


def _made_here(networks: Networks) -> LoadReport:
    """The report of a model that was never loaded."""
    parts = (networks.unet, networks.autoencoder, networks.image_encoder)
    parameters = [parameter for part in parts for parameter in part.parameters()]
    return LoadReport(
        source="training",
        family=networks.config.family,
        variant=networks.config.name,
        layout="single file",
        dtype="float32",
        tensors=len(parameters),
        parameters=sum(parameter.numel() for parameter in parameters),
        bytes=sum(parameter.nbytes for parameter in parameters),
        parts=("unet", "autoencoder", "image_encoder"),
        used=len(parameters),
        dropped={},
        missing=(),
        unexpected=(),
        unexpected_inside=(),
        mismatched=(),
        notes=(),
    )
