"""`svd train camera` and `svd bench camera` from the command line: what they print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from svd_core.cli.train_camera import RANKS
from svd_core.weights.lora import load_camera_lora
from tests.command_line import assert_refused, run_here, small_checkpoint
from tests.unit.test_training_camera_sources import photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of half a second a clip, and three photographs."""
    small_checkpoint(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    for index, picture in enumerate(photos(3, 120, 90)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / "photos" / f"{index}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_training_from_photographs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "camera", "--model", folder / "small.safetensors", "--preset", "zoom_in"]
    words += ["--images", folder / "photos", "--size", "32x32", "--frames", "3", "--steps", "2", "--rank", "2"]
    outcome = run_here(capsys, *words, "--trials", "1", "--out", folder / "run", "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    lora = load_camera_lora(told["lora"])
    assert lora.preset == "zoom_in" and lora.rank == 2
    assert len(told["scores"]) == 7
    assert "broken.png was left out" in outcome.err
    again = run_here(capsys, *words, "--trials", "1", "--out", folder / "run")
    assert_refused(again, "--resume")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], ("--preset",)),
        (["--preset", "sideways"], ("preset", "pan_left")),
        (["--preset", "pan_left", "--images", "nowhere"], ("no folder",)),
        (["--preset", "pan_left", "--rank", "65"], ("--rank", "64")),
        (["--preset", "pan_left", "--clips", "empty"], ("no video files",)),
        (["--preset", "pan_left", "--size", "64x32"], ("square",)),
    ],
)
def test_what_cannot_be_is_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(folder)
    outcome = run_here(capsys, "train", "camera", "--model", folder / "small.safetensors", "--out", folder / "r", *more)
    assert_refused(outcome, *words)


def test_the_bench_refuses_files_without_a_move(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(capsys, "bench", "camera", "--lora", folder / "none.safetensors", "--out", folder / "b")
    assert outcome.code == 2 and "none.safetensors" in outcome.err


def test_the_rank_has_the_range_that_help_tells(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_here(capsys, "train", "--help")
    told = " ".join(capsys.readouterr().out.split())
    assert f"width of the LoRA, {RANKS[0]} to {RANKS[1]};" in told
    for rank in (RANKS[0] - 1, RANKS[1] + 1):
        outcome = run_here(capsys, "train", "camera", "--preset", "pan_left", "--rank", str(rank))
        assert_refused(outcome, f"--rank as a whole number in {RANKS[0]} .. {RANKS[1]}")
