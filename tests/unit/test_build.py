from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from svd_core.config import ModelConfig
from svd_core.errors import InputError, NumericsError, UnsupportedModelError, WeightsMismatchError
from svd_core.image_encoder.image_encoder import ImageEncoder
from svd_core.weights import build
from svd_core.weights.build import SvdModel, check_finite, load_model
from svd_core.weights.keymaps import Part, Place, Places, image_encoder_rules
from svd_core.weights.mapped import apply_transform
from svd_core.weights.source import CONFIG_KEY
from tests.checkpoints import (
    DIFFUSERS,
    HOST_SAVED,
    SGM,
    equal,
    in_layout,
    manifest,
    random_networks,
    save_folder,
    save_single,
    sparse_file,
)
from tests.models import SMALL
from tests.tiny import randomise_
from tests.tolerances import assert_close

Networks = dict[Part, dict[str, Tensor]]

# Sizes whose unseen numbers (head width, norm groups) are what detection assumes, so that no metadata is needed.
PLAIN: ModelConfig = dataclasses.replace(
    SMALL,
    name="svd",
    unet=dataclasses.replace(SMALL.unet, channels=(64, 64), head_channels=64, norm_groups=32),
    autoencoder=dataclasses.replace(
        SMALL.autoencoder, channels=(32, 32), norm_groups=32, scale_factor=0.18215, latent_channels=8
    ),
    image_encoder=dataclasses.replace(SMALL.image_encoder, width=64, heads=1),
)
CONFIGS = {
    "unet": {"num_attention_heads": [1, 1], "addition_time_embed_dim": 64},
    "vae": {"scaling_factor": 0.5, "_class_name": "AutoencoderKLTemporalDecoder"},
    "image_encoder": {
        "num_attention_heads": 1,
        "hidden_act": "gelu",
        "architectures": ["CLIPVisionModelWithProjection"],
    },
}


@pytest.fixture(scope="module")
def networks() -> Networks:
    return random_networks(PLAIN)


def _states(model: SvdModel) -> Networks:
    return {
        "unet": model.unet.state_dict(),
        "autoencoder": model.autoencoder.state_dict(),
        "image_encoder": model.image_encoder.state_dict(),
    }


def _assert_same(model: SvdModel, networks: Networks) -> None:
    for part, state in _states(model).items():
        assert equal(state, networks[part]) == [], part


@pytest.mark.parametrize("places", [SGM, DIFFUSERS], ids=["sgm", "diffusers"])
def test_every_layout_gives_the_same_networks(tmp_path: Path, networks: Networks, places: Places) -> None:
    tensors = in_layout(networks, PLAIN, places)
    if places is DIFFUSERS:
        source = save_folder(tmp_path, tensors, CONFIGS)
    else:
        source = save_single(tmp_path / "svd.safetensors", tensors)
    model = load_model(source)
    _assert_same(model, networks)
    assert model.config.unet == PLAIN.unet
    assert model.config.image_encoder == PLAIN.image_encoder
    assert model.config.autoencoder.scale_factor == (0.5 if places is DIFFUSERS else 0.18215)
    assert model.report.used == len(tensors)
    assert model.report.missing == model.report.unexpected == ()


def test_host_saved_layout(tmp_path: Path, networks: Networks) -> None:
    config = dataclasses.replace(PLAIN, autoencoder=dataclasses.replace(PLAIN.autoencoder, quant_conv=False))
    source = save_single(tmp_path / "svd.safetensors", in_layout(networks, config, HOST_SAVED))
    model = load_model(source)
    assert model.report.layout == "host_saved"
    assert model.autoencoder.quant_conv is None
    assert equal(model.unet.state_dict(), networks["unet"]) == []
    assert equal(model.image_encoder.state_dict(), networks["image_encoder"]) == []


def test_fused_projections_split_in_the_order_attention_reads_them() -> None:
    """Against PyTorch's own fused attention, since a round trip cannot tell q, k and v apart."""
    config = PLAIN.image_encoder
    fused = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
    randomise_(fused)
    parameters = {f"transformer.resblocks.0.attn.{name}": value for name, value in fused.state_dict().items()}
    split: dict[str, Tensor] = {}
    for rule in image_encoder_rules(Place("", "open_clip"), config):
        if rule.sources[0] in parameters:
            made = apply_transform(rule.transform, [parameters[rule.sources[0]]], len(rule.targets))
            split |= dict(zip((name.split("self_attn.")[1] for name in rule.targets), made, strict=True))
    ours = ImageEncoder(config).vision_model.encoder.layers[0].self_attn
    ours.load_state_dict(split)
    tokens = torch.randn(2, 5, config.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_close(ours(tokens, tokens), fused(tokens, tokens, tokens, need_weights=False)[0], 1e-5)


def test_transforms_on_tensors_and_back() -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    assert apply_transform("transpose", [matrix], 1)[0][2, 1] == matrix[1, 2]
    pieces = apply_transform("split", [torch.arange(9.0)], 3)
    assert [piece.tolist() for piece in pieces] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert torch.equal(apply_transform("join", pieces, 1)[0], torch.arange(9.0))
    (point,) = apply_transform("unsqueeze", [matrix], 1)
    assert point.shape == (2, 3, 1, 1)
    assert torch.equal(apply_transform("squeeze", [point], 1)[0], matrix)


def test_metadata_settles_what_shapes_cannot_show(tmp_path: Path) -> None:
    networks = random_networks(SMALL)
    tensors = in_layout(networks, SMALL, SGM)
    model = load_model(save_single(tmp_path / "x.safetensors", tensors, {CONFIG_KEY: SMALL.to_json()}))
    assert model.config == SMALL
    assert model.report.layout == "svd_studio"
    _assert_same(model, networks)


def test_a_config_among_the_tensors_counts_as_metadata(tmp_path: Path) -> None:
    """Hosts write their own metadata, so what they save carries the config as bytes."""
    tensors = in_layout(random_networks(SMALL), SMALL, SGM)
    config = torch.frombuffer(bytearray(SMALL.to_json().encode()), dtype=torch.uint8)
    model = load_model(save_single(tmp_path / "x.safetensors", tensors | {CONFIG_KEY: config}))
    assert model.config == SMALL and not model.report.unexpected


def test_weights_are_views_of_the_file(tmp_path: Path, networks: Networks) -> None:
    source = save_single(tmp_path / "svd.safetensors", in_layout(networks, PLAIN, SGM))
    model = load_model(source)
    storages = {
        tensor.untyped_storage().data_ptr()
        for network in (model.unet, model.autoencoder, model.image_encoder)
        for tensor in network.state_dict().values()
        if tensor.nbytes > 32_768
    }
    assert len(storages) == 1
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())
    assert not model.unet.training
    # The mapping is private: writing to a weight must not write to the file.
    before = source.read_bytes()
    with torch.no_grad():
        model.unet.state_dict()["middle_block.0.in_layers.2.weight"].add_(1)
    assert source.read_bytes() == before


def test_unaligned_files_load_too(tmp_path: Path, networks: Networks) -> None:
    source = save_single(tmp_path / "svd.safetensors", in_layout(networks, PLAIN, SGM))
    raw = source.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    source.write_bytes((length + 3).to_bytes(8, "little") + raw[8 : 8 + length] + b"   " + raw[8 + length :])
    _assert_same(load_model(source), networks)


def test_dtype_is_cast_tensor_by_tensor_but_not_the_blend_factors(tmp_path: Path, networks: Networks) -> None:
    source = save_single(tmp_path / "svd.safetensors", in_layout(networks, PLAIN, SGM))
    model = load_model(source, dtype=torch.float16)
    for name, tensor in model.unet.state_dict().items():
        assert tensor.dtype == (torch.float32 if name.endswith("mix_factor") else torch.float16), name
    expected = networks["unet"]["out.2.weight"].half()
    assert torch.equal(model.unet.state_dict()["out.2.weight"], expected)


def test_mixed_files_follow_the_dtype_of_most_bytes(tmp_path: Path, networks: Networks) -> None:
    tensors = in_layout(networks, PLAIN, SGM)
    tensors = {name: tensor if tensor.ndim == 1 else tensor.half() for name, tensor in tensors.items()}
    model = load_model(save_single(tmp_path / "svd.safetensors", tensors))
    assert model.report.dtype == "float16"
    assert model.unet.state_dict()["out.0.weight"].dtype == torch.float16


def test_float8_needs_a_dtype(tmp_path: Path, networks: Networks) -> None:
    tensors = in_layout(networks, PLAIN, SGM)
    source = save_single(tmp_path / "svd.safetensors", {n: t.to(torch.float8_e4m3fn) for n, t in tensors.items()})
    with pytest.raises(InputError, match="which dtype to compute in"):
        load_model(source)
    assert next(load_model(source, dtype=torch.bfloat16).unet.parameters()).dtype == torch.bfloat16


def test_quantised_integers_are_refused(tmp_path: Path, networks: Networks) -> None:
    tensors = in_layout(networks, PLAIN, SGM)
    source = save_single(tmp_path / "svd.safetensors", {name: t.to(torch.int8) for name, t in tensors.items()})
    with pytest.raises(UnsupportedModelError, match="floating point weights"):
        load_model(source)


def test_unet_only_needs_and_takes_a_companion(tmp_path: Path, networks: Networks) -> None:
    tensors = in_layout(networks, PLAIN, DIFFUSERS)
    bare = {name.removeprefix("unet/"): t for name, t in tensors.items() if name.startswith("unet/")}
    unet = save_single(tmp_path / "AnimateLCM-SVD-xt.safetensors", bare)
    with pytest.raises(InputError, match=r"no autoencoder and no image encoder.*companion"):
        load_model(unet)
    folder = save_folder(tmp_path / "folder", tensors, CONFIGS)
    single = save_single(tmp_path / "full.safetensors", in_layout(random_networks(PLAIN, 7), PLAIN, SGM))
    model = load_model(unet, companions=folder)
    _assert_same(model, networks)
    assert model.config.sampling.solver == "animatelcm"
    assert model.config.autoencoder.scale_factor == 0.5
    assert model.report.unexpected == ()
    other = load_model(unet, companions=single)
    assert equal(other.unet.state_dict(), networks["unet"]) == []
    assert equal(other.autoencoder.state_dict(), networks["autoencoder"]) != []
    both = load_model(unet, companions=[folder / "vae", folder / "image_encoder"])
    _assert_same(both, networks)
    assert both.config == model.config


def test_a_companion_of_ours_brings_its_config(tmp_path: Path) -> None:
    networks = random_networks(SMALL)
    tensors = in_layout(networks, SMALL, SGM)
    full = save_single(tmp_path / "full.safetensors", tensors, {CONFIG_KEY: SMALL.to_json()})
    unet = {name: t for name, t in tensors.items() if name.startswith("model.diffusion_model.")}
    model = load_model(save_single(tmp_path / "unet.safetensors", unet), companions=full)
    assert model.config.autoencoder == SMALL.autoencoder
    assert model.config.image_encoder == SMALL.image_encoder


def _two_encoders(networks: Networks) -> dict[str, Tensor]:
    tensors = in_layout(networks, PLAIN, SGM)
    other = random_networks(PLAIN, 5)["autoencoder"]
    return tensors | {f"first_stage_model.{n}": t for n, t in other.items() if n.startswith("encoder.")}


def test_of_two_encoders_the_conditioners_is_used_and_the_difference_reported(
    tmp_path: Path, networks: Networks
) -> None:
    source = save_single(tmp_path / "svd.safetensors", _two_encoders(networks))
    model = load_model(source)
    _assert_same(model, networks)
    assert any("a second encoder" in reason for reason in model.report.dropped)
    assert any("conditioner.embedders.3.encoder. is used" in note for note in model.report.notes)
    assert any("differs by" in note for note in model.report.notes)
    other = load_model(source, encoder="first_stage")
    assert other.autoencoder.quant_conv is None
    weight = "encoder.conv_in.weight"
    assert not torch.equal(other.autoencoder.state_dict()[weight], networks["autoencoder"][weight])


def test_a_strict_load_names_what_does_not_fit(tmp_path: Path, networks: Networks) -> None:
    tensors = in_layout(networks, PLAIN, SGM)
    name = "model.diffusion_model.out.0.weight"
    cases: list[tuple[dict[str, Tensor], str]] = [
        ({k: t for k, t in tensors.items() if k != name}, f"1 missing \\({name}\\)"),
        (tensors | {name: torch.ones(63)}, "1 of another shape.*\\[63\\] instead of \\[64\\]"),
        (tensors | {"model.diffusion_model.extra": torch.ones(3)}, "1 unknown"),
    ]
    for number, (changed, text) in enumerate(cases):
        with pytest.raises(WeightsMismatchError, match=text):
            load_model(save_single(tmp_path / f"svd{number}.safetensors", changed))
    report = load_model(save_single(tmp_path / "s.safetensors", tensors | {"stray": torch.ones(3)})).report
    assert report.unexpected == ("stray",)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_refused_and_named(
    tmp_path: Path, networks: Networks, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = in_layout(networks, PLAIN, SGM)
    name = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    broken = tensors[name].clone()
    broken.view(-1)[1000] = value
    source = save_single(tmp_path / "svd.safetensors", tensors | {name: broken})
    with pytest.raises(NumericsError, match=r"unet\.middle_block\.0\.in_layers\.2\.weight"):
        load_model(source)
    # A file too large to be read whole passes, unless one of its small tensors is broken.
    monkeypatch.setattr(build, "_CHECK_ALL_BYTES", 0)
    model = load_model(source)
    with pytest.raises(NumericsError, match=r"unet\.middle_block\.0\.in_layers\.2\.weight"):
        check_finite(model)
    small = "model.diffusion_model.middle_block.0.in_layers.0.weight"
    with pytest.raises(NumericsError, match=r"in_layers\.0\.weight"):
        load_model(save_single(tmp_path / "b.safetensors", tensors | {small: torch.full((64,), value)}))


def test_layers_come_from_the_given_namespace(tmp_path: Path, networks: Networks) -> None:
    class Linear(nn.Linear):
        pass

    class Namespace:
        Conv2d, Conv3d, GroupNorm, LayerNorm = nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.LayerNorm

    Namespace.Linear = Linear  # type: ignore[attr-defined]
    source = save_single(tmp_path / "svd.safetensors", in_layout(networks, PLAIN, SGM))
    model = load_model(source, operations=Namespace)  # type: ignore[arg-type]
    assert type(model.unet.time_embed[0]) is Linear
    assert type(model.image_encoder.visual_projection) is Linear


def test_foreign_files_and_missing_ones_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="found SV4D in"):
        load_model(sparse_file(tmp_path / "sv4d.safetensors", manifest("sv4d.unet.sgm")))
    lora = {"a.lora_down.weight": (4, 8), "a.lora_up.weight": (8, 4)}
    with pytest.raises(UnsupportedModelError, match="found a LoRA in"):
        load_model(sparse_file(tmp_path / "lora.safetensors", lora))
    with pytest.raises(InputError, match="No such file"):
        load_model(tmp_path / "nothing.safetensors")


def test_impossible_targets_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dtype to compute in"):
        load_model(tmp_path / "x.safetensors", dtype=torch.int8)
    with pytest.raises(InputError, match="a device PyTorch can use"):
        load_model(tmp_path / "x.safetensors", device="warp:0")


def test_old_index_buffers_are_ignored_but_unknown_tensors_of_the_tower_are_not(
    tmp_path: Path, networks: Networks
) -> None:
    tensors = in_layout(networks, PLAIN, DIFFUSERS)
    position_ids = {"image_encoder/vision_model.embeddings.position_ids": torch.zeros(1, 5, dtype=torch.int64)}
    model = load_model(save_folder(tmp_path / "old", tensors | position_ids, CONFIGS))
    assert dict(model.report.dropped) == {"an index or a mask, not a weight": 1}
    tensors = in_layout(networks, PLAIN, SGM)
    extra = {"conditioner.embedders.0.open_clip.model.visual.attn_pool.query": torch.zeros(3)}
    with pytest.raises(WeightsMismatchError, match=r"attn_pool"):
        load_model(save_single(tmp_path / "x.safetensors", tensors | extra))


def test_a_missing_embedded_model_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_ASSETS", tmp_path)
    with pytest.raises(InputError, match="the embedded model"):
        load_model("nano")


def test_the_report_reads_well(tmp_path: Path, networks: Networks) -> None:
    text = load_model(save_single(tmp_path / "svd.safetensors", _two_encoders(networks))).report.summary()
    assert "svd (svd), sgm layout, float32" in text
    assert "dropped" in text
