"""The node that loads camera LoRAs, and the node that says what a file is, on a fake host with real files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from svd_core.config import NANO
from tests.fake_host import FakeHost, on_fake_host
from tests.loras import lora_file, random_pairs, spelled, targets_of

LAYERS = targets_of(NANO.unet, lambda name: ".time_stack.0.attn1.to_" in name)


class Folders:
    """The host's folder lists over two real folders."""

    def __init__(self, base: Path) -> None:
        self.models_dir = str(base)
        self.folder_names_and_paths = {
            name: ([str(base / name)], set()) for name in ("checkpoints", "diffusers", "loras")
        }

    def add_model_folder_path(self, name: str, path: str) -> None:
        self.folder_names_and_paths[name] = ([path], set())

    def get_folder_paths(self, name: str) -> list[str]:
        return self.folder_names_and_paths[name][0]

    def get_filename_list(self, name: str) -> list[str]:
        root = Path(self.get_folder_paths(name)[0])
        return sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())

    def get_full_path(self, name: str, file: str) -> str:
        return str(Path(self.get_folder_paths(name)[0]) / file)


@pytest.fixture
def pack(tmp_path: Path) -> tuple[FakeHost, Any]:
    host, module = on_fake_host()
    host.folder_paths = Folders(tmp_path)
    tensors = spelled(LAYERS, random_pairs(LAYERS, 2), "kohya, original", alpha=1.0)
    lora_file(tmp_path / "svd_camera_loras" / "pan.safetensors", tensors)
    lora_file(tmp_path / "loras" / "pan.safetensors", {"a.lora_down.weight": torch.zeros(1, 2)})
    part = dict(list(tensors.items())[:3]) | {"lora_unet_nowhere.lora_down.weight": torch.zeros(2, 4)}
    lora_file(tmp_path / "loras" / "sub" / "part.safetensors", part)
    (tmp_path / "loras" / "old.ckpt").write_bytes(b"PK\x03\x04")
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    host.register_folder = lambda name: host.folder_paths.add_model_folder_path(name, str(tmp_path / name))
    return host, module


def test_the_folder_is_known_when_nodes_are_asked_for(pack: tuple[FakeHost, Any]) -> None:
    host, module = pack
    catalog = module("nodes.catalog")
    assert catalog.lora_names() == ["pan.safetensors", "sub/part.safetensors"]
    extension = module("nodes").SVDStudioExtension()
    asyncio.run(extension.get_node_list())
    assert "svd_camera_loras" in host.folder_paths.folder_names_and_paths
    assert catalog.lora_names() == ["pan.safetensors", "sub/part.safetensors"], "each name once, no pickles"
    assert catalog.find_lora("pan.safetensors").parent.name == "svd_camera_loras"
    assert "camera lora: pan.safetensors" in catalog.file_names() and "lora: old.ckpt" in catalog.file_names()
    assert catalog.find("camera lora: pan.safetensors") == catalog.find_lora("pan.safetensors")


def test_loading_gives_a_camera_and_a_report(pack: tuple[FakeHost, Any]) -> None:
    host, module = pack
    host.register_folder("svd_camera_loras")
    room = module("nodes.load_camera_lora").SVDStudioLoadCameraLora
    assert room.validate_inputs("pan.safetensors", 0.5) is True
    output = room.execute("pan.safetensors", 0.5)
    stack, report = output.result
    (move,) = stack.moves
    assert (move.preset, move.amount, move.lora.matched, move.lora.total) == (None, 0.5, 28, 28)
    assert "matched 28 of 28 layers, temporal attention 28 of 56" in report and output.ui.text == report
    report = room.execute("sub/part.safetensors", 1.0).result[1]
    assert "matched 1 of 2 layers" in report and "warning: 1 of 2" in report and "nowhere" in report


def test_refusals_stand_on_the_node(pack: tuple[FakeHost, Any]) -> None:
    host, module = pack
    room = module("nodes.load_camera_lora").SVDStudioLoadCameraLora
    assert "0 of 1 layers" in room.validate_inputs("pan.safetensors", 1.0)
    for name in ("old.ckpt", "../secret.safetensors", "gone.safetensors", "no LoRA found"):
        assert "a .safetensors file of ComfyUI/models/svd_camera_loras" in room.validate_inputs(name, 1.0)
    assert room.validate_inputs(None, 1.0) is True
    host.folder_paths.folder_names_and_paths.pop("loras")
    (options,) = [entry.options for entry in room.define_schema().inputs if entry.id == "lora_name"]
    assert options == ["no LoRA found"]


def test_the_fingerprint_follows_the_file_and_its_settings(pack: tuple[FakeHost, Any]) -> None:
    host, module = pack
    room = module("nodes.load_camera_lora").SVDStudioLoadCameraLora
    path = Path(host.folder_paths.models_dir) / "loras" / "sub" / "part.safetensors"
    seen = {room.fingerprint_inputs("sub/part.safetensors", 1.0), room.fingerprint_inputs("sub/part.safetensors", 1.0)}
    assert len(seen) == 1
    (path.parent / "adapter_config.json").write_text("{}")
    seen.add(room.fingerprint_inputs("sub/part.safetensors", 1.0))
    path.write_bytes(path.read_bytes() + b"x")
    seen.add(room.fingerprint_inputs("sub/part.safetensors", 1.0))
    seen.add(room.fingerprint_inputs("sub/part.safetensors", 0.9))
    assert len(seen) == 4


def test_what_is_this_file_tells_all_about_a_lora(pack: tuple[FakeHost, Any]) -> None:
    host, module = pack
    host.register_folder("svd_camera_loras")
    room = module("nodes.info").SVDStudioInfo
    text, facts = room.execute("camera lora: pan.safetensors").result
    for line in ("kind: lora", "dialect: kohya", "matched: 28", "total: 28", "temporal: 28", "alpha: 1.0"):
        assert line in text.splitlines()
    assert json.loads(facts)["no_effect"] == 0
    assert "warning: " in room.execute("lora: sub/part.safetensors").result[0]


def test_a_lora_of_nan_is_a_sentence_on_the_node(pack: tuple[FakeHost, Any], tmp_path: Path) -> None:
    _, module = pack
    tensors = spelled(LAYERS, random_pairs(LAYERS, 2), "kohya, original", alpha=1.0)
    name = next(name for name in tensors if "lora_up" in name)
    tensors[name][0, 0] = torch.nan
    lora_file(tmp_path / "svd_camera_loras" / "failed.safetensors", tensors)
    node = module("nodes.load_camera_lora").SVDStudioLoadCameraLora
    asyncio.run(module("nodes").SVDStudioExtension().get_node_list())
    with pytest.raises(
        module("svd_core.errors").SvdError, match=rf"in failed\.safetensors; found .* in {name}\. The file"
    ):
        node.execute("failed.safetensors", 1.0)
