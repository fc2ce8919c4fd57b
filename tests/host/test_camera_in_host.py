"""The camera on MODELs: ours and the host's alike, beside everything else that may be on them, and gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest

MODELS = ("ours", "theirs")


@pytest.fixture(scope="module")
def results(in_host: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return in_host["camera"]


def test_acts_on_both_networks_alike(results: dict[str, Any]) -> None:
    assert len(results["networks"]) == 4
    for case, (difference, effect) in results["networks"].items():
        assert difference <= 1e-4, f"{case}: relative difference {difference:.1e}, limit 1e-4"
        assert effect > 1e-2, f"{case}: the camera changes {effect:.1e} only"


def test_acts_the_same_beside_other_nodes_patches(results: dict[str, Any]) -> None:
    for patch, difference in results["paths"].items():
        assert difference <= 1e-5, f"{patch}: relative difference {difference:.1e}, limit 1e-5"


@pytest.mark.parametrize("model", MODELS)
def test_strength_zero_is_bit_equal(results: dict[str, Any], model: str) -> None:
    assert results[model]["zero"]


@pytest.mark.parametrize("model", MODELS)
def test_no_residue(results: dict[str, Any], model: str) -> None:
    found = results[model]["residue"]
    assert found.pop("stacked is doubled") <= 1e-4
    assert found.pop("stacked is another") > 1e-2
    assert all(found.values()), found


@pytest.mark.parametrize("model", MODELS)
def test_strengths_are_made_for_each_clip(results: dict[str, Any], model: str) -> None:
    found = results[model]["lengths"]
    assert [tuple(entry) for entry in found["asked"]] == [(4, 8.0), (6, 8.0), (4, 8.0), (4, 16.0)]
    assert found["again"] and found["fixed"]
    assert found["faster"] > 1e-3


@pytest.mark.parametrize("model", MODELS)
def test_step_ranges(results: dict[str, Any], model: str) -> None:
    found = results[model]["steps"]
    assert found["halves"] <= 1e-6, f"two halves of the steps differ from the whole by {found['halves']:.1e}"
    assert min(found["early"], found["late"]) > 1e-3


@pytest.mark.parametrize("model", MODELS)
def test_runtime_equals_baked_beside_another_lora(results: dict[str, Any], model: str) -> None:
    found = results[model]["weights"]
    assert found["baked"] <= 1e-5, f"relative difference {found['baked']:.1e}, limit 1e-5"
    assert min(found["camera"], found["other"]) > 1e-2, "one of the LoRAs does nothing"


@pytest.mark.parametrize("model", MODELS)
def test_partial_load(results: dict[str, Any], model: str) -> None:
    found = results[model]["partial"]
    assert found["is partial"]
    assert found["difference"] <= 1e-5, f"relative difference {found['difference']:.1e}, limit 1e-5"


def test_two_clips_in_one_latent_batch(results: dict[str, Any]) -> None:
    assert results["clips"] <= 1e-5


def test_what_cannot_be_is_said(results: dict[str, Any]) -> None:
    said = results["refused"]
    assert "changes over the frames" in said["bake a ramp"] and "`bake` off" in said["bake a ramp"]
    assert "changes over the steps" in said["bake steps"]
    assert "clips of 4 frames" in said["length"] and "found 8" in said["length"]


@pytest.mark.parametrize("model", MODELS)
def test_the_node(results: dict[str, Any], model: str) -> None:
    """A file is found by its tags, on the network as it was loaded, whatever is baked into it at the moment."""
    found = results["node"][model]
    assert max(found["found"], found["by hand"], found["baked"]) <= 1e-4, found
    assert found["twice"] > 1e-2 and abs(found["twice"] - found["plain"]) <= 1e-4, "plus one minus one is not nothing"
    assert "LoRA left" in found["loaded with it"]


def test_what_the_node_says(results: dict[str, Any]) -> None:
    found = results["node"]
    assert "pan_left 8" in found["summary"] and "LoRA left, strength 1" in found["summary"]
    assert "as it was" in found["nothing"]
    assert "roll_cw" in found["no lora"] and "Connect `image` and `vae`" in found["no lora"]
    assert "changes over the frames" in found["bake a range"]
    assert "a clip of 8 frames a second, as baked; found 12" in found["another rate"]


def test_a_move_without_a_lora(results: dict[str, Any]) -> None:
    """The clip follows the camera under both samplers, and is the one svd_core makes without a host."""
    found = results["moved"]
    if not found:
        pytest.skip("this source tree holds no embedded model")
    ours, theirs, plain = found["zooms"]
    assert min(ours, theirs) > 0.9 > 0.4 > abs(plain), f"zooms of {ours:.2f}, {theirs:.2f} and without {plain:.2f} %"
    assert found["pipeline"] <= 5e-3, f"relative difference {found['pipeline']:.1e} from the pipeline, limit 5e-3"
    assert found["lora"] > 0.02, "a LoRA in some of the steps changed nothing"
    assert found["mixed"] <= 5e-3, f"LoRA in some of the steps: {found['mixed']:.1e}, limit 5e-3"
    assert "training-free" in found["summary"]
    assert found["counts"] == [[step, len(found["counts"])] for step in range(len(found["counts"]))]
