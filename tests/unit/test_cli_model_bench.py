"""`svd bench model`: the whole table from one command, on a model of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svd_core.cli.model_bench import LINES_NAME
from svd_core.weights.camera_files import SHIPPED
from tests.command_line import assert_refused, run_here, small_checkpoint

QUICK = ("--clips", "2", "--sets", "worlds", "--device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("model"))


def test_one_command_fills_the_table_and_goes_on(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path
) -> None:
    command = ("bench", "model", "--model", checkpoint, "--out", tmp_path, *QUICK)
    first = run_here(capsys, *command, "--json")
    assert first.code == 1, "random weights miss floors"
    told = json.loads(first.out)
    rows = {row["name"]: row for row in told["rows"]}
    assert rows["reconstruction, dB"]["verdict"] == "not met"
    assert rows["reconstruction, dB"]["clips"] == 2
    assert rows["pan_left: camera LoRA"]["beside"] == "not made for this model"
    assert next(row for name, row in rows.items() if "interpolation" in name)["beside"] == "not made for this model"
    assert rows["one default clip, decoded, processor seconds"]["value"] > 0
    lines = (tmp_path / LINES_NAME).read_bytes()
    again = run_here(capsys, *command)
    assert (tmp_path / LINES_NAME).read_bytes() == lines, "nothing may be measured twice"
    assert f"Seed {told['seed']}:" in again.out
    assert again.out.split("\n\n", 1)[1].strip() in (tmp_path / "model.md").read_text(encoding="utf-8")


def test_the_seed_is_drawn_or_given(capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path) -> None:
    def seed(folder: str, *more: str) -> int:
        command = ("bench", "model", "--model", checkpoint, "--out", tmp_path / folder, "--rows", "time", *QUICK)
        return json.loads(run_here(capsys, *command, "--json", *more).out)["seed"]

    assert seed("a") != seed("b", "--seed", "random"), "one chance in two thousand million"
    assert seed("c", "--seed", "7") == 7 == seed("c")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--rows", "clips,colour"), ("--rows", "camera")),
        (("--rows", ","), ("--rows",)),
        (("--sets", "moon"), ("--sets", "worlds")),
        (("--seed", "never"), ("--seed",)),
    ],
)
def test_what_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path, more: tuple[str, ...], words: tuple[str, ...]
) -> None:
    outcome = run_here(capsys, "bench", "model", "--model", checkpoint, "--out", tmp_path / "out", *more)
    assert_refused(outcome, *words)
    assert not (tmp_path / "out").exists()


def test_another_models_record_is_refused(capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / LINES_NAME).write_text('{"kind": "bench", "model": "other", "seed": 1}\n')
    outcome = run_here(capsys, "bench", "model", "--model", checkpoint, "--out", tmp_path, "--rows", "time", *QUICK)
    assert_refused(outcome, "other", "--out")


def test_two_loras_for_one_preset_are_refused(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path
) -> None:
    loras = ["--lora", SHIPPED / "pan_left.safetensors"] * 2
    outcome = run_here(capsys, "bench", "model", "--model", checkpoint, "--out", tmp_path / "out", *loras)
    assert_refused(outcome, "one camera LoRA for pan_left", "--out")
