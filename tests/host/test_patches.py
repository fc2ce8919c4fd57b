"""Every kind of patch acts on our network as on the host's: the same calls, the same result, and an effect."""

from __future__ import annotations

from typing import Any

import pytest

PLACES = (("middle", 0), ("input", 1, 0), ("output", 5))
# One row of the table below each; kept in step by `test_every_case_was_run`.
CASES = [
    "nothing",
    "several tokens",
    "context per frame",
    "time context",
    "input_block_patch",
    "input_block_patch_after_skip",
    "output_block_patch",
    "attn1_patch",
    "attn2_patch",
    "attn1_output_patch",
    "attn2_output_patch",
    "middle_patch",
    "emb_patch",
    *(f"{kind} replaced at {place}" for kind in ("attn1", "attn2") for place in PLACES),
    "wrapper",
    "attention override",
]


@pytest.fixture(scope="module")
def results(in_host: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return in_host["patches"]


def test_every_case_was_run(results: dict[str, Any]) -> None:
    assert list(results) == CASES


@pytest.mark.parametrize("name", CASES)
def test_acts_as_in_the_host(results: dict[str, Any], name: str) -> None:
    found = results[name]
    same, count, theirs, ours = found["calls"]
    assert same, f"{count} calls, first ones\nhost {theirs}\nours {ours}"
    assert found["difference"] <= 1e-5, f"relative difference {found['difference']:.1e}, limit 1e-5"
    if name != "nothing":
        assert found["effect"] > 1e-3, f"the patch changes the host's result by {found['effect']:.1e} only"
