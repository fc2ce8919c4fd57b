"""Our sampler and decoder on what the host itself loads."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def results(in_host: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return in_host["rooms"]


def test_clips_stay_apart_on_the_host_s_own_model(results: dict[str, Any]) -> None:
    assert results["two clips"] <= 1e-5, f"{results['two clips']:.1e} from single runs"
    assert results["apart"] > 0.1, "both clips are the same: nothing was tested"


def test_the_host_s_own_model_samples_as_the_pipeline_does(results: dict[str, Any]) -> None:
    assert results["pipeline"] <= 1e-4, f"relative difference {results['pipeline']:.1e}, limit 1e-4"


def test_an_orbit_is_the_same_on_the_host_s_own_model_and_on_ours(results: dict[str, Any]) -> None:
    orbit = results["orbit"]
    assert orbit["difference"] <= 1e-4, f"relative difference {orbit['difference']:.1e}, limit 1e-4"
    assert orbit["effect"] > 1e-2, "another path gives the same views: nothing was tested"


def test_the_host_s_own_decoder_gives_its_own_frames(results: dict[str, Any]) -> None:
    assert results["whole"] <= 1e-5, f"relative difference {results['whole']:.1e}, limit 1e-5"


def test_overlap_hides_the_seams_of_the_host_s_decoder(results: dict[str, Any]) -> None:
    assert results["faded chunks"] < results["hard chunks"], results
    assert results["tiles"] > 0
    assert "no temporal decoder" not in results["report"]


def test_every_step_reports_and_shows_a_frame(results: dict[str, Any]) -> None:
    """In the colours the model's latents have: green is all bias here."""
    assert results["previews"] == [[done, 4, "JPEG", 255] for done in (1, 2, 3, 4)]
