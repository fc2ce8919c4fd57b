"""Bars of long work: several stages through one bar, in a log and with a quiet console."""

from __future__ import annotations

import pytest
from tqdm import tqdm

from svd_core.cli import output
from svd_core.cli.output import Console, show


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.strip() for line in capsys.readouterr().err.split("\r") if line.strip()]


def test_a_later_shorter_stage_is_told_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(output, "_LOG_INTERVAL", 0.0)
    with Console().progress(1, "train") as bar:
        for stage, steps in (("camera", 9), ("video", 3)):
            for step in range(1, steps + 1):
                show(bar, step, steps, stage, f"loss {step}.5")
    lines = _lines(capsys)
    assert any(line.startswith("camera: 100%") and "9/9" in line for line in lines)
    assert [line for line in lines if line.startswith("video") and "1/3" in line and "loss 1.5" in line]
    assert [line for line in lines if line.startswith("video: 100%") and "3/3" in line]


def test_short_work_leaves_no_line_in_a_log_however_many_stages(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress(1, "train") as bar:
        for stage in ("one", "two"):
            for step in range(1, 4):
                show(bar, step, 3, stage)
    assert not _lines(capsys)


def test_a_quiet_console_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=True).progress(1, "train") as bar:
        assert isinstance(bar, tqdm)
        show(bar, 2, 3, "one")
        show(bar, 1, 3, "two", "loss 1")
    assert not _lines(capsys)
