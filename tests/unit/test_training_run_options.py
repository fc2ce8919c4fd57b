"""What every trainer refuses alike, before it loads, computes or writes anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from svd_core.cli import train
from svd_core.cli.output import Console
from svd_core.errors import InputError
from svd_core.training import camera_loop, checkpoints, refiner
from svd_core.training.camera import CameraTrainOptions, train_camera
from svd_core.training.interpolator import InterpolatorOptions, train_interpolator
from svd_core.training.nano import TrainOptions, train_nano
from svd_core.training.refiner import RefinerOptions, train_refiner
from svd_core.training.run_options import STATES
from tests.command_line import assert_refused, run_here

Start = Callable[..., object]


def _start_camera(**given: Any) -> object:
    return train_camera(CameraTrainOptions(preset="pan_left", **given))


TRAINERS: dict[str, tuple[Start, str]] = {
    "nano": (lambda **given: train_nano(TrainOptions(**given)), checkpoints.FILE_NAME),
    "camera": (_start_camera, camera_loop.STATE_NAME),
    "interpolator": (lambda **given: train_interpolator(InterpolatorOptions(**given)), checkpoints.FILE_NAME),
    "refiner": (lambda **given: train_refiner(RefinerOptions(**given)), refiner.STATE_NAME),
}


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 9, "minutes": 1.0}, "Expected --steps or --minutes; found both"),
        ({"steps": 0}, "at least one training step; found 0"),
        ({"steps": -3}, "at least one training step; found -3"),
        ({"minutes": 0.0}, "a positive number of minutes, at most 100000; found 0"),
        ({"minutes": -2.0}, "found -2"),
        ({"minutes": float("nan")}, "found nan"),
        ({"minutes": float("inf")}, "found inf"),
        ({"minutes": 100_001.0}, "found 100001"),
        ({"threads": 0}, "at least one thread; found 0"),
        ({"resume": True}, "a run to resume in .*run; found none"),
    ],
    ids=str,
)
def test_numbers_no_run_can_have(tmp_path: Path, trainer: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TRAINERS[trainer][0](out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_used_folder(tmp_path: Path, trainer: str) -> None:
    start, state = TRAINERS[trainer]
    (tmp_path / state).write_bytes(b"a run")
    with pytest.raises(InputError, match=r"an empty training folder; found a run in .* Add --resume"):
        start(out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [state]
    assert (tmp_path / state).read_bytes() == b"a run"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_folder_of_another_kind_of_run(tmp_path: Path, trainer: str, resume: bool) -> None:
    """Their scores and logs have the same names."""
    start, state = TRAINERS[trainer]
    other = next(name for name in STATES if name != state)
    (tmp_path / other).write_bytes(b"a run")
    with pytest.raises(InputError, match=r"a training folder of its own; found a run of another kind in"):
        start(out=tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == [other]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_folder_that_is_a_file(tmp_path: Path, trainer: str) -> None:
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(InputError, match="a possible file name"):
        TRAINERS[trainer][0](out=tmp_path / "run")


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_command_line_says_it_in_a_line(tmp_path: Path, trainer: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--preset", "pan_left"] if trainer == "camera" else []
    done = run_here(capsys, "train", trainer, *more, "--out", tmp_path / "run", "--resume", "--quiet")
    assert_refused(done, "a run to resume", "Start without --resume.")


def test_all_prints_one_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(name: str) -> Callable[..., int]:
        def run(_: object, console: Console) -> int:
            console.say("for human eyes")
            console.result({"model": name})
            return 1 if name == "camera" else 0

        return run

    monkeypatch.setattr(train, "_nano", told("nano"))
    monkeypatch.setattr(train.train_interpolator, "run", told("interpolator"))
    monkeypatch.setattr(train.train_refiner, "run", told("refiner"))
    monkeypatch.setattr(train.train_camera, "run_shipped", told("camera"))
    done = run_here(capsys, "train", "all", "--out", tmp_path, "--json")
    assert done.code == 1, "a move that failed its test"
    assert json.loads(done.out) == {name: {"model": name} for name in ("nano", "interpolator", "refiner", "camera")}
