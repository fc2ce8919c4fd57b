"""LoRAs written by the real `peft` and `diffusers`: what we load changes weights exactly as those packages merge it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.utils.state_dict_utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_kohya,
    convert_unet_state_dict_to_peft,
)
from torch import Tensor, nn

from svd_core import load_camera_lora
from svd_core.camera.lora import CameraLora
from svd_core.config import SVD
from svd_core.weights.keymaps import Place, unet_rules
from tests.loras import lora_file, merged, random_pairs, spelled, targets_of
from tests.tiny import TINY_UNET, randomise_

peft = pytest.importorskip("peft")

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CONVOLUTIONS = ["conv1", "conv2", "conv_in"]
EVERYTHING = [*ATTENTION, *CONVOLUTIONS, "net.0.proj", "net.2", "proj_in", "proj_out", "linear_1", "time_emb_proj"]


@pytest.fixture(scope="module")
def base() -> nn.Module:
    """diffusers' own UNet in small."""
    config = TINY_UNET
    unet = diffusers.UNetSpatioTemporalConditionModel(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        block_out_channels=config.channels,
        layers_per_block=config.res_blocks,
        addition_time_embed_dim=config.vector[0].width,
        projection_class_embeddings_input_dim=config.vector_dim,
        cross_attention_dim=config.context_dim,
        num_attention_heads=tuple(width // config.head_channels for width in config.channels),
    )
    return randomise_(unet, 4)


def adapted(base: nn.Module, **settings: Any) -> Any:
    """The network under a PEFT adapter whose both halves are random."""
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**{"target_modules": ATTENTION} | settings))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return model


def assert_merges_alike(lora: CameraLora, base: nn.Module, model: Any) -> None:
    """Every weight the package changes is changed alike by us, and no other."""
    theirs = model.merge_and_unload().state_dict()
    names = {rule.targets[0]: rule.sources[0] for rule in unet_rules(Place("", "diffusers"), TINY_UNET)}
    before = base.state_dict()
    changed = {ours for ours, name in names.items() if not torch.equal(theirs[name], before[name])}
    assert changed == {f"{layer}.weight" for layer in lora.deltas}
    for layer, delta in lora.deltas.items():
        name = names[f"{layer}.weight"]
        ours = merged(before[name], delta.down, delta.up, delta.scale)
        assert float((ours - theirs[name].double()).abs().max()) < 1e-6 * float(ours.abs().max()), layer


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 4, "lora_alpha": 10},
        {"r": 4, "lora_alpha": 10, "use_rslora": True},
        {
            "r": 4,
            "lora_alpha": 10,
            "rank_pattern": {"to_q": 2, r"temporal_transformer_blocks\.0\.attn1\.to_k": 6},
            "alpha_pattern": {"attn2.to_v": 3, r"mid_block.*to_out\.0": 1},
        },
        {"r": 3, "lora_alpha": 5, "target_modules": EVERYTHING},
    ],
    ids=["plain", "rslora", "patterns", "everything"],
)
def test_peft_folders(tmp_path: Path, base: nn.Module, settings: dict[str, Any]) -> None:
    model = adapted(base, **settings)
    model.save_pretrained(tmp_path / "folder")
    lora = load_camera_lora(tmp_path / "folder")
    assert lora.matched == lora.total and lora.dialect == "peft"
    assert lora.matched == 256 if "target_modules" not in settings else lora.matched > 400
    assert not [text for text in lora.warnings if "sizes" not in text]
    assert_merges_alike(lora, base, model)


def test_peft_state_dict_as_it_is(tmp_path: Path, base: nn.Module) -> None:
    """Saved without PEFT's help: the adapter's name is inside every key, and alpha nowhere."""
    model = adapted(base, r=4, lora_alpha=4)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if "lora_" in name}
    assert all(".default." in name for name in tensors)
    assert_merges_alike(load_camera_lora(lora_file(tmp_path / "x.safetensors", tensors)), base, model)


def _state(model: Any) -> Mapping[str, Tensor]:
    state = peft.get_peft_model_state_dict(model)
    return {name.removeprefix("base_model.model."): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("metadata", [True, False], ids=["with settings", "without settings"])
def test_diffusers_pipelines(tmp_path: Path, base: nn.Module, metadata: bool) -> None:
    """diffusers has no LoRA saving for SVD's pipeline: its helpers are what the trainers for SVD call."""
    alpha = 6 if metadata else 4
    model = adapted(base, r=4, lora_alpha=alpha)
    settings = model.peft_config["default"].to_dict() if metadata else None
    diffusers.StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=convert_state_dict_to_diffusers(_state(model)),
        unet_lora_adapter_metadata=settings,
    )
    lora = load_camera_lora(tmp_path / "pytorch_lora_weights.safetensors")
    assert (lora.matched, lora.temporal, lora.dialect) == (256, 128, "diffusers")
    assert lora.alpha == (alpha if metadata else None)
    assert_merges_alike(lora, base, model)


def test_diffusers_as_kohya(tmp_path: Path, base: nn.Module) -> None:
    """diffusers' own export to kohya's naming writes alpha = rank as whole numbers."""
    model = adapted(base, r=4, lora_alpha=4)
    tensors = convert_state_dict_to_kohya({f"unet.{name}": tensor for name, tensor in _state(model).items()})
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", tensors))
    assert (lora.matched, lora.temporal, lora.dialect, lora.alpha) == (256, 128, "kohya_diffusers", 4.0)
    assert_merges_alike(lora, base, model)


@pytest.mark.parametrize("naming", ["processor", "processor, bare"])
def test_attention_processors_mean_what_diffusers_reads_in_them(tmp_path: Path, naming: str) -> None:
    """No release writes these any more; diffusers still translates them, and we must find the same layers."""
    targets = targets_of(SVD.unet)
    tensors = spelled(targets, random_pairs(targets, 1), naming)
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", tensors), config=SVD.unet)
    read = convert_unet_state_dict_to_peft(tensors)
    names = {rule.targets[0]: rule.sources[0] for rule in unet_rules(Place("", "diffusers"), SVD.unet)}
    assert len(read) == 2 * lora.matched == 512
    for layer, delta in lora.deltas.items():
        name = names[f"{layer}.weight"].removesuffix(".weight")
        stem = name if "bare" in naming else f"unet.{name}"
        assert torch.equal(read[f"{stem}.lora_A.weight"], delta.down), layer
        assert torch.equal(read[f"{stem}.lora_B.weight"], delta.up), layer
