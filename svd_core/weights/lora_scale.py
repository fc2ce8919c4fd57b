"""How strong a LoRA's pairs are: alpha and the rule that turns it into a scale, wherever a file keeps them.

In this order: the tensor beside the pair; the settings of PEFT's adapter, which diffusers puts into the metadata and
PEFT into `adapter_config.json` beside the file; kohya's metadata. Where nothing is found the scale is 1, which is what
trainers mean that write no alpha (alpha equal to the rank).
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import FileFormatError, explain
from .reader import TensorInfo, unreadable
from .source import Checkpoint, read_json

ADAPTER_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")
_ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_METADATA = "lora_adapter_metadata"
_ALPHA_TEXTS = ("ss_network_alpha", "lora_alpha", "network_alpha")
_CONFIG_LIMIT = 1_000_000
_FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i", "I16": "<h", "U8": "<B", "I8": "<b"}
# A quantified group, or many quantifiers, could keep the matcher busy for ever on a name made for it.
_COSTLY = re.compile(r"\)[*+?{]|([*+?{].*){4}")
_LONGEST_PATTERN = 200
_LARGEST = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSettings:
    """What PEFT was told: `rank` and `alpha` with their exceptions by layer name, and whether sqrt(rank) divides."""

    source: str
    rank: int | None
    alpha: float | None
    rslora: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]

    def rank_for(self, name: str) -> int | None:
        """The rank a layer was given."""
        return next((rank for pattern, rank in self.ranks.items() if _matches(pattern, name)), self.rank)

    def alpha_for(self, name: str) -> float | None:
        """The alpha a layer was given."""
        return next((alpha for pattern, alpha in self.alphas.items() if _matches(pattern, name)), self.alpha)

    def scale_for(self, name: str, rank: int) -> float | None:
        """alpha / r, or alpha / sqrt(r) with rank-stabilised scaling (Kalajdzievski 2023, arXiv 2312.03732)."""
        alpha = self.alpha_for(name)
        return None if alpha is None else alpha / (math.sqrt(rank) if self.rslora else rank)


def read_scalar(info: TensorInfo) -> float:
    """The one number in a tensor of one element, read without torch.

    Raises:
        FileFormatError: it has several elements, is of a dtype that is no number, or is not finite.
        InputError: the file cannot be read.
    """
    remedy = "The file is damaged or was exported wrongly: fetch or export it again."
    if info.count != 1 or (info.dtype not in _FORMATS and info.dtype != "BF16"):
        raise FileFormatError(
            explain(f"one number in {info.file.name}: {info.name}", f"{info.dtype} {list(info.shape)}", remedy)
        )
    try:
        with info.file.open("rb") as file:
            file.seek(info.start)
            raw = file.read(info.nbytes)
    except OSError as error:
        raise unreadable(info.file, error) from error
    if info.dtype == "BF16":
        raw = b"\0\0" + raw
    value = float(struct.unpack(_FORMATS.get(info.dtype, "<f"), raw)[0])
    if not math.isfinite(value):
        raise FileFormatError(explain(f"a finite number in {info.file.name}: {info.name}", f"{value}", remedy))
    return value


def adapter_settings(checkpoint: Checkpoint, file: Path) -> AdapterSettings | None:
    """The settings in the metadata, else those beside the file.

    A neighbouring `adapter_config.json` counts for files PEFT or diffusers named, or for the only file of a folder: in
    a folder of many LoRAs it cannot be said whose it is.

    Raises:
        FileFormatError: `adapter_config.json` is damaged.
    """
    if text := checkpoint.metadata.get(_ADAPTER_METADATA):
        tree = _json_object(text)
        inner = {key.removeprefix("unet."): value for key, value in tree.items() if key.startswith("unet.")}
        return _settings(inner or tree, "the file's adapter metadata")
    beside = file.parent / _ADAPTER_CONFIG
    owned = file.name in ADAPTER_FILES or len(list(file.parent.glob("*.safetensors"))) == 1
    if owned and beside.is_file():
        return _settings(read_json(beside, _CONFIG_LIMIT), _ADAPTER_CONFIG)
    return None


def metadata_alpha(metadata: Mapping[str, str]) -> float | None:
    """Alpha as kohya's and other trainers' metadata say it; 0 and words mean that it was not set."""
    for key in _ALPHA_TEXTS:
        try:
            alpha = float(metadata.get(key, ""))
        except ValueError:
            continue
        if alpha and math.isfinite(alpha):
            return alpha
    return None


def _settings(tree: Mapping[str, Any], source: str) -> AdapterSettings:
    rank = _number(tree.get("r"))
    return AdapterSettings(
        source=source,
        rank=None if rank is None else int(rank),
        alpha=_number(tree.get("lora_alpha")),
        rslora=tree.get("use_rslora") is True,
        ranks={pattern: int(rank) for pattern, rank in _pattern(tree.get("rank_pattern")).items()},
        alphas=_pattern(tree.get("alpha_pattern")),
    )


def _pattern(value: object) -> dict[str, float]:
    entries = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    numbers = {pattern: _number(number) for pattern, number in entries.items()}
    return {pattern: number for pattern, number in numbers.items() if number is not None}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        return None
    return float(value)


def _matches(pattern: str, name: str) -> bool:
    """PEFT's rule: the pattern fits the end of the layer's name, from a dot on; unsafe ones count as plain text."""
    if name == pattern or name.endswith(f".{pattern}"):
        return True
    if len(pattern) > _LONGEST_PATTERN or _COSTLY.search(pattern):
        return False
    try:
        return re.match(rf"(.*\.)?({pattern})$", name) is not None
    except re.error:
        return False


def _json_object(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", tree) if isinstance(tree, dict) else {}
