"""Interpolators on disk and as engines: ours, Framer's layout, what is refused, and the frames that come out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from svd_core.autoencoder.footprint import DecodePlan, decode_bytes
from svd_core.config import InterpolatorConfig
from svd_core.errors import (
    DamagedWeightsError,
    FileFormatError,
    InputError,
    UnsupportedModelError,
    WeightsMismatchError,
)
from svd_core.interpolation import Gap
from svd_core.interpolation.engines import Blend
from svd_core.training.interpolator_clips import held_out
from svd_core.training.interpolator_trials import clip_size
from svd_core.unet.interpolator import VideoInterpolator, blend
from svd_core.weights import inspect, video_engine
from svd_core.weights.build import SvdModel, load_model
from svd_core.weights.fingerprint import latent_fingerprint
from svd_core.weights.keymaps import Place, unet_rules
from svd_core.weights.mapped import apply_transform
from svd_core.weights.save import save_model
from svd_core.weights.video_engine import EMBEDDED_INTERPOLATOR, VideoBetween, engine_of, load_video_engine
from svd_core.weights.video_interpolators import load_interpolator_network, save_interpolator
from tests.models import SMALL, random_model
from tests.tiny import randomise_

UNET = dataclasses.replace(SMALL.unet, in_channels=17)
RESIDUAL = InterpolatorConfig(name="residual", form="residual", unet=UNET)
MASKED = InterpolatorConfig(name="masked", form="masked", unet=UNET)


@pytest.fixture(scope="module")
def base_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "small.safetensors"
    save_model(random_model(SMALL), path)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def base(base_file: Path) -> SvdModel:
    return load_model(base_file)


def _random(config: InterpolatorConfig) -> VideoInterpolator:
    model = VideoInterpolator(config)
    randomise_(model, seed=4)
    return model.eval().requires_grad_(False)


def _saved(config: InterpolatorConfig, base: SvdModel, path: Path, dtype: torch.dtype = torch.float32) -> Path:
    fingerprint = latent_fingerprint(base)
    save_interpolator(_random(config), path, base=fingerprint, metadata={"svd_studio.recipe": "{}"}, dtype=dtype)
    return path


@pytest.mark.parametrize("config", [RESIDUAL, MASKED], ids=["residual", "masked"])
def test_round_trip(config: InterpolatorConfig, base: SvdModel, tmp_path: Path) -> None:
    path = _saved(config, base, tmp_path / "own.safetensors")
    stored = load_interpolator_network(path)
    assert stored.model.config == config and stored.base == latent_fingerprint(base)
    expected = _random(config).state_dict()
    assert stored.model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in stored.model.state_dict().items())
    assert "svd_studio.recipe" in stored.metadata
    facts = inspect(path)
    assert (facts["kind"], facts["family"]) == ("other", "interpolator")
    with pytest.raises(UnsupportedModelError, match=r"frame interpolator.*--engine svd:"):
        load_model(path)


def test_the_fingerprint_survives_half_precision(base_file: Path, base: SvdModel) -> None:
    half = load_model(base_file, dtype=torch.float16)
    assert latent_fingerprint(half) == latent_fingerprint(base)


def _framer(folder: Path, *, token: bool = True, leave_out: str = "") -> VideoInterpolator:
    """A UNet folder in diffusers' names with Framer's token, 14 frames and no mask channel."""
    unet = dataclasses.replace(SMALL.unet, in_channels=16, channels=(64, 64), head_channels=64, norm_groups=32)
    config = InterpolatorConfig(name="framer", form="masked", unet=unet, frames=14, mask_channel=False)
    model = _random(config)
    state = model.unet.state_dict()
    tensors: dict[str, Tensor] = {}
    for rule in unet_rules(Place("", "diffusers"), unet):
        back = rule.inverse()
        made = apply_transform(back.transform, [state[name] for name in back.sources], len(back.targets))
        tensors |= {name: value.contiguous().clone() for name, value in zip(back.targets, made, strict=True)}
    if token:
        assert model.mask_token is not None
        tensors["mask_token"] = model.mask_token.detach().reshape(1, 1, -1, 1, 1)
    tensors.pop(leave_out, None)
    (folder / "unet").mkdir(parents=True)
    save_file(tensors, folder / "unet" / "diffusion_pytorch_model.safetensors")
    heads = {"num_attention_heads": 1, "addition_time_embed_dim": unet.vector[0].width}
    (folder / "unet" / "config.json").write_text(json.dumps(heads), encoding="utf-8")
    return model


def test_framers_layout(tmp_path: Path) -> None:
    model = _framer(tmp_path / "framer")
    stored = load_interpolator_network(tmp_path / "framer")
    assert stored.model.config == model.config and stored.base is None
    assert torch.equal(stored.model.state_dict()["mask_token"], model.state_dict()["mask_token"])
    expected = model.unet.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in stored.model.unet.state_dict().items())
    assert inspect(tmp_path / "framer")["family"] == "interpolator"


def test_foreign_files_are_refused(tmp_path: Path, base_file: Path, base: SvdModel) -> None:
    _framer(tmp_path / "plain", token=False)
    for path in (tmp_path / "plain", base_file):
        with pytest.raises(UnsupportedModelError, match="a video frame interpolator"):
            load_interpolator_network(path)
    _framer(tmp_path / "broken", leave_out="conv_out.bias")
    with pytest.raises(WeightsMismatchError, match=r"1 missing or misshapen.*conv_out.bias"):
        load_interpolator_network(tmp_path / "broken")
    with pytest.raises(InputError, match="an interpolator"):
        load_video_engine(tmp_path / "none.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    told = {"svd_studio.interpolator": json.dumps({"config": {"name": "x"}, "base": ""})}
    save_file({"video_interpolator.x": torch.zeros(1)}, damaged, told)
    with pytest.raises(FileFormatError, match="an interpolator's config"):
        load_interpolator_network(damaged)
    whole = _saved(RESIDUAL, base, tmp_path / "own.safetensors")
    told = json.loads(load_interpolator_network(whole).metadata["svd_studio.interpolator"])
    for name, value in (
        ("out_channels", "x"),
        ("head_channels", 0),
        ("head_channels", -1),
        ("transformer_depth", None),
    ):
        bent = {**told["config"], "unet": {**told["config"]["unet"], name: value}}
        save_file(load_file(whole), damaged, {"svd_studio.interpolator": json.dumps({**told, "config": bent})})
        with pytest.raises(FileFormatError, match="an interpolator's config"):
            load_interpolator_network(damaged)
    poisoned = _random(RESIDUAL)
    poisoned.unet.out[2].bias.data[0] = float("nan")  # type: ignore[union-attr]
    save_interpolator(poisoned, damaged, base="", metadata={}, dtype=torch.float32)
    with pytest.raises(DamagedWeightsError, match=r"NaN or infinity in unet.out.2.bias"):
        load_interpolator_network(damaged)


def test_another_base_is_refused_with_a_sentence(base: SvdModel, tmp_path: Path) -> None:
    path = _saved(RESIDUAL, base, tmp_path / "own.safetensors")
    save_model(random_model(SMALL, seed=9), tmp_path / "other.safetensors")  # type: ignore[arg-type]
    with pytest.raises(WeightsMismatchError, match=r"the model own.safetensors was trained on.*svd train interpolator"):
        load_video_engine(path, base=tmp_path / "other.safetensors")
    assert load_video_engine(path, base=base).name == "svd:own"


def _frames(height: int = 24, width: int = 32, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    first, second = torch.rand(2, height, width, channels, generator=generator)
    return first, second


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_engine_that_adds_nothing_fades(base: SvdModel, tmp_path: Path, channels: int) -> None:
    """Any size, grey and alpha: with a silent network every frame is the cross-fade of what is seen of the frames."""
    silent = _random(RESIDUAL)
    for parameter in silent.unet.out[2].parameters():
        parameter.data.zero_()
    path = tmp_path / "silent.safetensors"
    save_interpolator(silent, path, base=latent_fingerprint(base), metadata={}, dtype=torch.float32)
    first, second = _frames(21, 37, channels)
    times = (0.25, 0.5, 0.5625, 0.75)
    made = list(load_video_engine(path, base=base).between([Gap(first, second, times)]))
    for time, frame in zip(times, made, strict=True):
        assert frame.shape == first.shape
        (faded,) = Blend().between([Gap(first, second, (time,))])
        assert torch.allclose(frame, faded, atol=1e-5)


def test_an_engine_adds_what_the_network_says(base: SvdModel, tmp_path: Path) -> None:
    path = _saved(RESIDUAL, base, tmp_path / "own.safetensors")
    engine = load_video_engine(path, base=base)
    first, second = _frames()
    made = list(engine.between([Gap(first, second, (0.25, 0.5, 0.75))]))
    with torch.no_grad():
        pictures = torch.stack([first, second]).permute(0, 3, 1, 2) * 2 - 1
        keys = base.autoencoder.encode(pictures) * SMALL.autoencoder.scale_factor
        latents = VideoBetween(network=_random(RESIDUAL), base=base).latents(pictures[None])
        assert torch.allclose(latents[0, [0, -1]], keys, atol=1e-6)
        faded = torch.stack([torch.lerp(keys[0], keys[1], part) for part in (0.0, 0.25, 0.5, 0.75, 1.0)])
        factor = SMALL.autoencoder.scale_factor
        change = base.autoencoder.decode(latents[0] / factor, 5) - base.autoencoder.decode(faded / factor, 5)
    for index, frame in enumerate(made, start=1):
        expected = torch.lerp(first, second, index / 4) + change[index].permute(1, 2, 0) / 2
        assert torch.allclose(frame, expected.clamp(0, 1), atol=1e-5)
        assert not torch.allclose(frame, torch.lerp(first, second, index / 4), atol=1e-2)
    # Twice applied: a sixteenth is a quarter of the first quarter.
    (inner,) = engine.between([Gap(first, made[0], (0.25,))])
    (sixteenth,) = engine.between([Gap(first, second, (1 / 16,))])
    assert torch.equal(inner, sixteenth)
    (same,) = engine.between([Gap(first, first, (0.5,))])
    assert torch.allclose(same, first, atol=1e-6)


@pytest.mark.parametrize("config", [RESIDUAL, MASKED], ids=["residual", "masked"])
def test_half_precision_changes_rounding_only(config: InterpolatorConfig, base_file: Path, tmp_path: Path) -> None:
    path = _saved(config, load_model(base_file), tmp_path / "own.safetensors")
    gap = Gap(*_frames(), (0.5,))
    (exact,), (rounded,) = (
        load_video_engine(path, base=base_file, dtype=dtype).between([gap]) for dtype in (torch.float32, torch.bfloat16)
    )
    assert rounded.dtype == torch.float32
    assert float((rounded - exact).abs().mean()) < 0.02 < float((exact - gap.first).abs().mean())


def test_the_masked_form_samples_from_its_seed(base: SvdModel) -> None:
    pictures = torch.stack(_frames()).permute(0, 3, 1, 2)[None] * 2 - 1
    first, again, other = (
        VideoBetween(network=_random(MASKED), base=base, steps=2, seed=seed).latents(pictures) for seed in (1, 1, 2)
    )
    assert first.shape == (1, 5, 8, 6, 8) and torch.equal(first, again)
    keys = torch.cat([base.autoencoder.encode(picture) for picture in pictures[0].split(1)])
    assert torch.equal(first[0, [0, -1]], keys * SMALL.autoencoder.scale_factor)
    assert not torch.allclose(first[:, 1:-1], other[:, 1:-1], atol=1e-2)
    with pytest.raises(InputError, match="`steps` of at least 1; found 0"):
        VideoBetween(network=_random(MASKED), base=base, steps=0)


def test_large_pictures_are_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for one frame, or for less: one frame at a time, one picture encoded at a time, all but the same pixels."""
    nano = load_model("nano", dtype=torch.float32)
    between = VideoBetween(network=load_interpolator_network(EMBEDDED_INTERPOLATOR).model, base=nano)
    pixels = held_out(3, 1, "fast", clip_size(between)).pixels
    height, width = pixels.shape[-2:]
    pair = (pixels[0, [0, -1]].movedim(1, -1) + 1) / 2
    fed: list[int] = []

    def counted(module: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
        fed.append(len(given[0]))

    nano.autoencoder.decoder.conv_in.register_forward_pre_hook(counted)
    encoded: list[int] = []
    nano.autoencoder.encoder.register_forward_pre_hook(lambda _, given: encoded.append(len(given[0])))
    whole = between(pair[0], pair[1])
    assert fed == [5, 5] and encoded == [1, 1], "the clip with the change, and the plain fade"

    cell = nano.config.autoencoder.downsampling
    one = decode_bytes(
        nano.config.autoencoder, chunk=1, tile=None, height=height // cell, width=width // cell, bytes_per_value=4
    )
    weights = sum(
        value.nbytes for part in (between.network, nano.autoencoder, nano.image_encoder) for value in part.parameters()
    )
    for room, tile in ((one, None), (one - 1, 48)):
        monkeypatch.setattr(video_engine, "usable_bytes", lambda _, room=room: weights + room)
        assert between.decode_plan(5, height // cell, width // cell) == DecodePlan(chunk=1, tile=tile)
    fed.clear()
    parts = between(pair[0], pair[1])
    assert set(fed) == {1} and len(fed) == 20, "measured once, decoded once"
    added = [frame - torch.lerp(pair[0], pair[1], index / 4) for index, frame in enumerate(whole, start=1)]
    apart = [one - other for one, other in zip(whole, parts, strict=True)]
    assert 0 < float(torch.stack(apart).norm() / torch.stack(added).norm()) < 0.02
    assert not between.notices


def test_memory_that_runs_out_is_mended_for_both_clips(base: SvdModel, monkeypatch: pytest.MonkeyPatch) -> None:
    between, plans = VideoBetween(network=_random(RESIDUAL), base=base), list[int]()
    stream = video_engine.stream_clip

    def fails_once(*given: object, **named: object) -> object:
        plans.append(named["chunk"])  # type: ignore[arg-type]
        if len(plans) == 2:
            raise RuntimeError("CUDA out of memory")
        return stream(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(video_engine, "stream_clip", fails_once)
    frames = between(*_frames())
    assert plans == [5, 5, 1, 1] and len(frames) == 3
    assert "Memory ran out while decoding" in between.notices[0]
    assert engine_of(between, "own").notices is between.notices


def test_work_can_be_ended_between_the_calls_of_the_networks(base: SvdModel) -> None:
    calls: list[int] = []

    def stop() -> None:
        calls.append(len(calls))
        if len(calls) == 8:
            raise KeyboardInterrupt

    between = VideoBetween(network=_random(MASKED), base=base, on_work=stop)
    with pytest.raises(KeyboardInterrupt):
        between(*_frames())
    assert len(calls) == 8


@pytest.mark.skipif(not EMBEDDED_INTERPOLATOR.is_file(), reason="no interpolator is shipped")
def test_the_shipped_one_is_the_embedded_models() -> None:
    """It loads on today's nano, is small, and beats the fade on fast clips of a fixed seed, in decoded space."""
    assert EMBEDDED_INTERPOLATOR.stat().st_size < 8e6
    assert load_video_engine().name == "svd:nano_interpolator"
    stored, nano = load_interpolator_network(EMBEDDED_INTERPOLATOR), load_model("nano", dtype=torch.float32)
    between = VideoBetween(network=stored.model, base=nano)
    clips = held_out(12, 8, "fast", clip_size(between)).pixels
    with torch.no_grad():
        made = between.latents(clips[:, [0, -1]])
        true = nano.autoencoder.encode(clips.flatten(0, 1)).unflatten(0, (-1, 5))
        fade = blend(made[:, 0], made[:, -1], 5)
        errors = [(between.decode(latents) - between.decode(true))[:, 1:-1].square().mean() for latents in (made, fade)]
    assert float(10 * torch.log10(errors[1] / errors[0])) > 0.5
