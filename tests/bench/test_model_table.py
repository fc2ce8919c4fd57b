"""The embedded model's table, small: seeds are drawn anew. The full one is `svd bench model`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import run_here

CLIPS = 12


@pytest.mark.slow
def test_the_shipped_model_keeps_the_input_and_obeys_the_motion_bucket(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outcome = run_here(capsys, "bench", "model", "--clips", f"{CLIPS}", "--rows", "clips", "--out", tmp_path, "--json")
    told = json.loads(outcome.out)
    rows = {row["name"]: row for row in told["rows"]}
    text = f"seed {told['seed']}\n{(tmp_path / 'model.md').read_text(encoding='utf-8')}"
    assert rows["reconstruction, dB"]["clips"] >= CLIPS, text
    assert rows["first frame below reconstruction, dB"]["verdict"] != "not met", text
    # With so few clips two neighbouring buckets may change places: 0.8 of four.
    assert rows["bucket and mean flow, rank correlation"]["value"] >= 0.79, text
    unread = [name for name, row in rows.items() if row["value"] is None and row["beside"] == "--rows clips"]
    assert not unread, text
