"""`svd in-between` on a small model with random weights: what it writes, what a kill leaves, what it says."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from svd_core import in_between, load_model
from svd_core.cli import in_between_bench as bench
from svd_core.cli.in_between import add_parser
from svd_core.framing import FRAMINGS
from svd_core.sampling import BETWEEN_METHODS
from svd_core.video_io import read_clip, read_metadata, read_picture
from tests.command_line import ROOT, assert_refused, picture, run_here, small_checkpoint
from tests.models import SMALL, random_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture
def keys(tmp_path: Path) -> list[Path]:
    return [picture(tmp_path / f"key{index}.png", seed=index) for index in range(4)]


def test_two_pictures(model: Path, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "frames"
    words = ("--seed", "5", "--fps", "6", "--method", "mpd", "--early", "0.5", "--flow-start", "1", "--json")
    outcome = run_here(capsys, "in-between", *keys[:2], "-o", out, "--model", model, *words)
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert (facts["frames"], facts["fps"], facts["gaps_reused"]) == (4, "6", 0)
    settings = read_metadata(out)
    expected = {"images": ["key0.png", "key1.png"], "method": "mpd", "early": 0.5, "flow_start": 1.0, "seed": 5}
    assert {key: settings[key] for key in expected} == expected and "solver" not in settings
    images = [read_picture(key).over() for key in keys[:2]]
    clip = in_between(load_model(model), images, seed=5, fps=6, method="mpd", early=0.5, flow_start=1.0)
    assert torch.equal((read_clip(out).pixels * 255).round(), (clip.pixels * 255).round())
    assert not list(tmp_path.glob("*.gaps"))


def test_a_file_for_segments_is_found_before_the_work(
    keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gaps").write_text("a file", encoding="utf-8")
    for place in (tmp_path / "gaps", keys[2]):
        outcome = run_here(
            capsys, "in-between", *keys[:2], "-o", tmp_path / "x.mp4", "--model", "none", "--segments", place
        )
        assert_refused(
            outcome, f"Expected --segments as a folder for finished gaps; found the file {place}. Name a folder"
        )
    below = run_here(capsys, "in-between", *keys[:2], "-o", tmp_path / "x.mp4", "--segments", tmp_path / "gaps" / "new")
    assert_refused(below, "Expected a possible file name")
    assert not (tmp_path / "x.mp4").exists()


def test_a_loop(model: Path, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "loop.webp"
    outcome = run_here(capsys, "in-between", keys[0], "-o", out, "--model", model, "--loop", "--no-keep-ends")
    assert outcome.code == 0, outcome.err
    assert len(read_clip(out)) == 3 and read_metadata(out)["loop"] is True


def test_segments_stay_where_they_are_wanted(
    model: Path, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ("--segments", tmp_path / "kept")
    for out, count, reused in (("a.webp", 3, 0), ("b.webp", 4, 2)):
        words = (*keys[:count], "-o", tmp_path / out, "--model", model, "--json", *kept)
        facts = json.loads(run_here(capsys, "in-between", *words).out)
        assert facts["gaps_reused"] == reused and facts["frames"] == 3 * (count - 1) + 1
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_a_killed_chain_goes_on(
    model: Path, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        str(word) for word in ("in-between", *keys, "-o", tmp_path / "chain.webp", "--model", model, "--steps", 40)
    ]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([sys.executable, "-m", "svd_core", *words], env=variables, stderr=subprocess.DEVNULL)
    folder, waited = tmp_path / "chain.webp.gaps", time.monotonic() + 240
    while not (folder.is_dir() and any(folder.glob("gap000-*"))):
        assert running.poll() is None and time.monotonic() < waited
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "chain.webp").exists()
    facts = json.loads(run_here(capsys, *words, "--json").out)
    assert 1 <= facts["gaps_reused"] < 3 and facts["frames"] == 10
    assert not folder.exists()


def test_an_output_that_is_one_of_the_pictures_is_refused(
    model: Path, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = tmp_path / "still.webp"
    Image.open(keys[0]).save(still)
    before = still.read_bytes()
    assert_refused(run_here(capsys, "in-between", still, keys[1], "-o", still, "--model", model), "another name")
    assert still.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--method", "magic"), "vibid, mpd, trf"),
        (("--framing", "fold"), "crop, pad"),
        (("--early", "2"), "--early"),
        (("--frames", "1"), "--frames"),
        (("--guidance", "linear"), "guidance"),
        (("--size", "33x24"), "multiples"),
        (("--solver", "heun"), "--solver"),
    ],
)
def test_bad_words(
    words: tuple[str, str], said: str, model: Path, keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.webp"
    outcome = run_here(capsys, "in-between", *keys[:2], "-o", out, "--model", model, *words)
    assert_refused(outcome, said)
    assert not out.exists()


def test_too_few_pictures(keys: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Said before a model is looked for."""
    outcome = run_here(capsys, "in-between", keys[0], "-o", tmp_path / "x.mp4", "--model", "nowhere")
    assert_refused(outcome, "two pictures", "loop")


def test_help_lists_what_there_is() -> None:
    subparsers = argparse.ArgumentParser().add_subparsers()
    add_parser(subparsers)
    text = subparsers.choices["in-between"].format_help()
    for options in (BETWEEN_METHODS, FRAMINGS):
        assert "|".join(options) in text


# bench


def test_the_bench_goes_on_and_averages_before_decibels(tmp_path: Path) -> None:
    small = random_model(SMALL)
    file = tmp_path / bench.LINES_NAME
    told: list[tuple[int, int]] = []
    cases = ("blend", "flow", "vibid")
    first = bench.run_cases(small, cases, 1, file, lambda *numbers: told.append(numbers))
    again = bench.run_cases(small, cases, 2, file, lambda *numbers: told.append(numbers))
    assert again[:3] == first and len(again) == 6 and told == [(1, 1), (1, 2), (2, 2)]
    assert len(file.read_text(encoding="utf-8").splitlines()) == 6
    lines = [{"name": "a", "clip": 0, "flow": 0.1, "error": 0.01}, {"name": "a", "clip": 1, "flow": 5.0, "error": 0.03}]
    (row,) = bench.table(lines)
    assert row["all"] == pytest.approx(16.99, abs=0.01)
    assert [row["bins"][bench.label(*ends)] for ends in bench.BINS] == pytest.approx(
        [20.0, None, None, 15.23], abs=0.01
    )
    assert "| a | 20.00 | - | - | 15.23 | 16.99 |" in bench.markdown([row], 2)
