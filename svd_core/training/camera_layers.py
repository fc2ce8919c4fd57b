"""Which layers a camera LoRA changes, and its matrices before the first step."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..camera.lora import LowRank
from ..errors import InputError, choose_from, explain
from ..unet.unet import VideoUNet

TARGETS: dict[str, str] = {
    "attention": r"\.time_stack\.\d+\.(attn1\.to_(q|k|v|out\.0)|attn2\.to_(v|out\.0))$",
    "feed-forward": r"\.time_stack\.\d+\.ff(_in)?\.net\.(0\.proj|2)$",
    "convolutions": r"^(?!.*time_stack).*\.(in_layers\.2|out_layers\.3)$",
    "spatial": r"\.transformer_blocks\.\d+\.(attn1\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2))$",
}
"""Layers by name: attention over time, feed-forwards of the temporal blocks, convolutions within a frame (they alone
know where in the frame they are, from its padded edges), self-attention and feed-forwards within a frame.

Queries and keys of attn2 look at one token, where softmax is 1: nothing to learn.
"""
RANKS = (1, 64)


def chosen_layers(unet: VideoUNet, targets: Iterable[str]) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers of the named targets, by the network's own names.

    Raises:
        InputError: an unknown target, or none at all.
    """
    names = list(targets)
    check_targets(names)
    patterns = [re.compile(TARGETS[name]) for name in names]
    found = {
        path: module
        for path, module in unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and any(pattern.search(path) for pattern in patterns)
    }
    return found


def check_targets(names: Sequence[str]) -> None:
    """Whether there are such targets.

    Raises:
        InputError: an unknown one, or none at all.
    """
    for name in names:
        if name not in TARGETS:
            raise InputError(choose_from("target", name, TARGETS))
    if not names:
        listed = ", ".join(TARGETS)
        raise InputError(explain(f"a target among {listed}", "none", "Name at least one."))


def fresh_deltas(unet: VideoUNet, targets: Iterable[str], rank: int, seed: int) -> dict[str, LowRank]:
    """Trainable deltas that change nothing yet: `up` is 0, `down` as in Hu et al. 2021; float32, scale 1.

    Raises:
        InputError: a rank that is none, or unknown targets.
    """
    check_rank(rank)
    generator = torch.Generator().manual_seed(seed)
    deltas: dict[str, LowRank] = {}
    for path, layer in chosen_layers(unet, targets).items():
        outputs, *inputs = layer.weight.shape
        down = torch.randn(rank, *inputs, generator=generator) / math.sqrt(math.prod(inputs))
        up = torch.zeros(outputs, rank, *[1] * (len(inputs) - 1))
        home = layer.weight.device
        deltas[path] = LowRank(down.to(home).requires_grad_(), up.to(home).requires_grad_(), 1.0)
    return deltas


def check_rank(rank: int) -> None:
    """Whether matrices can be that wide.

    Raises:
        InputError: they cannot.
    """
    if not RANKS[0] <= rank <= RANKS[1]:
        remedy = "8 is enough for a move; more learns faster and weighs more."
        raise InputError(explain(f"a rank from {RANKS[0]} to {RANKS[1]}", f"{rank}", remedy))


def parameters_of(deltas: Mapping[str, LowRank]) -> dict[str, Tensor]:
    """Both matrices of every layer by name."""
    return {f"{path}.{part}": getattr(delta, part) for path, delta in deltas.items() for part in ("down", "up")}


def with_values(deltas: Mapping[str, LowRank], values: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """The same layers with other matrices, by the names of `parameters_of`."""
    return {
        path: replace(delta, down=values[f"{path}.down"].detach().clone(), up=values[f"{path}.up"].detach().clone())
        for path, delta in deltas.items()
    }


def times(deltas: Mapping[str, LowRank], factor: float) -> dict[str, LowRank]:
    """The LoRA whose strength 1 is strength `factor` of this one."""
    return {path: replace(delta, up=delta.up * factor) for path, delta in deltas.items()}


def turned(deltas: Mapping[str, LowRank]) -> dict[str, LowRank]:
    """The LoRA of the opposite move: strength s of one is strength -s of the other."""
    return times(deltas, -1.0)
