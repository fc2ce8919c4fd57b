"""The record of a bench: goes on where it stopped, refuses what is something else's, tells of a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_core.errors import InputError, OutputError
from svd_core.training.scores_record import Record


def test_a_record_goes_on_after_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model.jsonl"
    record = Record.opened(path, "m", None, lambda: 12)
    record.add([{"kind": "clip", "n": 1}, {"kind": "clip", "n": 2}])
    path.write_text(path.read_text()[:-8])
    again = Record.opened(path, "m", None, lambda: 99)
    assert (again.seed, [line["n"] for line in again.lines]) == (12, [1])
    again.add([{"kind": "clip", "n": 3}])
    assert [line["n"] for line in Record.opened(path, "m", 12, lambda: 0).lines] == [1, 3]


@pytest.mark.parametrize(("name", "seed", "words"), [("other", None, "this model"), ("m", 13, "seed 13")])
def test_a_record_of_something_else_is_refused(tmp_path: Path, name: str, seed: int | None, words: str) -> None:
    path = tmp_path / "model.jsonl"
    Record.opened(path, "m", 12, lambda: 0)
    before = path.read_bytes()
    with pytest.raises(InputError, match=words):
        Record.opened(path, name, seed, lambda: 0)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "base", "clip": 0}\n',
        '{"kind": "bench", "seed": 3}\n',
        '{"kind": "bench", "seed": 3, "model": "m"}\n{"clip": 0}\n',
        "Notes of mine,\nnot to be lost.\n",
    ],
    ids=["other lines", "no model", "other lines later", "prose"],
)
def test_another_file_is_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="--out"):
        Record.opened(path, "m", None, lambda: 0)
    assert path.read_text() == text


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no full device here")
    record = Record(full, 1)
    with pytest.raises(OutputError, match="full"):
        record.add([{"kind": "clip"}])
    assert record.lines == []
