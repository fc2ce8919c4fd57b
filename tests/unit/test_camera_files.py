"""Which file carries a preset: tags decide, folders in their order, the shipped ones last."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from svd_core.camera.lora import CameraLora
from svd_core.unet import VideoUNet
from svd_core.weights import camera_files
from svd_core.weights.camera_files import CameraFiles
from svd_core.weights.fingerprint import base_fingerprint
from svd_core.weights.lora import save_camera_lora
from tests.deltas import random_lora
from tests.tiny import TINY_UNET, randomise_


@pytest.fixture(scope="module")
def unet() -> VideoUNet:
    network = VideoUNet(TINY_UNET)
    randomise_(network)
    return network


def lora_for(unet: VideoUNet, preset: str | None, base: str | None, seed: int = 1) -> CameraLora:
    return dataclasses.replace(
        random_lora(unet, seed, ("middle_block.1.time_stack.0.attn1.",)), preset=preset, base=base
    )


def test_the_first_file_with_the_tags(unet: VideoUNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, shipped = (tmp_path / name for name in ("first", "second/deep", "shipped"))
    for folder in (first, second, shipped):
        folder.mkdir(parents=True)
    base = base_fingerprint(unet)
    other = VideoUNet(TINY_UNET)
    randomise_(other, seed=9)
    elsewhere = base_fingerprint(other)
    save_camera_lora(lora_for(unet, "pan_left", base), second / "a.safetensors")
    save_camera_lora(lora_for(unet, "pan_left", base), shipped / "b.safetensors")
    save_camera_lora(lora_for(unet, "roll_cw", base), shipped / "c.safetensors")
    save_camera_lora(lora_for(unet, "zoom_in", elsewhere), first / "d.safetensors")
    save_camera_lora(lora_for(unet, None, None), first / "untagged.safetensors")
    (first / "broken.safetensors").write_bytes(b"\x00" * 20)
    monkeypatch.setattr(camera_files, "SHIPPED", shipped)
    find = CameraFiles([first, second.parent, tmp_path / "missing"], config=TINY_UNET)
    found = find("pan_left", base)
    assert found is not None and found.name == "a"
    assert find("pan_left", base) is found, "the file was read twice"
    assert (named := find("roll_cw", base)) is not None and named.name == "c"
    assert find("zoom_in", base) is None, "a LoRA of another base model"
    assert (far := find("zoom_in", elsewhere)) is not None and far.name == "d"
    assert find("tilt_up", base) is None
    assert find("pan_left", None) is None, "a model nobody knows"
