"""Every name a LoRA file may give a layer of the network, written out forwards from the network's own layer list.

A file's name is looked up in that table, never taken apart: `_` stands for `.` in kohya's naming and is also part of
the words, so only the way from layer to name is unambiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..config import UNetConfig
from .reader import Shape
from .unet_rows import unet_rows

Role = Literal["down", "up", "alpha"]
Form = Literal["peft", "kohya", "diffusers", "processor"]

DIALECTS: dict[str, str] = {
    "svd_studio": "SVD Studio's own",
    "generic": "original layer names with dots",
    "kohya": "kohya, original layer names",
    "kohya_diffusers": "kohya, diffusers layer names",
    "peft": "PEFT, diffusers layer names",
    "diffusers": "diffusers",
    "diffusers_processor": "diffusers, attention processors",
}
"""Namings by short name, and what they are called."""

# How a tensor's name ends -> what it is in its pair, and whose ending that is; longer endings first.
_ENDINGS: tuple[tuple[str, Role, Form], ...] = (
    ("_lora.down.weight", "down", "processor"),
    ("_lora.up.weight", "up", "processor"),
    ("_lora.alpha", "alpha", "processor"),
    (".lora_linear_layer.down.weight", "down", "diffusers"),
    (".lora_linear_layer.up.weight", "up", "diffusers"),
    (".lora.down.weight", "down", "diffusers"),
    (".lora.up.weight", "up", "diffusers"),
    (".lora_down.weight", "down", "kohya"),
    (".lora_up.weight", "up", "kohya"),
    (".lora_A.weight", "down", "peft"),
    (".lora_B.weight", "up", "peft"),
    (".lora_A", "down", "peft"),
    (".lora_B", "up", "peft"),
    (".alpha", "alpha", "kohya"),
)
# What PEFT writes when its state dict is saved as it is: the adapter's name stands before `.weight`.
_ADAPTERS: tuple[tuple[str, Role], ...] = ((".lora_A.", "down"), (".lora_B.", "up"))
# Wrappers a layer's name may stand in, in any order and number.
_WRAPPERS = (
    "base_model.", "model.", "module.", "_orig_mod.", "diffusion_model.", "unet.", "lora_unet_", "lycoris_", "unet_",
)  # fmt: skip
_IDLE = (".attn2.to_q", ".attn2.to_k")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that can be adapted: its original name, its name in diffusers, the shape of its weight `out in ...`."""

    name: str
    diffusers: str
    shape: Shape

    @property
    def temporal(self) -> bool:
        """Whether it looks along time."""
        return ".time_stack." in self.name

    @property
    def attention(self) -> bool:
        """Whether it is one of attention's four projections."""
        return ".attn1.to_" in self.name or ".attn2.to_" in self.name

    @property
    def idle(self) -> bool:
        """Whether it cannot change a clip: over the one context token, softmax is 1 whatever query and key are."""
        return self.name.endswith(_IDLE)


@dataclass(frozen=True, slots=True)
class Place:
    """A layer under one of its names; `diffusers` and `joined` (`_` for `.`) say which kind of name that was."""

    layer: Layer
    diffusers: bool
    joined: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """A tensor's name, cut: the name of its layer, its role, its form, and the adapter's name if PEFT wrote one."""

    stem: str
    role: Role
    form: Form
    adapter: str = ""


def ending(key: str) -> Ending | None:
    """Cut a tensor's name; None if it does not end like a LoRA's."""
    for text, role, form in _ENDINGS:
        if key.endswith(text):
            return Ending(key[: -len(text)], role, form)
    for text, role in _ADAPTERS:
        stem, found, rest = key.rpartition(text)
        adapter = rest.removesuffix(".weight")
        if found and rest.endswith(".weight") and "." not in adapter:
            return Ending(stem, role, "peft", adapter)
    return None


@lru_cache(maxsize=16)
def layers_of(config: UNetConfig) -> tuple[Layer, ...]:
    """Linear layers and convolutions in the order the network runs."""
    return tuple(
        Layer(row.name.removesuffix(".weight"), row.diffusers.removesuffix(".weight"), row.shape)
        for row in unet_rows(config)
        if row.name.endswith(".weight") and len(row.shape) > 1
    )


@lru_cache(maxsize=16)
def names_of(config: UNetConfig) -> dict[str, Place]:
    """All names of all layers, without wrappers."""
    return {name: place for layer in layers_of(config) for name, place in _names(layer)}


def find_layer(names: dict[str, Place], stem: str) -> Place | None:
    """The layer a stem stands for, whatever it is wrapped in."""
    while stem not in names:
        wrapper = next((text for text in _WRAPPERS if stem.startswith(text)), None)
        if wrapper is None:
            return None
        stem = stem[len(wrapper) :]
    return names[stem]


def dialect_of(form: Form, stem: str, place: Place | None) -> str:
    """Short name of the naming; for a layer nobody knows, judged by its ending."""
    if form == "processor":
        return "diffusers_processor"
    joined = "." not in stem if place is None else place.joined
    if joined:
        return "kohya_diffusers" if place is not None and place.diffusers else "kohya"
    if place is None or place.diffusers:
        return form if form != "kohya" else "diffusers"
    return "generic"


def _names(layer: Layer) -> Iterator[tuple[str, Place]]:
    for name, diffusers in ((layer.name, False), (layer.diffusers, True)):
        yield name, Place(layer, diffusers, joined=False)
        joined = name.replace(".", "_")
        if joined != name:
            yield joined, Place(layer, diffusers, joined=True)
        if layer.attention:
            # Attention processors kept the four deltas beside one another and called the last one `to_out`.
            block, _, projection = name.removesuffix(".0").rpartition(".")
            yield f"{block}.processor.{projection}", Place(layer, diffusers, joined=False)
            if projection == "to_out":
                yield f"{block}.{projection}", Place(layer, diffusers, joined=False)
