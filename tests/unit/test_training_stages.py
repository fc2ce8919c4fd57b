"""The recipe's stages: rates, windows, which parameters move."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from svd_core.config import NANO
from svd_core.errors import InputError
from svd_core.operations import TORCH
from svd_core.training.fast_layers import FAST_LAYERS
from svd_core.training.networks import Average, Networks, start
from svd_core.training.stages import STAGES, StageName, chosen, scaled, trained

_NETWORKS = start(NANO, seed=1)


def test_rate_rises_stays_and_falls() -> None:
    stage = next(stage for stage in STAGES if stage.name == "video")
    rates = [stage.rate(step) for step in range(stage.steps)]
    assert rates[0] < rates[stage.warmup] == stage.learning_rate
    assert rates[-1] == pytest.approx(stage.learning_rate / 20, rel=0.2)
    assert all(
        later <= earlier for earlier, later in zip(rates[stage.warmup :], rates[stage.warmup + 1 :], strict=False)
    )


def test_window_slides_and_never_starts_below_zero() -> None:
    stage = dataclasses.replace(STAGES[1], window=(3, 5), refresh=10)
    assert [stage.chunks(step) for step in (0, 10, 20, 40)] == [(0, 3), (0, 4), (0, 5), (2, 7)]


def test_scaling_keeps_every_stage() -> None:
    assert all(stage.steps >= 1 for stage in scaled(len(STAGES)))
    assert sum(stage.steps for stage in scaled(1000)) == pytest.approx(1000, abs=len(STAGES))
    with pytest.raises(InputError, match="at least"):
        scaled(2)


def test_stages_are_chosen_by_name_in_the_recipes_order() -> None:
    assert [stage.name for stage in chosen(("video", "camera"))] == ["camera", "video"]
    assert chosen(None) == STAGES
    assert [stage.steps for stage in scaled(10, chosen(("temporal",)))] == [10]
    for names in (("vidoe",), ()):
        with pytest.raises(InputError, match="short_video"):
            chosen(names)


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_every_stage_trains_something_and_only_its_part(stage: StageName) -> None:
    names = [name for name, _ in trained(_NETWORKS, stage)]
    assert names
    marks = ("time_stack", "time_mixer", "time_pos_embed", "time_mix_conv", "mix_factor")
    temporal = [name for name in names if any(mark in name for mark in marks)]
    parts = {name.split(".")[0] for name in names}
    expected = {
        "autoencoder": ({"autoencoder"}, False),
        "images": ({"unet", "image_encoder"}, False),
        "temporal": ({"unet"}, True),
        "short_video": ({"unet", "image_encoder"}, None),
        "camera": ({"unet", "image_encoder", "motion_head"}, None),
        "video": ({"unet", "image_encoder", "motion_head"}, None),
        "temporal_decoder": ({"autoencoder"}, True),
    }[stage]
    assert parts == expected[0]
    if expected[1] is not None:
        assert bool(temporal) is expected[1] and (not temporal or len(temporal) == len(names))


def test_all_stages_together_train_every_parameter_that_acts() -> None:
    covered = {name for stage in STAGES for name, _ in trained(_NETWORKS, stage.name)}
    assert covered == {name for name, _ in _NETWORKS.named_parameters()}


def _inputs(frames: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(2)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return draw(2 * frames, 16, 8, 8), draw(2), draw(2, 1, 128), draw(2, 192)


@torch.no_grad()
def test_a_fresh_video_model_is_the_image_model() -> None:
    frames = 3
    networks = start(NANO, seed=2)
    torch.nn.init.normal_(networks.unet.out[2].weight)  # the silent output would prove nothing
    for name, parameter in networks.unet.named_parameters():
        if "proj_out.weight" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    x, noise, context, vector = _inputs(frames)
    video = networks.unet(x, noise, context, vector, frames)
    images = networks.unet(x, noise, context, vector, frames, image_only=torch.ones(2, frames, dtype=torch.bool))
    assert images.abs().max() > 0.1
    assert torch.allclose(video, images, atol=1e-5), f"difference {(video - images).abs().max():.1e}"


@torch.no_grad()
def test_fast_layers_compute_the_same() -> None:
    frames = 3
    plain, fast = Networks(NANO, TORCH), Networks(NANO, FAST_LAYERS)
    fast.load_state_dict(plain.state_dict())
    inputs = _inputs(frames)
    expected, found = plain.unet(*inputs, frames), fast.unet(*inputs, frames)
    assert torch.allclose(found, expected, atol=1e-5), f"difference {(found - expected).abs().max():.1e}"
    latents = torch.randn(3, 8, 4, 4, generator=torch.Generator().manual_seed(3))
    expected, found = plain.autoencoder.decode(latents, 3), fast.autoencoder.decode(latents, 3)
    assert torch.allclose(found, expected, atol=1e-5), f"difference {(found - expected).abs().max():.1e}"


def test_average_has_a_short_memory_at_first() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    average = Average({"a": torch.zeros(1)}, decay=0.999)
    average.update({"a": parameter})
    assert float(average.values["a"]) > 0.5
    average.adopt({"a": parameter})
    assert torch.equal(parameter.detach(), average.values["a"])
