"""LoRA files for tests, spelled in every naming from the published rename table, not from the tables under test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from svd_core.config import UNetConfig
from svd_core.weights.keymaps import Place, unet_rules
from tests.checkpoints import manifest, manifests

Spelling = Callable[[str, str], tuple[str, str, str | None]]
"""From a layer's original and diffusers name to the names of down, up and, where the naming has one, alpha."""


def _joined(name: str) -> str:
    return name.replace(".", "_")


def _processor(name: str) -> str:
    block, _, projection = name.removesuffix(".0").rpartition(".")
    return f"{block}.processor.{projection}_lora"


def _pair(stem: str, down: str, up: str, alpha: bool = True) -> tuple[str, str, str | None]:
    return f"{stem}{down}", f"{stem}{up}", f"{stem}.alpha" if alpha else None


_AB = (".lora_A.weight", ".lora_B.weight")
_DOWN_UP = (".lora_down.weight", ".lora_up.weight")
_DOTS = (".lora.down.weight", ".lora.up.weight")
_DEFAULT = (".lora_A.default.weight", ".lora_B.default.weight")
# The naming, the dialect it must be recognised as, and how it spells a layer.
NAMINGS: dict[str, tuple[str, Spelling]] = {
    "kohya, original": ("kohya", lambda ours, _: _pair(f"lora_unet_{_joined(ours)}", *_DOWN_UP)),
    "kohya, diffusers": ("kohya_diffusers", lambda _, theirs: _pair(f"lora_unet_{_joined(theirs)}", *_DOWN_UP)),
    "lycoris": ("kohya", lambda ours, _: _pair(f"lycoris_{_joined(ours)}", *_DOWN_UP)),
    "generic A B": ("generic", lambda ours, _: _pair(f"diffusion_model.{ours}", *_AB)),
    "generic down up": ("generic", lambda ours, _: _pair(f"diffusion_model.{ours}", *_DOWN_UP)),
    "generic dots": ("generic", lambda ours, _: _pair(f"diffusion_model.{ours}", *_DOTS)),
    "generic, model": ("generic", lambda ours, _: _pair(f"model.diffusion_model.{ours}", *_AB)),
    "bare original": ("generic", lambda ours, _: _pair(ours, *_AB)),
    "diffusers": ("diffusers", lambda _, theirs: _pair(f"unet.{theirs}", *_DOTS, alpha=False)),
    "diffusers, bare": ("diffusers", lambda _, theirs: _pair(theirs, *_DOTS, alpha=False)),
    "diffusers A B": ("peft", lambda _, theirs: _pair(f"unet.{theirs}", *_AB, alpha=False)),
    "peft": ("peft", lambda _, theirs: _pair(f"base_model.model.{theirs}", *_AB, alpha=False)),
    "peft, adapter": ("peft", lambda _, theirs: _pair(f"base_model.model.{theirs}", *_DEFAULT, alpha=False)),
    "peft, nested": ("peft", lambda _, theirs: _pair(f"unet.base_model.model.{theirs}", *_AB, alpha=False)),
    "processor": (
        "diffusers_processor",
        lambda _, theirs: _pair(f"unet.{_processor(theirs)}", ".down.weight", ".up.weight", alpha=False),
    ),
    "processor, bare": (
        "diffusers_processor",
        lambda _, theirs: _pair(_processor(theirs), ".down.weight", ".up.weight", alpha=False),
    ),
}


@dataclass(frozen=True)
class Target:
    """A layer by both names, with its weight's shape."""

    name: str
    diffusers: str
    shape: tuple[int, ...]


def svd_xt_attention() -> list[Target]:
    """The 256 attention projections of the published svd_xt file."""
    shapes = manifest("svd_xt.sgm")
    renames: Mapping[str, str] = manifests()["svd_xt.rename.unet"]
    return [
        Target(key.removeprefix("model.diffusion_model.")[:-7], theirs[:-7], shapes[key])
        for key, theirs in renames.items()
        if key.endswith(".weight") and (".attn1.to_" in key or ".attn2.to_" in key)
    ]


def targets_of(config: UNetConfig, wanted: Callable[[str], bool] = lambda name: ".to_" in name) -> list[Target]:
    """Layers of a network of any size, by their original names."""
    rules = unet_rules(Place("", "diffusers"), config)
    return [
        Target(rule.targets[0][:-7], rule.sources[0][:-7], rule.shapes[0])
        for rule in rules
        if rule.targets[0].endswith(".weight") and len(rule.shapes[0]) > 1 and wanted(rule.targets[0])
    ]


def random_pairs(targets: Iterable[Target], rank: int = 2, seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    """Down and up for every target, as a linear layer or a convolution has them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / shape[1] ** 0.5

    return {
        target.name: (
            draw(rank, *target.shape[1:]),
            draw(target.shape[0], rank, *[1] * (len(target.shape) - 2)),
        )
        for target in targets
    }


def spelled(
    targets: Iterable[Target], pairs: Mapping[str, tuple[Tensor, Tensor]], naming: str, alpha: float | None = None
) -> dict[str, Tensor]:
    """The pairs under the names of one naming; alphas only where the naming has them."""
    tensors: dict[str, Tensor] = {}
    for target in targets:
        names = NAMINGS[naming][1](target.name, target.diffusers)
        tensors[names[0]], tensors[names[1]] = pairs[target.name]
        if alpha is not None and names[2] is not None:
            tensors[names[2]] = torch.tensor(alpha)
    return tensors


def lora_file(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    """The tensors as a file by the reference writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, str(path), metadata)
    return path


def merged(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """W + scale * up @ down in double precision, kernels flattened and restored."""
    change = up.double().flatten(1) @ down.double().flatten(1)
    return weight.double() + scale * change.reshape(weight.shape)
