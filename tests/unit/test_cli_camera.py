"""`svd animate --camera`: moves, camera files, LoRAs, depth, and what is said of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from svd_core.camera.stack import Move, join
from svd_core.camera.stack_text import parse_moves, to_json
from svd_core.cli.camera import add_camera, camera_of, depth_of, finder_of
from svd_core.config import NANO
from svd_core.errors import InputError, NumericsError, SvdError
from svd_core.video_io import read_metadata
from svd_core.weights.lora import load_camera_lora
from tests.command_line import assert_refused, picture, run_here, small_checkpoint
from tests.loras import lora_file, random_pairs, spelled, targets_of


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_camera(parser)
    return parser.parse_args(words)


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    layers = targets_of(NANO.unet, lambda name: ".time_stack.0.attn1.to_" in name)
    return lora_file(
        tmp_path / "pan.safetensors", spelled(layers, random_pairs(layers, 2), "kohya, original", alpha=1.0)
    )


def test_moves_add_up_in_their_order() -> None:
    stack = camera_of(options("--camera", "pan_left:10:0-4", "--camera", "zoom_in"))
    assert stack == parse_moves(["pan_left:10:0-4", "zoom_in"])
    assert not camera_of(options())


@pytest.mark.parametrize(("tail", "strength"), [("", 1.0), (":0.5", 0.5), (":-2", -2.0)])
def test_a_lora_with_its_strength(lora: Path, tail: str, strength: float) -> None:
    (move,) = camera_of(options(f"--camera-lora={lora}{tail}")).moves
    assert move.lora is not None and (move.lora.name, move.speed) == ("pan", strength)


def test_a_colon_may_belong_to_the_file(lora: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a:b.safetensors"
    odd.write_bytes(lora.read_bytes())
    (move,) = camera_of(options(f"--camera-lora={odd}")).moves
    assert move.speed == 1.0 and move.lora is not None and move.lora.matched > 0


@pytest.mark.parametrize(("value", "half"), [(float("nan"), "lora_up"), (float("inf"), "lora_down")])
def test_a_lora_of_nan_is_bad_input(
    value: float, half: str, lora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(lora)
    name = next(name for name in tensors if half in name)
    tensors[name][0, 0] = value
    save_file(tensors, lora)
    (tmp_path / "camera.json").write_text(json.dumps({"version": 1, "moves": [{"lora": "pan"}]}))
    image = picture(tmp_path / "cat.png")
    for words in (("--camera-lora", f"{lora}:0.5"), ("--camera", tmp_path / "camera.json")):
        outcome = run_here(capsys, "animate", image, "-o", tmp_path / "out.mp4", *words)
        assert_refused(outcome, f"finite weights in {lora.name}; found NaN or infinity in {name}. The file is damaged")
    with pytest.raises(NumericsError):
        load_camera_lora(lora)
    assert not (tmp_path / "out.mp4").exists()


def test_a_camera_file_brings_its_parts_and_its_loras(lora: Path, tmp_path: Path) -> None:
    (brought,) = camera_of(options(f"--camera-lora={lora}:0.4")).moves
    stack = join(parse_moves(["pan_left"]), parse_moves(["zoom_in"]), crossfade=4)
    file = tmp_path / "mine.json"
    file.write_text(to_json(stack))
    assert camera_of(options("--camera", str(file))) == stack
    file.write_text(to_json(type(stack)((brought,))))
    (again,) = camera_of(options("--camera", str(file))).moves
    assert again.lora is not None and (again.lora.name, again.speed) == ("pan", 0.4)
    file.write_text(json.dumps({"version": 1, "moves": [{"lora": "../../secret"}]}))
    with pytest.raises(SvdError, match="secret") as refusal:
        camera_of(options("--camera", str(file)))
    assert ".." not in str(refusal.value).replace("...", ""), "only beside the camera file"
    file.write_text(json.dumps({"version": 1, "moves": [{"preset": "pan_lft"}]}))
    with pytest.raises(InputError, match=r"mine\.json.*pan_lft"):
        camera_of(options("--camera", str(file)))


def test_folders_and_depth(tmp_path: Path) -> None:
    assert list(finder_of(options("--camera-folder", str(tmp_path))).folders) == [tmp_path]
    with pytest.raises(InputError, match="camera-folder"):
        finder_of(options("--camera-folder", str(tmp_path / "nowhere")))
    Image.linear_gradient("L").save(tmp_path / "depth.png")
    depth = depth_of(options("--depth", str(tmp_path / "depth.png")))
    assert depth is not None and depth.shape == (256, 256, 3) and depth_of(options()) is None


def test_a_directed_clip_says_how_it_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, image = small_checkpoint(tmp_path), picture(tmp_path / "cat.png")
    Image.linear_gradient("L").save(tmp_path / "depth.png")

    def made(name: str, *words: Any) -> Any:
        command = ("animate", image, "-o", tmp_path / name, "--model", model, "--frames", "4", "--steps", "4", *words)
        outcome = run_here(capsys, *command)
        assert outcome.code == 0, outcome.err
        return outcome

    outcome = made("pan.mp4", "--camera", "pan_left:20", "--camera", "truck_right:5:1-3")
    assert "approximate" in outcome.err + outcome.out and "planar" in outcome.err + outcome.out
    recorded = read_metadata(tmp_path / "pan.mp4")["camera"]
    assert [move["preset"] for move in recorded] == ["pan_left", "truck_right"] and recorded[1]["frames"] == [1, 3]
    deep = made("truck.mp4", "--camera", "truck_right:5", "--depth", tmp_path / "depth.png")
    assert "planar" not in deep.err + deep.out
    assert "third of the view" not in outcome.err + deep.err
    far = made("far.mp4", "--camera", "pan_left:500")
    assert "Expected a camera on whose way at least a third of the view" in far.err and "haze" in far.err
    made("plain.mp4")
    assert len({(tmp_path / f"{name}.mp4").read_bytes() for name in ("pan", "truck", "plain")}) == 3


def test_a_move_needs_something_to_do() -> None:
    with pytest.raises(InputError, match="neither"):
        Move()
    assert torch.tensor(Move(preset="static").speed) == 1
