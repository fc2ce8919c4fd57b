"""The lines `svd bench camera` and `svd bench in-between` go on with: whose they are, and one that was cut short."""

from __future__ import annotations

from pathlib import Path

import pytest

from svd_core.cli.camera_bench import claim, read_lines
from svd_core.errors import InputError

_LINE = '{"name": "base", "clip": 0}\n'


def test_lines_of_another_model_are_not_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "new" / "camera.jsonl"
    for _ in range(2):
        claim(file, "nano one")
        with file.open("a", encoding="utf-8") as stream:
            stream.write(_LINE)
    assert read_lines(file) == [{"name": "base", "clip": 0}] * 2
    with pytest.raises(InputError, match=r"readings of nano two; found those of nano one in .*Give another --out"):
        claim(file, "nano two")
    file.write_text(_LINE, encoding="utf-8")
    with pytest.raises(InputError, match="found those of an unknown model"):
        claim(file, "nano one")


def test_a_line_cut_short_costs_no_other(tmp_path: Path) -> None:
    file = tmp_path / "camera.jsonl"
    claim(file, "nano")
    with file.open("a", encoding="utf-8") as stream:
        stream.write(_LINE + _LINE[:9])
    claim(file, "nano")
    with file.open("a", encoding="utf-8") as stream:
        stream.write(_LINE)
    assert len(read_lines(file)) == 2
    file.write_text(_LINE[:9], encoding="utf-8")
    claim(file, "nano")
    assert read_lines(file) == [] and file.read_text(encoding="utf-8") == '{"of": "nano"}\n'


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="a possible file name"):
        claim(tmp_path / "file" / "camera.jsonl", "nano")
