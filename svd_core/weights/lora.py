"""Camera LoRAs in and out: any naming is read, one is written, which hosts load as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..camera.lora import Calibration, CameraLora, LowRank
from ..config import UNetConfig
from ..errors import damaged_weights
from .lora_check import check_lora
from .lora_facts import LoraFacts, Pair
from .lora_scale import ADAPTER_FILES
from .lora_tags import CAMERA_KEY, CameraTags
from .mapped import MappedFiles
from .writer import Entry, write_tensors

_PREFIX = "diffusion_model."
_ARCHITECTURE = "stable-video-diffusion-img2vid/lora"


def load_camera_lora(path: str | Path, *, config: UNetConfig | None = None) -> CameraLora:
    """Read a LoRA for the UNet, in whatever naming it was saved.

    Understood are kohya's and generic names over the original or diffusers' layer names, PEFT's and diffusers' files,
    attention processors, and ours; linear layers and convolutions; alpha from the tensors, the metadata or
    `adapter_config.json`, rank-stabilised or not. The tensors keep their dtypes and are read whole.

    Args:
        path: a safetensors file, or the folder PEFT or diffusers saved.
        config: the network it is for, to check names and sizes against; None for SVD's layout or the embedded
            model's, whichever fits.

    Returns:
        The LoRA; what is doubtful about it stands in its `warnings`.

    Raises:
        InputError: no such file.
        FileFormatError: damaged, pickled, half a pair, or the same layer twice.
        UnsupportedModelError: no LoRA, or one for another network; the text says for which.
        WeightsMismatchError: ranks or shapes that do not fit.
        DamagedWeightsError: NaN or infinite weights.
    """
    file, checkpoint, facts = check_lora(Path(path), config)
    with MappedFiles() as files:
        deltas = {pair.layer.name: _delta(pair, files) for pair in facts.pairs}
    return _resolved(file, facts, deltas, checkpoint.metadata)


def save_camera_lora(
    lora: CameraLora, path: str | Path, *, dtype: torch.dtype | None = None, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a LoRA as one safetensors file, whole or not at all; the same LoRA gives the same bytes.

    Tensors are named `diffusion_model.<layer>.lora_A.weight` (down), `.lora_B.weight` (up) and `.alpha`, which hosts
    load as it is. Preset, base and calibration go into the metadata beside the usual entries (`ss_*`, `modelspec.*`)
    and the LoRA's own.

    Args:
        dtype: of the projections; None keeps each one's own.
        metadata: further texts to carry; they win over the LoRA's own.

    Raises:
        InputError: the metadata is no text, the dtype cannot be stored, or the place cannot be written.
        OutputError: the disk is full or failed.
    """
    write_tensors(path, _entries(lora, dtype), {**lora.metadata, **_standard(lora), **(metadata or {}), **_tags(lora)})


def _delta(pair: Pair, files: MappedFiles) -> LowRank:
    """Both projections in memory, with as many axes as the layer's weight."""
    kernel = list(pair.layer.shape[2:])
    down, up = (files.tensor(info).clone() for info in (pair.down, pair.up))
    for info, tensor in ((pair.down, down), (pair.up, up)):
        if not bool(tensor.float().isfinite().all()):
            raise damaged_weights(info.file.name, info.name)
    return LowRank(_shaped(down, kernel), _shaped(up, [1] * len(kernel)), pair.scale)


def _shaped(half: Tensor, kernel: list[int]) -> Tensor:
    """Axes of size 1 behind the first two as in the layer's kernel; others were checked to be the kernel's own."""
    points = half.shape[2:].numel() == 1 and all(size == 1 for size in kernel)
    return half.reshape(*half.shape[:2], *kernel) if points else half


def _resolved(file: Path, facts: LoraFacts, deltas: dict[str, LowRank], metadata: Mapping[str, str]) -> CameraLora:
    tags = facts.tags
    return CameraLora(
        name=name_of(file),
        deltas=deltas,
        dialect=facts.dialect,
        rank=facts.rank,
        alpha=facts.alpha,
        total=facts.total,
        no_effect=facts.no_effect,
        temporal_total=facts.temporal_total,
        preset=tags.preset,
        base=tags.base,
        calibration=Calibration(tags.points, tags.fps) if tags.points else None,
        warnings=facts.warnings,
        metadata=dict(metadata),
    )


def name_of(file: Path) -> str:
    """The file's stem; files that all have the same name are called by their folder."""
    return file.parent.name if file.name in ADAPTER_FILES and file.parent.name else file.stem


def _entries(lora: CameraLora, dtype: torch.dtype | None) -> Iterator[Entry]:
    for layer, delta in lora.deltas.items():
        for ending, half in (("lora_A.weight", delta.down), ("lora_B.weight", delta.up)):
            yield Entry.of(f"{_PREFIX}{layer}.{ending}", half.detach().to(dtype or half.dtype))
        yield Entry.of(f"{_PREFIX}{layer}.alpha", _alpha(delta))


def _alpha(delta: LowRank) -> Tensor:
    """The alpha that gives the delta's scale back: in single precision, as everywhere, unless that would round it."""
    alpha = torch.tensor(delta.scale * delta.rank, dtype=torch.float32)
    exact = float(alpha) / delta.rank == delta.scale
    return alpha if exact else torch.tensor(delta.scale * delta.rank, dtype=torch.float64)


def _tags(lora: CameraLora) -> dict[str, str]:
    points, fps = (lora.calibration.points, lora.calibration.fps) if lora.calibration else ((), 0.0)
    return {CAMERA_KEY: CameraTags(preset=lora.preset, base=lora.base, points=points, fps=fps).to_json()}


def _standard(lora: CameraLora) -> dict[str, str]:
    """What kohya's tools and the Stability model metadata standard 1.0.1 have words for."""
    alpha = lora.rank if lora.alpha is None else lora.alpha
    title = lora.preset.replace("_", " ") if lora.preset else lora.name
    texts = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(lora.rank),
        "ss_network_alpha": f"{alpha:g}",
        "ss_base_model_version": "svd",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": _ARCHITECTURE,
        "modelspec.implementation": "sgm",
        "modelspec.title": title,
    }
    return {key: text for key, text in texts.items() if key not in lora.metadata or key.startswith("ss_network_")}
