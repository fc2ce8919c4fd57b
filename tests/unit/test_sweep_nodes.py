"""The sweep nodes on a fake host: what they find, what they hand on, and what a saved clip is known by."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from svd_core.sweep.feeder import MARK
from tests.fake_host import on_fake_host
from tests.sweep_graphs import cell, two_by


@pytest.fixture
def pack(tmp_path: Path) -> Any:
    """The import function of a pack whose input folder holds a few pictures."""
    host, load = on_fake_host()
    folder = tmp_path / "input"
    (folder / "photos" / "deep").mkdir(parents=True)
    for name in ("photo2.png", "photo10.png", "deep/photo3.png"):
        Image.new("RGB", (16, 12), (200, 100, 50)).save(folder / "photos" / name)
    (folder / "photos" / "notes.txt").write_text("no picture", encoding="utf-8")
    Image.new("RGB", (16, 12)).save(tmp_path / "secret.png")
    host.folder_paths.get_input_directory = lambda: str(folder)
    host.folder_paths.filter_files_content_types = lambda names, kinds: [
        name for name in names if name.endswith(".png")
    ]
    host.folder_paths.folder_names_and_paths = {"loras": ([], set())}
    host.folder_paths.get_filename_list = lambda kind: ["x/pan_left.safetensors", "x/pan_right.safetensors", "old.ckpt"]
    host.ExecutionBlocker = lambda words: SimpleNamespace(words=words)
    load("nodes.sweeping").sweeps.cache_clear()
    return load


def test_pictures_are_found_in_natural_order(pack: Any) -> None:
    find = pack("nodes.sweeping").find
    assert list(find("images", "photos/*.png")) == ["photos/photo2.png", "photos/photo10.png"]
    assert list(find("images", "photos")) == ["photos/photo2.png", "photos/photo10.png"]
    assert list(find("images", "photos\\photo2.png")) == ["photos/photo2.png"]
    assert list(find("images", "**/*.png")) == ["photos/deep/photo3.png", "photos/photo2.png", "photos/photo10.png"]
    assert list(find("lora files", "*PAN_*")) == ["x/pan_left.safetensors", "x/pan_right.safetensors"]
    odd = pack("nodes.sweeping").pictures() / "shots [1]"
    odd.mkdir()
    Image.new("RGB", (16, 12)).save(odd / "a.png")
    assert list(find("images", "shots [1]")) == ["shots [1]/a.png"]


@pytest.mark.parametrize(
    "pattern", ["../secret.png", "photos/../../*.png", "/etc/*", "C:/x.png", "photos/none.png", "q*"]
)
def test_nothing_outside_the_folder_and_nothing_that_is_not_there(pack: Any, pattern: str) -> None:
    errors = pack("svd_core.errors")
    with pytest.raises(errors.InputError, match="Expected"):
        pack("nodes.sweeping").find("images", pattern)


@pytest.mark.parametrize("pattern", ["../*.safetensors", "*.ckpt", "nothing"])
def test_only_listed_loras(pack: Any, pattern: str) -> None:
    errors = pack("svd_core.errors")
    with pytest.raises(errors.InputError, match="LoRA files"):
        pack("nodes.sweeping").find("lora files", pattern)


def test_axes_chain_and_cells_give_what_their_kind_can(pack: Any) -> None:
    axis, plan_node, cell_node = (
        getattr(pack(f"nodes.sweep_{name}"), f"SVDStudioSweep{name.title()}") for name in ("axis", "plan", "cell")
    )
    (images,) = axis.execute("image", "images", "photos/*.png").result
    (both,) = axis.execute("seed", "seed", "3 from 7", images).result
    (plan,) = plan_node.execute(both, "name", "product", "grouped", 0, 0).result
    seed = cell_node.execute(plan, "seed", 4).result
    assert seed[:3] == (9, 9.0, "9") and seed[5] == 9
    assert "seed in use" not in seed[3].words and "image in use" in seed[3].words and "Wire int" in seed[3].words
    picture = cell_node.execute(plan, "image", 4).result
    assert picture[3].shape == (1, 12, 16, 3) and picture[2] == "photos/photo10.png"
    with pytest.raises(pack("svd_core.errors").InputError, match=r"0 \.\. 5"):
        cell_node.execute(plan, "seed", 6)


def test_what_cannot_be_read_is_said_on_the_node(pack: Any) -> None:
    axis = pack("nodes.sweep_axis").SVDStudioSweepAxis
    assert axis.validate_inputs("seed", "seed", "6 from 0") is True
    assert "Expected" in axis.validate_inputs("seed", "seed", "six")
    assert "kind" in axis.validate_inputs("seed", "colour", "red")
    assert axis.validate_inputs("seed", "seed", None) is True, "a wire is judged when the sweep is queued"


def test_a_damaged_picture_is_an_error(pack: Any, tmp_path: Path) -> None:
    path = tmp_path / "input" / "photos" / "photo2.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(pack("svd_core.errors").FileFormatError, match="complete picture"):
        pack("nodes.sweep_value").SVDStudioSweepValue.execute("images", "photos/photo2.png")


def test_a_picture_that_changes_is_noticed(pack: Any, tmp_path: Path) -> None:
    axis = pack("nodes.sweep_axis").SVDStudioSweepAxis
    value = pack("nodes.sweep_value").SVDStudioSweepValue
    before = axis.fingerprint_inputs("i", "images", "photos"), value.fingerprint_inputs("images", "photos/photo2.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "input" / "photos" / "photo2.png")
    after = axis.fingerprint_inputs("i", "images", "photos"), value.fingerprint_inputs("images", "photos/photo2.png")
    assert before[0] != after[0] and before[1] != after[1]


def test_only_the_marked_node_saves_into_a_sweep(pack: Any) -> None:
    saving = pack("nodes.saving")
    prompt = two_by(1)
    assert saving.cell_of(prompt, "8") is None
    prompt["8"]["inputs"][MARK] = {"sweep": "mine", "cell": "abc", "attempt": "1"}
    assert saving.cell_of(prompt, "8") == saving.CellMark("mine", "abc")
    assert saving.cell_of(prompt, "7") is None and saving.cell_of(None, None) is None
    prompt["8"]["inputs"][MARK] = "mine"
    assert saving.cell_of(prompt, "8") is None


def test_names_of_a_graph_at_one_cell(pack: Any) -> None:
    prompt = two_by(2)
    prompt["4"], prompt["5"] = cell("3", "image", 3), cell("3", "seed", 3)
    values = pack("nodes.saving").graph_in_file(prompt, None, "").values
    assert values["stem"] == "photo10" and values["seed"] == 11
    loader = {"1": {"class_type": "SVDStudioSweepValue", "inputs": {"kind": "images", "value": "photos/photo2.png"}}}
    assert pack("nodes.saving").graph_in_file(loader, None, "").values["stem"] == "photo2"


def test_the_files_a_word_of_a_graph_names(pack: Any, tmp_path: Path) -> None:
    """Models and LoRAs of every list, and the cameras that were saved with the LoRAs in them."""
    paths = pack("nodes.host").folder_paths
    models = tmp_path / "models"
    for name in ("loras/x/pan_left.safetensors", "checkpoints/svd.safetensors", "vae/svd.safetensors"):
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).write_bytes(b"w")
    paths.folder_names_and_paths = {kind: ([], set()) for kind in ("checkpoints", "vae", "loras", "custom_nodes")}
    full = {kind: models / kind for kind in paths.folder_names_and_paths}
    paths.get_full_path = lambda kind, name: str(full[kind] / name) if (full[kind] / name).is_file() else None
    paths.get_filename_list = lambda kind: ["x/pan_left.safetensors"] if kind == "loras" else []
    paths.get_user_directory = lambda: str(tmp_path / "user")
    cameras = tmp_path / "user" / "default" / "svd_studio_cameras"
    cameras.mkdir(parents=True)
    (cameras / "mine.json").write_text('{"version": 1, "moves": [{"lora": "pan_left"}, {"preset": "static"}]}')
    (cameras / "broken.json").write_text("{")
    files = pack("nodes.sweeping").files
    lora = models / "loras" / "x" / "pan_left.safetensors"
    assert files("svd.safetensors") == [models / "checkpoints/svd.safetensors", models / "vae/svd.safetensors"]
    assert files("x/pan_left.safetensors") == files("lora: x/pan_left.safetensors") == [lora]
    assert files("pan_left:12 + saved: mine") == [cameras / "mine.json", lora]
    assert files("nano (embedded)") == [pack("nodes.catalog")._ASSET]
    for word in ("pan_left:12", "a dog", "none.safetensors", "saved: broken", "saved: ../mine", "lora: none", ""):
        assert not files(word)
