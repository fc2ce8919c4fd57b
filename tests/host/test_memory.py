"""Scarce memory: retried once and said, the same pixels whatever is free, no seams; and what importing costs."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="module")
def results(in_host: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return in_host["memory"]


def test_a_step_that_runs_out_of_memory_is_made_again_leaner_and_said(results: dict[str, Any]) -> None:
    step = results["step"]
    assert step["quiet"], "a run without trouble has nothing to say"
    assert "Memory ran out while a sampling step" in step["said"] and "2.00 GiB" in step["said"]
    assert step["leaner"] and step["difference"] <= 1e-5


def test_a_decode_that_runs_out_of_memory_is_made_again_leaner_and_said(results: dict[str, Any]) -> None:
    decode = results["decode"]
    assert "Memory ran out while decoding" in decode["said"]
    assert (decode["calls"], decode["frames"]) == (2, 14)


def test_pixels_do_not_depend_on_free_memory(results: dict[str, Any]) -> None:
    assert results["free memory"] == {"node": True, "host's call": True}


def test_the_node_s_chunks_are_far_nearer_to_the_whole_than_hard_ones(results: dict[str, Any]) -> None:
    if results["seams"] is None:
        pytest.skip("this source tree holds no embedded model")
    hard, node = results["seams"]["hard"], results["seams"]["node"]
    assert hard > 1e-3, "hard chunks do no harm here: nothing was tested"
    assert node <= hard / 3, f"relative difference {node:.1e}, hard chunks {hard:.1e}"


def test_the_pack_hardly_delays_the_start(in_host: dict[str, dict[str, Any]]) -> None:
    seconds = in_host["imports"]["seconds"]
    assert seconds < 0.5, f"{seconds:.2f} s of processor time"
