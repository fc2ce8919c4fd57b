"""What the loader returns, on the host's patcher: batches of clips, partial loading, casting, memory."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def results(in_host: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return in_host["objects"]


def test_two_clips_in_one_latent_batch_stay_apart(results: dict[str, Any]) -> None:
    assert results["two clips"] <= 1e-5, f"relative difference {results['two clips']:.1e}, limit 1e-5"


def test_a_partial_load_leaves_every_weight_cast_on_use(results: dict[str, Any]) -> None:
    """The exceptions are single parameters that our networks bring to their input themselves."""
    partial = results["partial"]
    assert partial["unmanaged"] == {
        "model": ["mix_factor"],
        "vae": ["mix_factor"],
        "clip": ["class_embedding", "weight"],
    }
    assert all(partial[f"{part} is partial"] for part in ("model", "vae", "clip"))


def test_a_video_interpolator_is_moved_in_parts_like_any_model(results: dict[str, Any]) -> None:
    found = results["interpolator"]
    if found is None:
        pytest.skip("this source tree holds no embedded interpolator")
    assert found["is partial"] and found["unmanaged"] == ["class_embedding", "mix_factor", "weight"]
    assert found["difference"] <= 1e-5 < 1e-3 < found["added"]


def test_a_patched_weight_that_was_left_behind_still_counts(results: dict[str, Any]) -> None:
    assert results["partial"]["effect"] > 1e-3, "the patch does nothing at all"
    assert results["partial"]["difference"] <= 1e-5


def test_weights_of_vae_and_clip_are_cast_on_use(results: dict[str, Any]) -> None:
    for name, found in results["cast"].items():
        assert 0 < found < 1e-2, f"{name}: relative difference {found:.1e} between half and single weights"


def test_values_a_clip_and_values_a_frame_are_told_apart(results: dict[str, Any]) -> None:
    assert results["vectors"] == {"by clip": True, "by frame": True}


def test_the_host_previews_our_latents_in_their_colours(results: dict[str, Any]) -> None:
    if results["colours"] is None:
        pytest.skip("this source tree holds no embedded model")
    found = results["colours"]
    assert found["error"] < found["picture"] / 4, found


def test_the_host_is_told_the_counted_memory(results: dict[str, Any]) -> None:
    memory = results["memory"]
    assert memory["twice"] == 2 * memory["ours"]
    assert 0 < memory["ours"] < memory["hosts"] / 2


def test_a_diffusers_folder_loads(results: dict[str, Any]) -> None:
    assert "diffusers layout" in results["folder"]


@pytest.mark.parametrize("case", ["plain", "lora", "adapter", "again", "heun", "partial", "hooks"])
def test_what_is_kept_over_the_steps_changes_no_bit(results: dict[str, Any], case: str) -> None:
    found = results["constants"][case]
    assert found["same"], "kept constants give other latents than evaluating them anew"
    if case != "hooks":
        assert found["calls"] < found["without"], f"{found['calls']} of {found['without']} evaluations were left"


def test_changed_weights_are_noticed(results: dict[str, Any]) -> None:
    constants = results["constants"]
    for case in ("lora", "adapter", "hooks"):
        assert constants[case]["effect"] > 1e-3, f"{case} has no effect"
    assert constants["again"]["effect"] == 0, "something of the patches stayed behind"


def test_nothing_is_kept_after_a_run(results: dict[str, Any]) -> None:
    assert not any(found["kept"] for found in results["constants"].values())
    assert results["constants"]["stopped"]["steps"] == 2
