"""The training and measuring nodes on a fake host: folders, progress, cancelling, files and sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.command_line import small_checkpoint
from tests.fake_host import FakeHost, on_fake_host
from tests.unit.test_training_camera_sources import photos


@pytest.fixture(scope="module")
def pack() -> tuple[FakeHost, Any]:
    return on_fake_host()


@pytest.fixture
def places(pack: tuple[FakeHost, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's folders, with photographs in input/mine; what was unloaded is counted."""
    load = pack[1]
    for name in ("input/mine", "output", "loras"):
        (tmp_path / name).mkdir(parents=True)
    for index, picture in enumerate(photos(3, 120, 90)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / "input/mine" / f"{index}.png")
    training = load("nodes.training")
    folders = training.folder_paths
    monkeypatch.setattr(folders, "get_output_directory", lambda: str(tmp_path / "output"), raising=False)
    monkeypatch.setattr(folders, "get_input_directory", lambda: str(tmp_path / "input"), raising=False)
    monkeypatch.setattr(folders, "get_folder_paths", lambda _: [str(tmp_path / "loras")], raising=False)
    monkeypatch.setattr(training.management, "unload_all_models", lambda: None, raising=False)
    monkeypatch.setattr(training.management, "get_torch_device", lambda: "cpu", raising=False)
    monkeypatch.setattr(pack[0], "cancelled", False)
    return tmp_path


def wish(pack: tuple[FakeHost, Any], places: Path, **changes: Any) -> Any:
    settings = {
        "model": small_checkpoint(places),
        "preset": "pan_left",
        "learn_from": "photos",
        "folder": "mine",
        "name": "my_%preset%",
        "steps": 2,
        "rank": 2,
        "frames": 3,
        "size": (32, 32),
        "seed": 0,
        "trials": 1,
    } | changes
    return pack[1]("nodes.training").Wish(**settings)


def test_a_lora_lands_where_the_camera_nodes_look(pack: tuple[FakeHost, Any], places: Path) -> None:
    training = pack[1]("nodes.training")
    with torch.inference_mode():
        name, preview, summary = training.train_for_host(wish(pack, places))
    assert name == "my_pan_left.safetensors"
    assert {path.name for path in (places / "loras").iterdir()} == {"my_pan_left.safetensors", "my_pan_left.webp"}
    assert preview.shape == (3, 32, 32, 3)
    assert "strength +1:" in summary and "2 steps" in summary


def test_cancelled_training_goes_on_where_it_was(
    pack: tuple[FakeHost, Any], places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = pack[1]("nodes.training")
    calls = [0]

    def interrupt() -> None:
        # Encoding is over when there is a plan; from there on every call is a step.
        calls[0] += bool(list((places / "output").rglob("plan.json")))
        if calls[0] > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "check_interrupt", interrupt)
    asked = wish(pack, places, steps=6)
    with pytest.raises(KeyboardInterrupt):
        training.train_for_host(asked)
    assert list((places / "output").rglob("state.pt")), "the run was not kept"
    assert not list((places / "loras").iterdir())
    monkeypatch.setattr(training, "check_interrupt", lambda: None)
    assert training.train_for_host(asked)[0] == "my_pan_left.safetensors"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folder": "../output"}, "folder"),
        ({"folder": ""}, "folder"),
        ({"folder": "nowhere"}, "no folder"),
        ({"name": "../../x"}, "inside"),
        ({"learn_from": "clips"}, "clips to learn from"),
    ],
)
def test_what_cannot_be_is_refused(
    pack: tuple[FakeHost, Any], places: Path, changes: dict[str, Any], words: str
) -> None:
    refusal = pack[1]("svd_core.errors").InputError
    with pytest.raises(refusal, match=words):
        pack[1]("nodes.training").train_for_host(wish(pack, places, **changes))


def test_other_photographs_are_another_run(pack: tuple[FakeHost, Any], places: Path) -> None:
    training = pack[1]("nodes.training")
    asked = wish(pack, places)
    before = training._options(asked).out
    assert training._options(asked).out == before
    (places / "input/mine/one_more.png").write_bytes((places / "input/mine/0.png").read_bytes())
    assert training._options(asked).out != before


def test_measuring_judges_the_camera_that_was_asked_for(pack: tuple[FakeHost, Any]) -> None:
    load = pack[1]
    stack, move = load("svd_core.camera.stack"), load("svd_core.camera.move")
    worlds = load("svd_core.training.worlds")
    size = worlds.WorldSize(frames=8, height=64, width=64)
    clips = worlds.draw_clips(9, worlds.TRAINING, range(5, 6), size, move="pan_left", speed=0.01)
    frames = (clips.pixels[0].permute(0, 2, 3, 1) + 1) / 2
    measure = load("nodes.measuring").measure_camera
    asked = stack.CameraStack((move.Move(preset="pan_left", amount=8.0),))
    plot, text, facts = measure(frames, 8.0, asked)
    assert plot.ndim == 4 and plot.shape[-1] == 3 and 0 <= float(plot.min()) <= float(plot.max()) <= 1
    assert text.startswith("The move is there:") and "a second" in text and "flicker" in text
    tree = json.loads(facts)
    assert tree["verdict"]["answer"] == "yes" and len(tree["per_frame"]["pan"]) == 7
    wrong = stack.CameraStack((move.Move(preset="zoom_in", amount=8.0),))
    assert measure(frames, 8.0, wrong)[1].startswith("The move is not there:")
    assert measure(frames, 8.0, None)[1].startswith("No move was asked for:")
