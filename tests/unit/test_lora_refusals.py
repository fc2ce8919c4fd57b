"""LoRAs of other networks and damaged ones: each gets a sentence that names it and says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from svd_core import load_camera_lora
from svd_core.config import NANO, SVD
from svd_core.errors import (
    FileFormatError,
    InputError,
    NumericsError,
    SvdError,
    UnsupportedModelError,
    WeightsMismatchError,
)
from svd_core.weights import inspect
from tests.checkpoints import manifest, sparse_file
from tests.loras import lora_file, random_pairs, spelled, targets_of

Shapes = dict[str, tuple[int, ...]]
SPATIAL = "down_blocks.0.attentions.0.transformer_blocks.0"
MOTION = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"


def _halves(stem: str, inputs: int, outputs: int, form: tuple[str, str] = ("lora_down", "lora_up")) -> Shapes:
    return {f"{stem}.{form[0]}.weight": (4, inputs), f"{stem}.{form[1]}.weight": (outputs, 4)}


def _kohya(name: str, inputs: int, outputs: int) -> Shapes:
    return _halves(f"lora_unet_{name.replace('.', '_')}", inputs, outputs)


IMAGE = _kohya(f"{SPATIAL}.attn1.to_q", 320, 320)
FOREIGN: list[tuple[str, str, Shapes, dict[str, str]]] = [
    ("animatediff", "AnimateDiff MotionLoRA", _halves(f"{MOTION}.processor.to_q_lora", 320, 320, ("down", "up")), {}),
    ("animatediff", "AnimateDiff MotionLoRA", _kohya(f"{MOTION}.to_q", 320, 320), {}),
    ("motionctrl", "MotionCtrl", _halves("diffusion_model.input_blocks.1.1.time_stack.0.cc_projection", 332, 320), {}),
    ("cameractrl", "CameraCtrl", _halves("unet.down_blocks.0.attentions.0.processor.qkv_merge", 320, 320), {}),
    ("controlnet", "ControlNet", _halves("controlnet.down_blocks.0.attentions.0.proj_in", 320, 320), {}),
    ("sd15", "Stable Diffusion 1", IMAGE | _kohya(f"{SPATIAL}.attn2.to_k", 768, 320), {}),
    ("sd15", "Stable Diffusion 1", _halves(f"unet.{SPATIAL}.attn2.to_v", 768, 320, ("lora_A", "lora_B"))
     | _halves(f"unet.{SPATIAL}.attn2.to_k", 768, 320, ("lora_A", "lora_B")), {}),
    ("sd15", "Stable Diffusion 1", IMAGE, {"ss_base_model_version": "sd_v1"}),
    ("sd15", "Stable Diffusion 1", IMAGE, {"modelspec.architecture": "stable-diffusion-v1/lora"}),
    ("sdxl", "Stable Diffusion XL", _kohya(f"{SPATIAL}.attn2.to_k", 2048, 640), {}),
    ("sdxl", "Stable Diffusion XL", IMAGE | _halves("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, 5120), {}),
    ("sdxl", "Stable Diffusion XL", IMAGE, {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}),
    ("image_model", "text encoder", IMAGE | _halves("lora_te_text_model_encoder_layers_0_mlp_fc1", 768, 3072), {}),
    ("flux", "Flux", _halves("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216), {}),
    ("wan", "Wan", _halves("diffusion_model.blocks.0.self_attn.q", 1536, 1536, ("lora_A", "lora_B")), {}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "name", "shapes", "metadata"), FOREIGN)
def test_other_networks_are_refused_by_name(
    tmp_path: Path, family: str, name: str, shapes: Shapes, metadata: dict[str, str]
) -> None:
    path = sparse_file(tmp_path / "x.safetensors", shapes, metadata=metadata)
    with pytest.raises(UnsupportedModelError, match=name) as caught:
        load_camera_lora(path)
    text = str(caught.value)
    assert text.startswith("Expected a LoRA for Stable Video Diffusion or SV3D; found ") and "x.safetensors" in text
    facts = inspect(path)
    assert (facts["kind"], facts["family"], facts["matched"], facts["refusal"]) == ("lora", family, 0, text)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lora_unet_x.dora_scale", "DoRA"),
        ("base_model.model.x.lora_magnitude_vector", "DoRA"),
        ("lora_unet_x.hada_w1_a", "LoHa"),
        ("lora_unet_x.lokr_w1", "LoKr"),
        ("lora_unet_x.lora_mid.weight", "Tucker"),
    ],
)
def test_other_kinds_of_adapters_are_refused_by_name(tmp_path: Path, key: str, kind: str) -> None:
    layer = "input_blocks_1_1_time_stack_0_attn1_to_q"
    own = {} if kind in ("LoHa", "LoKr") else _halves(f"lora_unet_{layer}", 320, 320)
    path = sparse_file(tmp_path / "x.safetensors", own | {key.replace("x", layer): (4, 4)})
    with pytest.raises(UnsupportedModelError, match=kind):
        load_camera_lora(path)
    assert kind in str(inspect(path)["refusal"])


def test_nothing_matched_is_an_error(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "x.safetensors", _halves("lora_unet_some_other_net", 8, 8))
    with pytest.raises(UnsupportedModelError, match=r"0 of 1 layers in x\.safetensors: lora_unet_some_other_net"):
        load_camera_lora(path)
    facts = inspect(path)
    assert (facts["family"], facts["matched"], facts["total"]) == ("unknown", 0, 1)


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (manifest("svd_xt.diffusers.unet"), "a whole model"),
        (
            manifest("svd_xt.diffusers.unet") | {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)},
            "ControlNet",
        ),
        (manifest("svd_xt.diffusers.vae"), "an autoencoder alone"),
    ],
)
def test_models_are_no_loras(tmp_path: Path, shapes: Shapes, name: str) -> None:
    with pytest.raises(UnsupportedModelError, match=name):
        load_camera_lora(sparse_file(tmp_path / "x.safetensors", shapes))


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    """AnimateDiff's files are known by their names; any other pickle by its first bytes, whatever it is called."""
    motion = tmp_path / "v2_lora_PanLeft.ckpt"
    motion.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(UnsupportedModelError, match="AnimateDiff MotionLoRA in v2_lora_PanLeft"):
        load_camera_lora(motion)
    for name in ("pan.ckpt", "pan.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(100))
        with pytest.raises(FileFormatError, match=r"pickle.*never opened"):
            load_camera_lora(tmp_path / name)
    folder = tmp_path / "peft"
    folder.mkdir()
    (folder / "adapter_model.bin").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(FileFormatError, match="pickles only"):
        load_camera_lora(folder)


LAYERS = targets_of(NANO.unet, lambda name: "middle_block.1.time_stack.0.attn1" in name)
FIRST = f"diffusion_model.{LAYERS[0].name}"


def _tensors() -> dict[str, Tensor]:
    return spelled(LAYERS, random_pairs(LAYERS, 4), "generic A B", alpha=4.0)


def _narrow(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_B.weight"] = torch.zeros(96, 3)


def _wide(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_A.weight"] = torch.zeros(4, 97)


def _half(tensors: dict[str, Tensor]) -> None:
    del tensors[f"{FIRST}.lora_B.weight"]


def _flat(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_B.weight"] = torch.zeros(96)


def _empty(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_A.weight"] = torch.zeros(0, 96)
    tensors[f"{FIRST}.lora_B.weight"] = torch.zeros(96, 0)


def _nan(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_B.weight"][3, 1] = torch.nan


def _infinite(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_A.weight"] = tensors[f"{FIRST}.lora_A.weight"].half() * 1e6


def _twice(tensors: dict[str, Tensor]) -> None:
    tensors |= spelled(LAYERS[:1], random_pairs(LAYERS[:1]), "diffusers")


def _two_endings(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_down.weight"] = torch.zeros(4, 96)


def _two_adapters(tensors: dict[str, Tensor]) -> None:
    for name in list(tensors):
        tensors[name.replace(".weight", ".other.weight")] = tensors[name]


def _alpha_nan(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.alpha"] = torch.tensor(torch.nan)


def _alpha_list(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.alpha"] = torch.ones(2)


def _quantised(tensors: dict[str, Tensor]) -> None:
    tensors[f"{FIRST}.lora_A.weight"] = torch.zeros(4, 96, dtype=torch.int8)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (_narrow, WeightsMismatchError, "the same rank in both projections"),
        (_wide, WeightsMismatchError, r"of shape \[96, 96\]; found down \[4, 97\]"),
        (_half, FileFormatError, "only .*lora_A"),
        (_flat, WeightsMismatchError, "the same rank"),
        (_empty, WeightsMismatchError, "the same rank"),
        (_nan, NumericsError, "NaN or infinity in .*lora_B"),
        (_infinite, NumericsError, "NaN or infinity in .*lora_A"),
        (_twice, FileFormatError, r"one pair for .*; found two \(diffusion_model.*lora.* and unet\."),
        (_two_endings, FileFormatError, r"found two \(.*lora_A.* and .*lora_down|lora_down.* and .*lora_A"),
        (_two_adapters, FileFormatError, "found two .*other"),
        (_alpha_nan, FileFormatError, "a finite .*alpha"),
        (_alpha_list, FileFormatError, r"one number in .*alpha; found F32 \[2\]"),
        (_quantised, UnsupportedModelError, "floating point weights"),
    ],
)
def test_damage_is_named(tmp_path: Path, change: object, error: type[SvdError], words: str) -> None:
    tensors = _tensors()
    change(tensors)  # type: ignore[operator]
    with pytest.raises(error, match=words) as caught:
        load_camera_lora(lora_file(tmp_path / "x.safetensors", tensors))
    assert str(caught.value).startswith("Expected ") and "; found " in str(caught.value)


def test_truncated_and_missing_files(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "x.safetensors", _tensors())
    whole = path.read_bytes()
    for length in (0, 5, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"x\.safetensors|empty"):
            load_camera_lora(path)
    with pytest.raises(InputError, match="No such file"):
        load_camera_lora(tmp_path / "nothing.safetensors")


def test_a_config_of_another_size_refuses(tmp_path: Path) -> None:
    path = lora_file(tmp_path / "x.safetensors", _tensors())
    assert load_camera_lora(path, config=NANO.unet).matched == 4
    with pytest.raises(WeightsMismatchError, match="made for a network of other sizes"):
        load_camera_lora(path, config=SVD.unet)


def test_a_damaged_adapter_config_is_a_sentence(tmp_path: Path) -> None:
    lora_file(tmp_path / "adapter_model.safetensors", spelled(LAYERS, random_pairs(LAYERS), "peft"))
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"JSON object in .*adapter_config\.json"):
        load_camera_lora(tmp_path)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ("nonsense", "cannot be read"),
        ('{"preset": "sideways"}', "sideways"),
        ('{"calibration": {"points": [[0, 0], [1, 1e999]], "fps": 8}}', "calibration"),
        ('{"calibration": {"points": [[1, 0], [0, 1]], "fps": 8}}', "calibration"),
        ('{"calibration": {"points": [[0, 0], [1, 1]], "fps": 0}}', "calibration"),
        ('{"calibration": 5}', "calibration"),
    ],
)
def test_tags_that_make_no_sense_are_left_out(tmp_path: Path, tags: str, words: str) -> None:
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", _tensors(), {"svd_studio.camera": tags}))
    assert (lora.preset, lora.calibration, lora.matched) == (None, None, 4)
    assert any(words in text for text in lora.warnings), lora.warnings


def test_huge_numbers_in_settings(tmp_path: Path) -> None:
    metadata = {"lora_adapter_metadata": json.dumps({"r": 10**400, "lora_alpha": 10**400})}
    tensors = spelled(LAYERS, random_pairs(LAYERS), "peft")
    lora = load_camera_lora(lora_file(tmp_path / "x.safetensors", tensors, metadata))
    assert {delta.scale for delta in lora.deltas.values()} == {1.0}
