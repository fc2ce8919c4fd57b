"""The host's LATENT and everything on it for models of other resolutions, cells and channels than the embedded one."""

from __future__ import annotations

from typing import Any

import pytest

from svd_core.config import ModelConfig
from tests.sizes import SIZES

# Rounding through a random network; another seed is as far away as 1.
LIMIT = 5e-5


@pytest.fixture(params=SIZES.values(), ids=SIZES.keys())
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return request.param


@pytest.fixture
def found(in_host: dict[str, dict[str, Any]], config: ModelConfig) -> dict[str, Any]:
    return in_host["sizes"][config.name]


@pytest.fixture
def latent(config: ModelConfig) -> list[int]:
    cell, sampling = config.autoencoder.downsampling, config.sampling
    grid = [sampling.height // cell, sampling.width // cell]
    return [sampling.frames, config.autoencoder.latent_channels, *grid]


@pytest.fixture
def frames(config: ModelConfig) -> list[int]:
    sampling = config.sampling
    return [sampling.frames, sampling.height, sampling.width, 3]


def test_our_nodes_make_what_svd_core_makes(found: dict[str, Any], latent: list[int], frames: list[int]) -> None:
    assert found["latent"] == latent
    assert found["pipeline"] <= LIMIT, f"relative difference {found['pipeline']:.1e}"
    assert found["frames"] == found["tiled"] == frames


def test_the_hosts_own_nodes_take_it(found: dict[str, Any], latent: list[int], frames: list[int]) -> None:
    hosts = found["hosts"]
    assert hosts["latent"] == hosts["encoded"] == latent
    assert hosts["empty of four channels"] == 0
    assert hosts["frames"] == hosts["tiled"] == frames


def test_it_is_previewed(found: dict[str, Any], latent: list[int]) -> None:
    assert found["preview"] == [latent[3], latent[2]]
    assert found["ours to the page"] == [latent[0], latent[2], latent[3], 3]


def test_in_between_camera_and_interpolator_work_on_it(found: dict[str, Any], frames: list[int]) -> None:
    assert found["between"] == frames
    assert found["camera"]["lora"] > 1e-3 and found["camera"]["moved"] > 1e-3, found["camera"]
    assert found["interpolated"] == [frames[1] - 3, frames[2] - 5, 3]
