from __future__ import annotations

import dataclasses

import pytest
from torch import nn

from svd_core.autoencoder.autoencoder import Autoencoder
from svd_core.config import NANO, SV3D_P, SV3D_U, SVD_XT, ImageEncoderConfig, ModelConfig
from svd_core.image_encoder.image_encoder import ImageEncoder
from svd_core.unet.unet import VideoUNet
from svd_core.weights.autoencoder_rows import decoder_rows, encoder_rows
from svd_core.weights.keymaps import Place, Places, Rule, image_encoder_rules, rules_from
from svd_core.weights.unet_rows import unet_rows
from tests.checkpoints import DIFFUSERS, HOST_SAVED, SGM, Shapes, manifest, manifests
from tests.models import SMALL
from tests.tiny import TINY

IMAGE_DECODER = dataclasses.replace(
    SVD_XT,
    autoencoder=dataclasses.replace(SVD_XT.autoencoder, temporal_decoder=False, post_quant_conv=True),
)
SV3D = dataclasses.replace(SGM, encoder=Place("conditioner.embedders.1.encoder.", "sgm"))


def _sources(places: Places, config: ModelConfig) -> Shapes:
    rules = [rule for table in rules_from(places, config).values() for rule in table]
    return {name: shape for rule in rules for name, shape in zip(rule.sources, rule.shapes, strict=True)}


def _targets(places: Places, config: ModelConfig) -> Shapes:
    return {
        f"{part}.{name}": shape
        for part, table in rules_from(places, config).items()
        for rule in table
        for name, shape in zip(rule.targets, rule.target_shapes, strict=True)
    }


# Tensors of the published layouts that no network needs.
UNUSED = (
    "conditioner.embedders.0.open_clip.model.",
    "conditioner.embedders.3.encoder.decoder.",
    "conditioner.embedders.3.encoder.post_quant_conv.",
    "conditioner.embedders.1.encoder.decoder.",
    "conditioner.embedders.1.encoder.post_quant_conv.",
    "first_stage_model.encoder.",
)


@pytest.mark.parametrize(
    ("name", "places", "config"),
    [("svd_xt.sgm", SGM, SVD_XT), ("sv3d_u.sgm", SV3D, SV3D_U), ("sv3d_p.sgm", SV3D, SV3D_P)],
)
def test_original_layout_is_covered_exactly(name: str, places: Places, config: ModelConfig) -> None:
    published, ours = manifest(name), _sources(places, config)
    assert {key: published.get(key) for key in ours} == ours
    left = [key for key in published if key not in ours]
    assert not [key for key in left if not key.startswith(UNUSED)]


def test_host_saved_layout_is_covered_exactly() -> None:
    config = dataclasses.replace(SVD_XT, autoencoder=dataclasses.replace(SVD_XT.autoencoder, quant_conv=False))
    assert _sources(HOST_SAVED, config) == manifest("svd_xt.comfy_saved")


def test_diffusers_layout_is_covered_exactly() -> None:
    published = {
        f"{folder}/{key}": shape
        for folder in ("unet", "vae", "image_encoder")
        for key, shape in manifest(f"svd_xt.diffusers.{folder}").items()
    }
    assert _sources(DIFFUSERS, SVD_XT) == published


def test_image_decoder_layout_is_covered_exactly() -> None:
    first_stage = dataclasses.replace(SGM, encoder=SGM.decoder)
    ours = {k: v for k, v in _sources(first_stage, IMAGE_DECODER).items() if k.startswith("first_stage_model.")}
    assert ours == manifest("svd_image_decoder.first_stage.sgm")


@pytest.mark.parametrize(("part", "name"), [("unet", "svd_xt.rename.unet"), ("autoencoder", "svd_xt.rename.vae")])
def test_names_agree_with_the_measured_rename_tables(part: str, name: str) -> None:
    sgm = {rule.targets: rule.sources[0] for rule in rules_from(SGM, SVD_XT)[part]}
    diffusers = {rule.targets: rule.sources[0].split("/", 1)[1] for rule in rules_from(DIFFUSERS, SVD_XT)[part]}
    assert {sgm[target]: diffusers[target] for target in sgm} == manifests()[name]


@pytest.mark.parametrize("config", [SVD_XT, IMAGE_DECODER, SV3D_P, TINY, SMALL, NANO], ids=lambda config: config.name)
@pytest.mark.parametrize("places", [SGM, HOST_SAVED, DIFFUSERS], ids=["sgm", "host_saved", "diffusers"])
def test_tables_are_bijective_and_end_at_the_networks(config: ModelConfig, places: Places) -> None:
    for part, table in rules_from(places, config).items():
        sources = [name for rule in table for name in rule.sources]
        targets = [name for rule in table for name in rule.targets]
        assert len(set(sources)) == len(sources), part
        assert len(set(targets)) == len(targets), part
        assert all(rule.inverse().inverse() == rule for rule in table)
    # Whatever the layout, the same network tensors of the same shapes come out.
    assert _targets(places, config) == _targets(SGM, config)


@pytest.mark.parametrize("config", [SVD_XT, SV3D_U, SV3D_P, TINY, SMALL, NANO], ids=lambda config: config.name)
def test_rows_are_what_the_networks_have(config: ModelConfig) -> None:
    assert {row.name: row.shape for row in unet_rows(config.unet)} == _state(VideoUNet(config.unet, device="meta"))
    rows = encoder_rows(config.autoencoder) + decoder_rows(config.autoencoder)
    assert {row.name: row.shape for row in rows} == _state(Autoencoder(config.autoencoder, device="meta"))
    rules = image_encoder_rules(Place("", "open_clip"), config.image_encoder)
    tower = {n: s for rule in rules for n, s in zip(rule.targets, rule.target_shapes, strict=True)}
    assert tower == _state(ImageEncoder(config.image_encoder, device="meta"))


def _state(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_odd_unets_expand_too() -> None:
    """Levels, blocks, depth and attention in combinations no preset has, against the network itself."""
    for channels, attention, blocks, depth in [
        ((32, 64), (False, True), 1, 2),
        ((32, 64, 64), (True, False, True), 3, 1),
        ((64,), (True,), 2, 1),
    ]:
        config = dataclasses.replace(
            SMALL.unet, channels=channels, attention=attention, res_blocks=blocks, transformer_depth=depth
        )
        rows = {row.name: row.shape for row in unet_rows(config)}
        assert rows == _state(VideoUNet(config, device="meta"))
        assert len({row.diffusers for row in unet_rows(config)}) == len(rows)


def test_transforms_and_their_shapes() -> None:
    split = Rule(("a",), ("q", "k", "v"), "split", ((6, 4),))
    assert split.target_shapes == ((2, 4),) * 3
    assert split.inverse().target_shapes == ((6, 4),)
    assert Rule(("a",), ("b",), "transpose", ((2, 3),)).target_shapes == ((3, 2),)
    squeezed = Rule(("a",), ("b",), "unsqueeze", ((5, 5),))
    assert squeezed.target_shapes == ((5, 5, 1, 1),)
    assert squeezed.inverse().target_shapes == ((5, 5),)


def test_every_open_clip_tensor_counts_once() -> None:
    config: ImageEncoderConfig = SVD_XT.image_encoder
    rules = image_encoder_rules(Place("", "open_clip"), config)
    assert sum(len(rule.sources) for rule in rules) == 392
    assert sum(len(rule.targets) for rule in rules) == 520
