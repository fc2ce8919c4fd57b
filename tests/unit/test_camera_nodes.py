"""The camera nodes on a fake host: chains, joins, previews, files, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.fake_host import on_fake_host

NODES = {
    "move": "CameraMove",
    "mix": "CameraMix",
    "join": "CameraJoin",
    "preview": "CameraPreview",
    "save": "SaveCamera",
    "load": "LoadCamera",
}


@pytest.fixture
def pack(tmp_path: Path) -> Any:
    host, module = on_fake_host()
    host.folder_paths = SimpleNamespace(
        get_user_directory=lambda: str(tmp_path), folder_names_and_paths={}, get_filename_list=lambda name: []
    )
    host.ui.PreviewImage = lambda images, cls: SimpleNamespace(as_dict=lambda: {"images": images})
    return module


def node(pack: Any, name: str) -> Any:
    return getattr(pack(f"nodes.camera_{name}"), f"SVDStudio{NODES[name]}")


def move(pack: Any, preset: str = "pan_left", amount: float = 8.0, **more: Any) -> Any:
    entries = {"first_frame": 0, "last_frame": -1, "ease": "linear"} | more
    return node(pack, "move").execute(preset, amount, **entries).result[0]


def planar(pack: Any, camera: Any, frames: int = 9) -> Any:
    return pack("svd_core.camera.stack").resolve(camera, frames, 8.0, None).planar


def test_moves_chain_and_mix(pack: Any) -> None:
    chained = move(pack, "zoom_in", 16.0, camera=move(pack))
    mixed = node(pack, "mix").execute(move(pack), move(pack, "zoom_in", 16.0)).result[0]
    assert chained == mixed and len(chained.moves) == 2
    motion = planar(pack, chained)
    assert motion.pan.tolist() == [-1] * 8 and motion.zoom.tolist() == [2] * 8


def test_moves_join(pack: Any) -> None:
    joined = node(pack, "join").execute(move(pack), move(pack, "tilt_up"), 0, "3").result[0]
    motion = planar(pack, joined)
    assert motion.pan.nonzero().flatten().tolist() == [0, 1, 2]
    assert motion.tilt.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


def test_ranges_eases_and_static(pack: Any) -> None:
    assert move(pack).moves[0].frames is None
    assert planar(pack, move(pack, first_frame=6)).pan.nonzero().flatten().tolist() == [6, 7]
    there_and_back = planar(pack, move(pack, ease="custom", points="0:0, 0.5:1, 1:0")).pan
    assert float(there_and_back.sum()) == pytest.approx(0) and bool(there_and_back.any())
    assert move(pack, "static", 12.0).moves[0].speed == 1.0
    assert move(pack, "handheld", shake_seed=4).moves[0].seed == 4


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"preset": "sideways"}, "pan_left"),
        ({"ease": "bounce"}, "custom"),
        ({"ease": "custom", "points": "1:0, 0:1"}, "ascending"),
        ({"amount": float("nan")}, "amount"),
        ({"first_frame": 5, "last_frame": 5}, "last_frame"),
        ({"first_step": 0.6, "last_step": 0.5}, "steps"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused_before_it_runs(pack: Any, entries: dict[str, Any], words: str) -> None:
    told = node(pack, "move").validate_inputs(**entries)
    assert isinstance(told, str) and words in told


def test_what_other_nodes_bring_is_not_judged_early(pack: Any) -> None:
    assert node(pack, "move").validate_inputs() is True
    assert node(pack, "move").validate_inputs(ease="custom") is True
    assert node(pack, "join").validate_inputs(starts="8, 16") is True
    told = node(pack, "join").validate_inputs(starts="8, soon")
    assert isinstance(told, str) and "starts" in told


def test_saved_cameras_come_back_and_appear_in_the_list(pack: Any, tmp_path: Path) -> None:
    camera = node(pack, "join").execute(move(pack), move(pack, "zoom_in", ease="in-out"), 4).result[0]
    assert node(pack, "load").define_schema().inputs[0].options == ["(none saved yet)"]
    node(pack, "save").execute(camera, " my pan (2) ")
    assert [file.name for file in tmp_path.rglob("*.json")] == ["my pan (2).json"]
    assert node(pack, "load").define_schema().inputs[0].options == ["my pan (2)"]
    assert "saved: my pan (2)" in node(pack, "move").define_schema().inputs[0].options
    assert node(pack, "load").execute("my pan (2)").result[0] == camera
    assert move(pack, "saved: my pan (2)", camera=move(pack)).moves[1:] == camera.moves
    before = node(pack, "load").fingerprint_inputs("my pan (2)")
    node(pack, "save").execute(move(pack), "my pan (2)")
    assert node(pack, "load").fingerprint_inputs("my pan (2)") != before


@pytest.mark.parametrize(
    "name", ["", "  ", "../x", "a/b", "a\\b", "C:x", ".hidden", "con", "Nul.txt", "x.", "x" * 90, "a\nb", "a\0b"]
)
def test_names_cannot_lead_elsewhere(pack: Any, tmp_path: Path, name: str) -> None:
    told = node(pack, "save").validate_inputs(name)
    assert isinstance(told, str) and "name" in told
    with pytest.raises(pack("svd_core.errors").InputError):
        node(pack, "save").execute(move(pack), name)
    assert isinstance(node(pack, "load").validate_inputs(name), str)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_foreign_file_is_refused(pack: Any, tmp_path: Path) -> None:
    told = node(pack, "load").validate_inputs("mine")
    assert isinstance(told, str) and "mine" in told
    folder = tmp_path / "default" / "svd_studio_cameras"
    folder.mkdir(parents=True)
    (folder / "mine.json").write_text('{"moves": "all"}', encoding="utf-8")
    with pytest.raises(pack("svd_core.errors").FileFormatError, match="version"):
        node(pack, "load").execute("mine")
    with pytest.raises(pack("svd_core.errors").InputError, match="moves"):
        node(pack, "save").execute(pack("svd_core.camera.move").CameraStack(), "empty")


def test_the_preview_shows_where_the_camera_goes(pack: Any) -> None:
    picture = torch.full((1, 60, 90, 3), 0.5)
    path, curves, summary = node(pack, "preview").execute(picture, move(pack, "pan_right", 40.0), 9, 8).result
    assert path.shape[0] == 1 and path.shape[2] > 90 and path.shape[1] < 66, "room at the sides only"
    assert curves.shape == (1, 360, 640, 3) and summary == "pan_right:40"
    still = node(pack, "preview").execute(picture, move(pack, "static"), 9, 8).result[0]
    assert still.shape[2] < path.shape[2]
    orange = (path[0] - torch.tensor([251, 113, 36]) / 255).abs().amax(-1) < 0.02
    columns = orange.any(0).nonzero().flatten()
    # The last view begins 40 % of the width to the right of the first.
    first_edge = (path.shape[2] - 90) // 2
    assert int(columns.min()) - first_edge == pytest.approx(36, abs=3)


def test_the_preview_warns_of_a_camera_that_leaves_the_picture(pack: Any) -> None:
    def shown(camera: Any, frames: int = 9) -> tuple[str, str]:
        output = node(pack, "preview").execute(torch.rand(1, 60, 90, 3), camera, frames, 8)
        assert output.ui["images"] is output.result[0], "the path stays on the node"
        (text,) = output.ui["text"]
        return text, output.result[2]

    away = move(pack, "pan_left", 100.0)
    text, summary = shown(away)
    assert text.startswith("Where no camera LoRA carries the moves: Expected a camera on whose way")
    assert "less than a third from frame 6 on" in text and summary == f"pan_left:100\n{text}"
    assert shown(away, 4) == ("", "pan_left:100"), "a clip so short stays in the picture"
    # What comes with a LoRA is made by it: only the other moves are judged, whether or not they can be resolved.
    core = pack("svd_core.camera.move")
    lora = pack("svd_core.camera.lora").CameraLora(
        name="own", deltas={}, dialect="peft", rank=4, alpha=None, total=0, no_effect=0
    )
    carried = core.CameraStack((core.Move(preset="pan_left", amount=90.0, lora=lora),))
    assert shown(carried)[0] == ""
    assert "times" in shown(core.mix(carried, move(pack, "zoom_in", 500.0)))[0]
