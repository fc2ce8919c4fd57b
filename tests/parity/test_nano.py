"""The embedded model keeps what its card promises, on worlds it never saw."""

from __future__ import annotations

import time

import pytest
import torch

from svd_core import load_model
from svd_core.training.evaluation import Scores, animate, evaluate, held_out
from svd_core.weights.build import SvdModel

_MEGABYTES = 40


@pytest.fixture(scope="module")
def model() -> SvdModel:
    return load_model("nano", dtype=torch.float32)


def _check(scores: Scores) -> None:
    found = scores.to_json()
    assert scores.reconstruction >= 26, f"reconstruction {scores.reconstruction:.2f} dB, at least 26"
    assert scores.first_frame >= 24.5, f"first frame {scores.first_frame:.2f} dB, at least 24.5"
    loss = scores.reconstruction - scores.first_frame
    assert loss <= 1.5, f"first frame {loss:.2f} dB below the reconstruction, at most 1.5"
    assert scores.rank_correlation >= 0.95, found
    assert scores.flow_ratio >= 2, found
    assert scores.worst_blowup <= 1.5, f"a last frame has {scores.worst_blowup:.2f} times the first's contrast"


def test_a_sample_of_the_scores(model: SvdModel) -> None:
    scores, _ = evaluate(model, clips=8, buckets=(1.0, 90.0, 255.0))
    _check(scores)


@pytest.mark.slow
def test_the_scores(model: SvdModel) -> None:
    scores, _ = evaluate(model, clips=64)
    _check(scores)


def test_one_default_clip_takes_seconds(model: SvdModel) -> None:
    sampling = model.config.sampling
    picture = held_out(1, sampling).pixels[:, 0]
    started = time.process_time()
    clip = animate(model, picture, sampling, float(sampling.motion_bucket))
    seconds = time.process_time() - started
    assert clip.shape == (1, sampling.frames, 3, sampling.height, sampling.width)
    assert seconds <= 20, f"{seconds:.1f} processor seconds for a clip, at most 20 (10 on two cores)"


def test_the_file_is_small_and_carries_its_recipe() -> None:
    from svd_core.weights.build import _ASSETS
    from svd_core.weights.reader import read_header

    path = _ASSETS / "nano.safetensors"
    assert path.stat().st_size <= _MEGABYTES * 1e6
    metadata = read_header(path).metadata
    assert {"svd_studio.config", "svd_studio.scores", "svd_studio.recipe"} <= set(metadata)
