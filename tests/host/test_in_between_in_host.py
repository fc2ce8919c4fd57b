"""SVD In-Between on both kinds of MODEL, and chains that were stopped."""

from __future__ import annotations

from typing import Any

import pytest

LIMIT = 1e-5


@pytest.fixture(scope="module")
def results(in_host: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return in_host["in_between"]


@pytest.mark.parametrize("variant", ["vibid", "mpd", "trf", "guided", "flow start", "loop"])
def test_the_node_makes_what_the_command_line_makes(results: dict[str, Any], variant: str) -> None:
    found = results["ours"][variant]
    assert found["latents"] <= LIMIT and found["frames"] <= LIMIT, found
    if variant not in ("vibid", "loop"):
        assert found["effect"] > 1e-2, "the variant is the plain clip: nothing was tested"


def test_the_host_s_own_model_samples_as_svd_core_does(results: dict[str, Any]) -> None:
    for method, found in results["hosts"].items():
        assert found <= LIMIT, f"{method}: relative difference {found:.1e}"


def test_a_stopped_chain_goes_on(results: dict[str, Any]) -> None:
    chain = results["chain"]
    assert chain["stopped"], "cancelling took no effect"
    assert chain["kept"] == 1 and "1 of 2 gaps" in chain["summary"]
    assert chain["same"], "the second run made another clip"
    assert not chain["left"], "finished gaps were left in the output folder"


def test_a_chain_shows_every_picture_once(results: dict[str, Any]) -> None:
    assert results["chain"]["frames"] == 7 and all(results["chain"]["ends"])


def test_gaps_of_another_model_are_not_taken(results: dict[str, Any]) -> None:
    assert results["chain"]["told apart"]
    assert results["chain"]["facts"] == [
        "decode_chunk", "framing", "height", "keep_ends", "loop", "seed", "size", "width",
    ]  # fmt: skip


def test_a_camera_on_the_model_is_refused(results: dict[str, Any]) -> None:
    assert "without a camera" in results["camera"]
