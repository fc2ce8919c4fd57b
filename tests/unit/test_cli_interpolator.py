"""`svd train interpolator` and `svd interpolate --engine svd` from the command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from svd_core.cli import train
from svd_core.cli.main import main
from svd_core.training import interpolator, interpolator_loop
from svd_core.training import loop as loop_module
from svd_core.training.checkpoints import FILE_NAME
from svd_core.training.export import export
from svd_core.training.interpolator_loop import InterpolatorTrainer
from svd_core.training.loop import Report
from svd_core.training.networks import start
from svd_core.training.refiner import STATE_NAME
from svd_core.video_io import iter_frames, write_frames
from svd_core.weights.build import load_model
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


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few worlds, few clips to score, and a state saved after every step."""
    monkeypatch.setattr(interpolator_loop, "_CHUNK", 2)
    monkeypatch.setattr(interpolator_loop, "_MOST_ERROR", float("inf"))
    monkeypatch.setattr(loop_module, "_BASIS_CLIPS", 4)
    monkeypatch.setattr(interpolator.InterpolatorOptions.__init__, "__kwdefaults__", _few_clips())
    for form, stage in interpolator_loop.RECIPE.items():
        few = dataclasses.replace(stage, batch=2, refresh=1, window=(1, 2))
        monkeypatch.setitem(interpolator_loop.RECIPE, form, few)


@pytest.mark.usefixtures("short")
def test_trained_then_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    return {**defaults, "scored_clips": 1, "save_seconds": 0.0}


@pytest.mark.usefixtures("short")
def test_the_papers_form_is_trained_resumed_and_used(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps from the base's own UNet; stopped after the second, the same file; frames sampled by it."""
    base = folder / "base.safetensors"
    words = ["train", "interpolator", "--form", "masked", "--model", base, "--steps", "3", "--json"]
    whole = run_here(capsys, *words, "--out", folder / "masked")
    assert whole.code == 0, whole.err
    observed = interpolator._Observer.__call__

    def interrupted(self: interpolator._Observer, trainer: InterpolatorTrainer, report: Report) -> None:
        observed(self, trainer, report)
        if report.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(interpolator._Observer, "__call__", interrupted)
        assert run_here(capsys, *words, "--out", folder / "stopped").code == 130
    assert not (folder / "stopped" / interpolator.INTERPOLATOR_NAME).exists()
    resumed = run_here(
        capsys,
        "train",
        "interpolator",
        "--form",
        "masked",
        "--model",
        base,
        "--resume",
        "--json",
        "--out",
        folder / "stopped",
    )
    assert resumed.code == 0, resumed.err
    files = [Path(json.loads(done.out)["model"]) for done in (whole, resumed)]
    one, two = (load_interpolator_network(file).model.state_dict() for file in files)
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert bool(one["mask_token"].any()), "the mask token learns"
    assert not torch.equal(one["unet.out.2.weight"], load_model(base, dtype=torch.float32).unet.out[2].weight)

    used = ["--engine", f"svd:{files[0]}", "--base", base, "--steps", "2", "--factor", "4"]
    for name, seed in (("sampled", ()), ("other", ("--seed", "5"))):
        made = run_here(capsys, "interpolate", folder / "clip", folder / name, *used, *seed)
        assert made.code == 0, made.err
    source = list(iter_frames(folder / "clip"))
    frames, other = (list(iter_frames(folder / name)) for name in ("sampled", "other"))
    assert len(frames) == 9 and torch.equal(frames[4], source[1]) and torch.equal(other[4], source[1])
    assert (frames[2] - torch.lerp(source[0], source[1], 0.5)).abs().mean() > 1e-3, "sampled, not faded"
    assert not torch.equal(frames[2], other[2]), "another seed"
    # Another form in the same folder is another run.
    unlike = run_here(
        capsys, "train", "interpolator", "--model", base, "--resume", "--steps", "3", "--out", folder / "stopped"
    )
    assert_refused(unlike, "another config")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "interpolator", "--form", "linear"], "--form"),
        (["interpolate", "clip", "new", "--engine", "svd:none.safetensors"], "no file none.safetensors"),
        (["interpolate", "clip", "new", "--engine", "svd:base.safetensors"], "a video frame interpolator"),
        (["interpolate", "clip", "new", "--engine", "svd", "--steps", "0"], "--steps as a whole number in 1"),
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
    monkeypatch.setattr(train.train_refiner, "run", note("refiner"))
    monkeypatch.setattr(train.train_camera, "run_shipped", note("camera"))
    assert main(["train", "all", "--out", str(tmp_path), "--steps", "1000"]) == 0
    model = tmp_path / "nano" / "nano.safetensors"
    assert told == [
        ("nano", tmp_path / "nano", "nano", 1000),
        ("interpolator", tmp_path / "interpolator", model, 400),
        ("refiner", tmp_path / "refiner", model, 200),
        ("camera", tmp_path / "camera", model, 150),
    ]


@pytest.mark.parametrize("begun", [False, True])
def test_all_resumes_only_what_was_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: bool) -> None:
    """A folder is made before anything is worth resuming; the moves find out by themselves."""
    resumed: list[bool] = []

    def note(options: argparse.Namespace, *_: object) -> int:
        resumed.append(options.resume)
        return 0

    monkeypatch.setattr(train, "_nano", note)
    for trainer in (train.train_interpolator, train.train_refiner):
        monkeypatch.setattr(trainer, "run", note)
    monkeypatch.setattr(train.train_camera, "run_shipped", note)
    for folder, state in (("interpolator", FILE_NAME), ("refiner", STATE_NAME)):
        (tmp_path / folder).mkdir()
        if begun:
            (tmp_path / folder / state).write_bytes(b"")
    assert main(["train", "all", "--out", str(tmp_path), "--resume"]) == 0
    assert resumed == [True, begun, begun, True]
