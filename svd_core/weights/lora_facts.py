"""Basic facts of a LoRA file from its header: which dialect, which rank, how many layers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .source import Checkpoint

# How each dialect ends the name of its down projection; longer endings first.
_DIALECTS: tuple[tuple[str, str], ...] = (
    ("_lora.down.weight", "diffusers_processor"),
    (".lora.down.weight", "diffusers"),
    (".lora_down.weight", "kohya"),
    (".lora_A.default.weight", "peft"),
    (".lora_A.weight", "peft"),
)
_TEMPORAL = ("temporal_transformer_blocks", "time_stack", "motion_modules")
# One context token makes these two projections idle: softmax over a single key is 1.
_IDLE = ("attn2.to_q", "attn2.to_k", "attn2_to_q", "attn2_to_k", "attn2.processor.to_q", "attn2.processor.to_k")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFacts:
    """`total` adapted layers, of which `temporal` look along time and `no_effect` cannot change an SVD clip."""

    dialect: str
    rank: int
    alpha: float | None
    total: int
    temporal: int
    no_effect: int


def is_lora(checkpoint: Checkpoint) -> bool:
    """Whether most of the file's tensors are low-rank pairs (a merged model may carry a few)."""
    downs = sum(1 for key in checkpoint.tensors if _dialect(key))
    return downs > 0 and 4 * downs >= len(checkpoint.tensors)


def lora_facts(checkpoint: Checkpoint) -> LoraFacts:
    """Facts of a LoRA; rank and dialect are the most common ones. Alpha values are tensors, so not read here."""
    downs = {key: dialect for key in checkpoint.tensors if (dialect := _dialect(key))}
    ranks = Counter(shape[0] for key in downs if (shape := checkpoint.tensors[key].shape))
    return LoraFacts(
        dialect=Counter(downs.values()).most_common(1)[0][0],
        rank=ranks.most_common(1)[0][0] if ranks else 0,
        alpha=None,
        total=len(downs),
        temporal=sum(any(sign in key for sign in _TEMPORAL) for key in downs),
        no_effect=sum(any(sign in key for sign in _IDLE) for key in downs),
    )


def _dialect(key: str) -> str | None:
    return next((dialect for ending, dialect in _DIALECTS if key.endswith(ending)), None)
