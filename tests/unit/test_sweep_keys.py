"""What the key of a cell follows from: everything that goes into the clip, file contents included, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from svd_core.sweep import contents, hash_store
from svd_core.sweep.cells import cells_of
from svd_core.sweep.contents import Locate, file_of
from svd_core.sweep.hash_store import file_hash, kept_hash
from svd_core.sweep.plan import parse_plan

CAMERA = {"svd_studio.camera": json.dumps({"version": 1, "preset": "pan_left", "base": "x"})}


def weights(path: Path, value: float, metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.full((4,), value)}, path, metadata)
    return path


def key(folder: Path, **settings: Any) -> str:
    template = {"kind": "animate", "settings": {"image": "a.png", "steps": 2, **settings}}
    return cells_of(parse_plan({"version": 1, "template": template}, folder))[0].key


def graph_key(folder: Path, prompt: dict[str, Any], locate: Locate | None = None, **bindings: list[str]) -> str:
    axes = [{"name": name, "values": [prompt[node]["inputs"][entry]]} for name, (node, entry) in bindings.items()]
    template = {"kind": "graph", "prompt": prompt, "bindings": bindings}
    return cells_of(parse_plan({"version": 1, "template": template, "axes": axes}, folder), locate)[0].key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "depth.png").write_bytes(b"near and far")
    weights(tmp_path / "model.safetensors", 1.0)
    for part in ("unet", "vae"):
        weights(tmp_path / "model" / part / "diffusion_pytorch_model.safetensors", 1.0)
        (tmp_path / "model" / part / "config.json").write_text("{}")
    weights(tmp_path / "peft/adapter_model.safetensors", 1.0)
    (tmp_path / "peft/adapter_config.json").write_text('{"lora_alpha": 1}')
    weights(tmp_path / "lone/adapter_model.safetensors", 1.0)
    (tmp_path / "lone/adapter_config.json").write_text('{"lora_alpha": 1}')
    weights(tmp_path / "push.safetensors", 1.0)
    moves = [{"preset": "pan_left"}, {"lora": "push", "amount": 1}]
    (tmp_path / "camera.json").write_text(json.dumps({"version": 1, "moves": moves}))
    weights(tmp_path / "moves/deep/pan.safetensors", 1.0, CAMERA)
    weights(tmp_path / "moves/other.safetensors", 1.0)
    for name in ("one", "two"):
        weights(tmp_path / f"{name}.safetensors", 1.0)
    index = {"weight_map": {"w": "one.safetensors", "v": "two.safetensors"}}
    (tmp_path / "sharded.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


CASES: list[tuple[str, Any, str]] = [
    ("image", "a.png", "a.png"),
    ("depth", "depth.png", "depth.png"),
    ("model", "model.safetensors", "model.safetensors"),
    ("model", "model", "model/vae/diffusion_pytorch_model.safetensors"),
    ("model", "model", "model/unet/config.json"),
    ("model", "sharded.safetensors.index.json", "two.safetensors"),
    ("companion", ["model.safetensors"], "model.safetensors"),
    ("companion", ["model"], "model/unet/diffusion_pytorch_model.safetensors"),
    ("camera_lora", ["push.safetensors:0.5"], "push.safetensors"),
    ("camera_lora", ["peft:0.5"], "peft/adapter_model.safetensors"),
    ("camera_lora", "peft", "peft/adapter_config.json"),
    ("camera_lora", "lone/adapter_model.safetensors:2", "lone/adapter_config.json"),
    ("camera", ["camera.json"], "camera.json"),
    ("camera", ["camera.json"], "push.safetensors"),
    ("camera_folder", ["moves"], "moves/deep/pan.safetensors"),
]


@pytest.mark.parametrize(("name", "value", "changed"), CASES, ids=[f"{n}-{c}" for n, _, c in CASES])
@pytest.mark.parametrize("as_axis", [False, True])
def test_contents_count(name: str, value: Any, changed: str, as_axis: bool, folder: Path) -> None:
    def now() -> str:
        if not as_axis:
            return key(folder, **{name: value})
        template = {"kind": "animate", "settings": {} if name == "image" else {"image": "a.png"}}
        axes = [{"name": name, "values": value if isinstance(value, list) else [value]}]
        return cells_of(parse_plan({"version": 1, "template": template, "axes": axes}, folder))[0].key

    before = now()
    path = folder / changed
    if path.suffix == ".json":
        path.write_text(path.read_text()[:-1] + ', "more": 1}')
    elif path.suffix == ".png":
        path.write_bytes(b"other")
    else:
        # The same header and size: only the weights themselves differ.
        metadata = CAMERA if "moves" in changed else None
        size = path.stat().st_size
        weights(path, 2.0, metadata)
        assert path.stat().st_size == size
    assert now() != before


def test_what_plays_no_part_does_not_count(folder: Path) -> None:
    before = key(folder, camera_folder=["moves"], model="model")
    weights(folder / "moves/other.safetensors", 5.0)
    (folder / "model/README.md").write_text("new")
    assert key(folder, camera_folder=["moves"], model="model") == before


def test_a_cell_is_the_same_wherever_its_parts_stand(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    template = {"kind": "animate", "settings": {"image": "a.png"}}
    moved = parse_plan({"version": 1, "template": template, "axes": [{"name": "steps", "values": [2]}]}, folder)
    assert cells_of(moved)[0].key == key(folder) == key(folder, model="nano", format="mp4", seed=None)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "b.png").write_bytes(b"picture")
    weights(elsewhere / "x.safetensors", 1.0)
    assert key(elsewhere, image="b.png", model="x.safetensors") == key(folder, model="model.safetensors")


def test_what_ships_with_the_package_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, moved = key(folder), key(folder, camera=["pan_left:3"])
    monkeypatch.setattr(contents, "EMBEDDED", weights(folder / "newer.safetensors", 1.0))
    assert key(folder) != plain
    monkeypatch.undo()
    monkeypatch.setattr(contents, "SHIPPED_CAMERAS", folder / "moves")
    assert key(folder) == plain and key(folder, camera=["pan_left:3"]) != moved


def test_a_graph_is_known_by_what_its_nodes_get(folder: Path) -> None:
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}, "_meta": {"title": "mine"}},
        "3": {"class_type": "KSampler", "inputs": {"seed": 4, "model": ["1", 0]}},
    }
    before = graph_key(folder, prompt, seed=["3", "seed"])
    assert before == graph_key(folder, prompt, image=["1", "image"], seed=["3", "seed"]) == graph_key(folder, prompt)
    renamed = {**prompt, "1": {**prompt["1"], "_meta": {"title": "yours"}}}
    assert graph_key(folder, renamed) == before
    more = {**prompt, "3": {"class_type": "KSampler", "inputs": {"seed": 5, "model": ["1", 0]}}}
    assert graph_key(folder, more, seed=["3", "seed"]) != before
    (folder / "a.png").write_bytes(b"other")
    assert graph_key(folder, prompt, seed=["3", "seed"]) != before


def loading(**inputs: str) -> dict[str, Any]:
    return {"1": {"class_type": "Loader", "inputs": inputs}, "2": {"class_type": "KSampler", "inputs": {"seed": 4}}}


@pytest.mark.parametrize("as_axis", [False, True])
@pytest.mark.parametrize(
    "changed",
    [
        "model.safetensors",
        "lone/adapter_config.json",
        "model/unet/diffusion_pytorch_model.safetensors",
        "two.safetensors",
    ],
)
def test_a_model_of_a_host_counts_by_what_is_in_it(changed: str, as_axis: bool, folder: Path) -> None:
    words = {
        "ckpt_name": ["model.safetensors"],
        "lora_name": ["lone/adapter_model.safetensors"],
        "model": ["model"],
        "unet_name": ["sharded.safetensors.index.json"],
    }
    known = {word: [folder / path for path in paths] for word, paths in words.items()}
    prompt = loading(**{word: word for word in words})
    bindings = {word: ["1", word] for word in words} if as_axis else {}
    elsewhere = folder / "input"

    def now(known: dict[str, list[Path]] = known) -> str:
        return graph_key(elsewhere, prompt, lambda word: known.get(word, []), **bindings)

    before = now()
    assert graph_key(elsewhere, prompt, **bindings) != before == now()
    with (folder / changed).open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b" ")
    assert now() != before


def test_a_name_in_two_folders_of_a_host_counts_with_both(folder: Path) -> None:
    def now(*files: str) -> str:
        return graph_key(folder / "input", loading(name="x"), lambda word: [folder / f for f in files if word == "x"])

    keys = {now(), now("model.safetensors"), now("depth.png"), now("model.safetensors", "depth.png"), now("none")}
    assert len(keys) == 4, "a file that cannot be read is its name"


def test_a_model_of_a_graph_is_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "large.safetensors"
    path.write_bytes(bytes(2**20))
    os.utime(path, (1e9, 1e9))
    read: list[Path] = []
    monkeypatch.setattr(hash_store, "file_hash", lambda path: (read.append(path), file_hash(path))[1])

    def now() -> str:
        return graph_key(folder / "input", loading(name="x"), lambda word: [path] if word == "x" else [])

    assert now() == now() and read == [path]


def test_words_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "pan_left").mkdir()
    assert file_of("camera", "pan_left:3", tmp_path) is None and file_of("steps", 3, tmp_path) is None
    assert file_of("camera_lora", "C:\\loras\\pan", tmp_path) == (tmp_path / "C:\\loras\\pan", "")
    assert file_of("camera_lora", "pan:-0.5", tmp_path) == (tmp_path / "pan", ":-0.5")
    assert key(tmp_path, image="none.png") != key(tmp_path, image="neither.png")
    # Read, it would never end.
    assert contents.Contents(tmp_path).file("/dev/./zero") is None


# hashes kept between runs


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large and was written a while ago."""
    monkeypatch.setattr(hash_store, "SMALLEST_KEPT", 4)
    path = tmp_path / "large.safetensors"
    path.write_bytes(b"weights")
    os.utime(path, (1e9, 1e9))
    return path


def test_a_large_file_is_read_once(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store/hashes.json"
    assert kept_hash(large, store) == file_hash(large)
    monkeypatch.setattr(hash_store, "file_hash", lambda _: pytest.fail("read again"))
    assert kept_hash(large, store) == hash_store._read(store)[str(large.resolve())][-1]


def test_a_file_whose_dates_were_set_back_is_read_again(large: Path, tmp_path: Path) -> None:
    store = tmp_path / "hashes.json"
    before = kept_hash(large, store)
    large.write_bytes(b"WEIGHTS")
    os.utime(large, (1e9, 1e9))
    assert kept_hash(large, store) == file_hash(large) != before


def test_a_file_of_this_moment_is_not_kept(large: Path, tmp_path: Path) -> None:
    os.utime(large)
    kept_hash(large, tmp_path / "hashes.json")
    assert not (tmp_path / "hashes.json").exists()


def test_a_store_that_cannot_be_used_is_none(large: Path, tmp_path: Path) -> None:
    for rubbish in (b"\xff", b"[]", b'{"x": 1'):
        (tmp_path / "hashes.json").write_bytes(rubbish)
        assert kept_hash(large, tmp_path / "hashes.json") == file_hash(large)
    assert kept_hash(large, large / "below/a/file.json") == file_hash(large)


def test_small_files_are_always_read(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 100)
    os.utime(tmp_path / "small", (1e9, 1e9))
    kept_hash(tmp_path / "small", tmp_path / "hashes.json")
    assert not (tmp_path / "hashes.json").exists()
