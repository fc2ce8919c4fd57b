"""Models of other resolutions, cells, channels and widths, end to end: trained, written, read, run, extended."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from svd_core.camera.adapter import Placed, attach
from svd_core.config import ModelConfig
from svd_core.in_betweening.run import in_between
from svd_core.pipeline import animate, animate_latents, decode_latents
from svd_core.settings import AnimateSettings
from svd_core.training import interpolator_loop
from svd_core.training import nano as nano_module
from svd_core.training import stages as stages_module
from svd_core.training.camera import CameraTrainOptions, train_camera
from svd_core.training.camera_sources import SourceChoice
from svd_core.training.diffusion import NoiseLaw
from svd_core.training.export import export
from svd_core.training.interpolator import InterpolatorOptions, train_interpolator
from svd_core.training.interpolator_loop import RECIPE
from svd_core.training.nano import TrainOptions, train_nano
from svd_core.training.networks import start
from svd_core.training.stages import STAGES
from svd_core.video_io import read_clip
from svd_core.weights.build import load_model
from svd_core.weights.video_engine import VideoBetween, load_video_engine
from svd_core.weights.video_interpolators import load_interpolator_network
from tests.command_line import picture, run_here
from tests.deltas import random_lora
from tests.models import Networks, random_model
from tests.sizes import SIZES
from tests.tolerances import relative_l2
from tests.training_toys import draw_few_worlds, toy_stages

_SHORT = toy_stages(1)


@pytest.fixture(params=SIZES.values(), ids=SIZES.keys())
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return request.param


@pytest.fixture
def model(config: ModelConfig) -> Networks:
    return random_model(config)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_few_worlds(monkeypatch)
    for module, name, value in (
        (interpolator_loop, "_CHUNK", 2),
        (interpolator_loop, "_MOST_ERROR", float("inf")),
        (nano_module, "STAGES", _SHORT),
        (stages_module, "STAGES", _SHORT),
    ):
        monkeypatch.setattr(module, name, value)


def _pictures(config: ModelConfig, count: int) -> list[Tensor]:
    """Smooth ones at the model's size."""
    height, width = config.sampling.height, config.sampling.width
    noise = torch.rand(count, 3, height // 6, width // 6, generator=torch.Generator().manual_seed(3))
    return list(torch.nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1).movedim(1, -1))


def test_a_recipe_run_gives_a_file_that_animates(
    config: ModelConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    result = train_nano(TrainOptions(out=out, steps=len(STAGES), config=config, scored_clips=2))
    assert load_model(result.model).config == config
    told = run_here(capsys, "inspect", result.model, "--json")
    assert told.code == 0, told.err
    inside = json.loads(told.out)["config"]
    latent, sampling = config.autoencoder.latent_channels, config.sampling
    assert inside["autoencoder"]["latent_channels"] == latent and inside["sampling"]["width"] == sampling.width
    clip = tmp_path / "frames"
    made = run_here(capsys, "animate", picture(tmp_path / "cat.png"), "-o", clip, "--model", result.model)
    assert made.code == 0, made.err
    assert read_clip(clip).pixels.shape == (sampling.frames, sampling.height, sampling.width, 3)


def test_latents_have_the_models_cells_and_channels(config: ModelConfig, model: Networks) -> None:
    latents, _ = animate_latents(model, _pictures(config, 1), AnimateSettings(seed=4))
    sampling, described = config.sampling, config.autoencoder
    cell = described.downsampling
    grid = (sampling.height // cell, sampling.width // cell)
    assert latents.shape == (1, sampling.frames, described.latent_channels, *grid)
    whole, tiled = (decode_latents(model, latents, tile=tile)[0] for tile in (None, max(grid)))
    assert torch.equal(whole, tiled), "a tile as large as the frame is the frame"
    assert decode_latents(model, latents, tile=max(grid) // 2)[0].shape == whole.shape


def test_a_clip_between_pictures_ends_in_them(config: ModelConfig, model: Networks) -> None:
    first, second = _pictures(config, 2)
    clip = in_between(model, [first, second], flow_start=1.0)
    assert torch.equal(clip.pixels[0], first) and torch.equal(clip.pixels[-1], second)


def test_a_camera_moves_with_a_lora_and_without(config: ModelConfig, model: Networks) -> None:
    (source,) = _pictures(config, 1)
    plain = animate(model, source, seed=2)
    adapter = attach(model.unet, [Placed(random_lora(model.unet, 5), 1.0)])
    try:
        turned = animate(model, source, seed=2)
    finally:
        adapter.detach()
    moved = animate(model, source, seed=2, camera=["pan_left:20"])
    for clip in (turned, moved):
        assert clip.pixels.shape == plain.pixels.shape
        assert relative_l2(clip.pixels, plain.pixels) > 1e-3


@pytest.mark.parametrize("config", [SIZES["f4c4"], SIZES["f8c8"]], ids=["f4c4", "f8c8"], indirect=True)
def test_a_camera_lora_is_trained_on_it(config: ModelConfig, tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    export(start(config, seed=2), base, {})
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for index in range(9):
        picture(photographs / f"{index}.png", width=200, height=160, seed=index)
    changes: dict[str, Any] = {"steps": 1, "rank": 2, "trials": 1, "batch": 2}
    source = SourceChoice(images=photographs, clips_drawn=2, per_group=2)
    options = CameraTrainOptions(out=tmp_path / "lora", preset="pan_left", source=source, **changes)
    result = train_camera(options, model=load_model(base))
    assert result.lora.is_file()


def test_an_interpolator_is_trained_on_it_and_used(config: ModelConfig, tmp_path: Path) -> None:
    longer = dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, frames=9))
    base = tmp_path / "base.safetensors"
    export(start(longer, seed=2), base, {})
    stage = dataclasses.replace(RECIPE["residual"], steps=1, batch=2, refresh=1, window=(1, 2))
    result = train_interpolator(InterpolatorOptions(out=tmp_path / "run", model=base, stage=stage, scored_clips=1))
    stored = load_interpolator_network(result.model).model
    assert stored.config.latent_channels == config.autoencoder.latent_channels
    between = VideoBetween(network=stored, base=load_model(base))
    first, second = _pictures(config, 2)
    made = between(first[:-5, :-3], second[:-5, :-3])
    assert [frame.shape for frame in made] == [first[:-5, :-3].shape] * 3, "frames off the grid keep their size"
    assert load_video_engine(result.model, base=base).name.startswith("svd:")


@pytest.mark.parametrize(("cells", "factor"), [(64, 1.0), (256, 2.0), (144, 1.5)])
def test_larger_latents_are_trained_on_more_noise(cells: int, factor: float) -> None:
    """The same structure is hidden in them by `factor` times the noise."""
    law = NoiseLaw(mean=0.8, deviation=1.2)
    shifted = law.for_cells(cells)
    assert torch.tensor(shifted.mean - law.mean).exp().item() == pytest.approx(factor)
    assert dataclasses.replace(shifted, mean=law.mean) == law
    assert (shifted == law) == (cells == 64)
