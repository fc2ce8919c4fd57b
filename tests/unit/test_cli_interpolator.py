"""`svd train interpolator` and `svd interpolate --engine svd` from the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from svd_core.cli import train
from svd_core.cli.main import main
from svd_core.training import interpolator, interpolator_loop
from svd_core.training import loop as loop_module
from svd_core.training.export import export
from svd_core.training.networks import start
from svd_core.video_io import iter_frames, write_frames
from svd_core.weights.video_interpolators import load_interpolator_network
from tests.command_line import assert_refused, run_here
from tests.interpolation_scenes import scene
from tests.unit.test_training_interpolator import BASE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, another one, and a clip of three frames."""
    folder = tmp_path_factory.mktemp("interpolator")
    export(start(BASE, seed=2), folder / "base.safetensors", {})
    export(start(BASE, seed=3), folder / "other.safetensors", {})
    shown = scene("translate", 1, (32, 32))
    write_frames((shown.at(index / 2) for index in range(3)), folder / "clip", 8)
    return folder


def test_trained_then_used(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpolator_loop, "_CHUNK", 2)
    monkeypatch.setattr(interpolator_loop, "_MOST_ERROR", float("inf"))
    monkeypatch.setattr(loop_module, "_BASIS_CLIPS", 4)
    monkeypatch.setattr(interpolator.InterpolatorOptions.__init__, "__kwdefaults__", _few_clips())
    base = folder / "base.safetensors"
    words = ["train", "interpolator", "--out", folder / "run", "--model", base, "--steps", "1", "--json"]
    trained = run_here(capsys, *words)
    assert trained.code == 0, trained.err
    told = json.loads(trained.out)
    assert [row["speed"] for row in told["scores"]] == ["still", "slow", "middle", "fast"]
    assert load_interpolator_network(told["model"]).model.config.name == "small_interpolator"
    assert_refused(run_here(capsys, *words), "--resume")

    used = ["interpolate", folder / "clip", folder / "out", "--engine", f"svd:{told['model']}", "--factor", "4"]
    made = run_here(capsys, *used, "--base", base, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["frames"] == 9
    frames, source = list(iter_frames(folder / "out")), list(iter_frames(folder / "clip"))
    assert torch.equal(frames[4], source[1]) and not torch.equal(frames[2], source[0])
    # Nothing is left under the final name when the model is not the one it was trained on.
    refused = run_here(capsys, *used[:2], folder / "none", *used[3:], "--base", folder / "other.safetensors")
    assert_refused(refused, "the model interpolator.safetensors was trained on", "svd train interpolator")
    assert not (folder / "none").exists()


def _few_clips() -> dict[str, object]:
    defaults = dict(interpolator.InterpolatorOptions.__init__.__kwdefaults__ or {})
    return {**defaults, "scored_clips": 1}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "interpolator", "--steps", "0"], "at least one training step"),
        (["train", "interpolator", "--minutes", "0"], "a positive number of minutes"),
        (["train", "interpolator", "--form", "linear"], "--form"),
        (["train", "interpolator", "--resume", "--out", "nothing"], "a run to resume"),
        (["interpolate", "clip", "new", "--engine", "svd:none.safetensors"], "no file none.safetensors"),
        (["interpolate", "clip", "new", "--engine", "svd:base.safetensors"], "a video frame interpolator"),
    ],
)
def test_refusals(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(folder)
    assert_refused(run_here(capsys, *words), expected)


def test_all_trains_it_on_the_new_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[tuple[str, Path, object, int | None]] = []

    def note(name: str) -> Callable[..., int]:
        def run(options: argparse.Namespace, *_: object) -> int:
            told.append((name, options.out, options.model, options.steps))
            return 0

        return run

    monkeypatch.setattr(train, "_nano", note("nano"))
    monkeypatch.setattr(train.train_interpolator, "run", note("interpolator"))
    monkeypatch.setattr(train.train_camera, "run_shipped", note("camera"))
    assert main(["train", "all", "--out", str(tmp_path), "--steps", "1000"]) == 0
    model = tmp_path / "nano" / "nano.safetensors"
    assert told == [
        ("nano", tmp_path / "nano", "nano", 1000),
        ("interpolator", tmp_path / "interpolator", model, 400),
        ("camera", tmp_path / "camera", model, 150),
    ]
