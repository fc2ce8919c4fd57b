"""A LoRA file understood from its header and its alphas: which layers it changes, how strongly, and what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..config import UNetConfig
from ..errors import SvdError, UnsupportedModelError, explain, some_keys
from .foreign import Foreign
from .lora_foreign import foreign_lora, other_kind
from .lora_match import Group, Match, Sorted, match, sort_tensors
from .lora_names import Layer, dialect_of, ending, layers_of
from .lora_scale import AdapterSettings, adapter_settings, metadata_alpha, read_scalar
from .lora_tags import CameraTags, read_tags
from .reader import TensorInfo
from .source import Checkpoint

EXPECTED = "a LoRA for Stable Video Diffusion or SV3D"
_NO_ALPHA = "none"
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two tensors of a file that change one layer by `scale * up @ down`; alpha as it was found."""

    layer: Layer
    down: TensorInfo
    up: TensorInfo
    alpha: float | None
    scale: float
    source: str

    @property
    def rank(self) -> int:
        """Width of the bottleneck."""
        return self.down.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFacts:
    """What a LoRA file is.

    pairs: the layers it changes, out of `total` it names. rank, alpha, alpha_source: the most common ones.
    temporal_total: temporal attention matrices the network has (128 in SVD). foreign: whose it is, if it is not for
    SVD. fault: why it cannot be used, or None. unexpected: tensors that are of no use. warnings: sentences for the
    artist.
    """

    dialect: str
    rank: int
    alpha: float | None
    alpha_source: str | None
    pairs: tuple[Pair, ...]
    total: int
    temporal_total: int
    tags: CameraTags
    foreign: Foreign | None
    fault: SvdError | None
    unexpected: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def temporal(self) -> int:
        """Changed layers that look along time."""
        return sum(pair.layer.temporal for pair in self.pairs)

    @property
    def temporal_attention(self) -> int:
        """Changed projections of temporal attention."""
        return sum(pair.layer.temporal and pair.layer.attention for pair in self.pairs)

    @property
    def no_effect(self) -> int:
        """Changed layers that cannot change a clip."""
        return sum(pair.layer.idle for pair in self.pairs)

    def as_json(self) -> dict[str, object]:
        """The facts as plain data for programs."""
        tags = self.tags
        calibration = {"points": [list(point) for point in tags.points], "fps": tags.fps} if tags.points else None
        facts: dict[str, object] = {
            "dialect": self.dialect,
            "rank": self.rank,
            "alpha": self.alpha,
            "alpha_source": self.alpha_source,
            "matched": len(self.pairs),
            "total": self.total,
            "temporal": self.temporal,
            "temporal_attention": self.temporal_attention,
            "temporal_total": self.temporal_total,
            "no_effect": self.no_effect,
            "unexpected": list(self.unexpected),
            "preset": tags.preset,
            "base": tags.base,
            "calibration": calibration,
            "warnings": list(self.warnings),
        }
        return facts if self.fault is None else facts | {"refusal": str(self.fault)}


def is_lora(checkpoint: Checkpoint) -> bool:
    """Whether most of the file's tensors are low-rank pairs or their like (a merged model may carry a few)."""
    like = sum(_adapts(name) for name in checkpoint.tensors)
    return like > 0 and 4 * like >= len(checkpoint.tensors)


def lora_facts(checkpoint: Checkpoint, file: Path, config: UNetConfig | None = None) -> LoraFacts:
    """Understand a LoRA file: its header and, of its tensors, only the alphas are read; torch is not needed.

    file: where the tensors lie, for an `adapter_config.json` beside it. config: the network it is to be used on; None
    for whichever of SVD's and the embedded model's layouts fits it best.

    Raises:
        FileFormatError: `adapter_config.json` or an alpha is damaged.
        InputError: the file cannot be read.
    """
    tensors = sort_tensors(checkpoint)
    matching = match(tensors.groups, config)
    foreign = foreign_lora(checkpoint.tensors, checkpoint.metadata, config.context_dim if config else None)
    fault = _fault(checkpoint, tensors, matching, foreign)
    settings, doubts = _trusted(adapter_settings(checkpoint, file), matching)
    pairs = () if foreign else _pairs(matching, settings, metadata_alpha(checkpoint.metadata))
    tags = read_tags(checkpoint.metadata)
    warnings = [] if fault else [*doubts, *_warnings(pairs, tensors, matching), *(tags.warnings if tags else ())]
    return LoraFacts(
        dialect="svd_studio" if tags else _dialect(matching),
        rank=_most_common([half.shape[0] for half in _downs(tensors.groups)]) or 0,
        alpha=_most_common([pair.alpha for pair in pairs]),
        alpha_source=_most_common([pair.source for pair in pairs]),
        pairs=pairs,
        total=len(tensors.groups),
        temporal_total=sum(layer.temporal and layer.attention for layer in layers_of(matching.config)),
        tags=tags or CameraTags(),
        foreign=foreign,
        fault=fault,
        unexpected=(*_names(matching.lost), *tensors.others),
        warnings=tuple(warnings),
    )


def _adapts(name: str) -> bool:
    """Whether a tensor is half of an adapter; of pairs only the first half counts."""
    cut = ending(name)
    return cut.role == "down" if cut else other_kind([name]) is not None


def _fault(checkpoint: Checkpoint, tensors: Sorted, matching: Match, foreign: Foreign | None) -> SvdError | None:
    """The first reason, the deepest first, why the file cannot be used."""
    name = checkpoint.path.name
    if foreign:
        return UnsupportedModelError(explain(EXPECTED, f"{foreign.name} in {name}", foreign.remedy))
    if kind := other_kind(checkpoint.tensors):
        remedy = "Only plain low-rank pairs are supported: export it as an ordinary LoRA."
        return UnsupportedModelError(explain(EXPECTED, f"{kind} in {name}", remedy))
    if not matching.found:
        stems = some_keys([group.stem for group in tensors.groups]) or "no pairs at all"
        remedy = "None of its layers is in this network: use a LoRA that was trained on it."
        return UnsupportedModelError(explain(EXPECTED, f"0 of {len(tensors.groups)} layers in {name}: {stems}", remedy))
    return tensors.fault or next(iter(matching.faults), None)


def _trusted(settings: AdapterSettings | None, matching: Match) -> tuple[AdapterSettings | None, list[str]]:
    """The settings, if they speak of this file: those of another one give other ranks."""
    if settings is None:
        return None, []
    for group, place in matching.found:
        down, told = group.tensors.get("down"), settings.rank_for(place.layer.diffusers)
        if down is not None and told is not None and down.shape[:1] != (told,):
            ranks = f"it says rank {told} where the file has {list(down.shape)[:1]}"
            return None, [f"{settings.source} belongs to another LoRA ({ranks}) and is ignored"]
    return settings, []


def _pairs(matching: Match, settings: AdapterSettings | None, told: float | None) -> tuple[Pair, ...]:
    """Every group with two halves that can be multiplied, with its scale."""
    pairs: list[Pair] = []
    for group, place in matching.found:
        halves = group.halves
        if halves is None or not (halves[0].shape and halves[0].shape[0]):
            continue
        alpha, scale, source = _scale(group, place.layer, halves[0].shape[0], settings, told)
        pairs.append(Pair(layer=place.layer, down=halves[0], up=halves[1], alpha=alpha, scale=scale, source=source))
    return tuple(pairs)


def _scale(
    group: Group, layer: Layer, rank: int, settings: AdapterSettings | None, told: float | None
) -> tuple[float | None, float, str]:
    """Alpha, scale, and where they come from."""
    if stored := group.tensors.get("alpha"):
        alpha = read_scalar(stored)
        return alpha, alpha / rank, "tensors"
    if settings and (scale := settings.scale_for(layer.diffusers, rank)) is not None:
        return settings.alpha_for(layer.diffusers), scale, settings.source + (", rslora" if settings.rslora else "")
    if told is not None:
        return told, told / rank, "metadata"
    return None, 1.0, _NO_ALPHA


def _warnings(pairs: tuple[Pair, ...], tensors: Sorted, matching: Match) -> list[str]:
    warnings: list[str] = []
    if matching.lost:
        stems = some_keys([group.stem for group in matching.lost])
        warnings.append(f"{len(pairs)} of {len(tensors.groups)} layers matched; this network has no {stems}")
    if tensors.others:
        warnings.append(f"{len(tensors.others)} tensors are left out, being no pairs: {some_keys(tensors.others)}")
    if unscaled := sum(pair.source == _NO_ALPHA for pair in pairs):
        which = "no alpha in the file or beside it" if unscaled == len(pairs) else f"no alpha for {unscaled} layers"
        warnings.append(f"{which}: scale 1 is used, as alpha = rank would give")
    if all(pair.scale == 0 for pair in pairs):
        warnings.append("every alpha is 0, so it changes nothing")
    if not matching.sizes_known:
        warnings.append("its sizes are not SVD's nor the embedded model's: it fits only a network of its own widths")
    if not any(pair.layer.temporal for pair in pairs):
        warnings.append("none of its layers looks along time, so it can hardly move the camera")
    elif all(pair.layer.idle for pair in pairs):
        warnings.append("it changes attn2 to_q and to_k only, which cannot change a clip")
    return warnings


def _dialect(matching: Match) -> str:
    found = [dialect_of(group.form, group.stem, place) for group, place in matching.found]
    return _most_common(found or [dialect_of(group.form, group.stem, None) for group in matching.lost]) or "unknown"


def _names(groups: list[Group]) -> list[str]:
    return [info.name for group in groups for info in group.tensors.values()]


def _downs(groups: list[Group]) -> list[TensorInfo]:
    return [down for group in groups if (down := group.tensors.get("down")) and down.shape]


def _most_common(values: list[_Value]) -> _Value | None:
    return Counter(values).most_common(1)[0][0] if values else None
