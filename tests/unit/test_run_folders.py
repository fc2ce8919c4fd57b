"""The folder of a training run is opened by its result: what the run keeps beside it is no model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from svd_core.config import NANO
from svd_core.weights.lora import load_camera_lora
from tests.command_line import assert_refused, run_here
from tests.loras import lora_file, random_pairs, spelled, targets_of

CACHE = "latents-0123456789abcdef.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """As `svd train camera` leaves it, without its result."""
    save_file({"0.latents": torch.zeros(1, 2), "pixel_noise": torch.zeros(4)}, tmp_path / CACHE, {"key": "x"})
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "plan.json").write_text("{}")
    return tmp_path


def test_the_lora_of_a_run_is_inspected_and_loaded(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = targets_of(NANO.unet, lambda name: ".time_stack.0.attn1.to_" in name)
    lora_file(run / "pan_left.safetensors", spelled(layers, random_pairs(layers, 2), "kohya, original", alpha=1.0))
    facts = json.loads(run_here(capsys, "inspect", run, "--json").out)
    assert facts["kind"] == "lora" and facts["source"] == str(run / "pan_left.safetensors")
    assert load_camera_lora(run).name == "pan_left"
    lora_file(run / "pan_right.safetensors", spelled(layers, random_pairs(layers, 2), "kohya, original", alpha=1.0))
    refused = run_here(capsys, "inspect", run)
    assert_refused(refused, "found pan_left.safetensors, pan_right.safetensors. Name the file you mean")


@pytest.mark.parametrize("left", [(CACHE, "state.pt"), ("state.pt",), (CACHE,)])
def test_a_run_without_a_result_is_called_one(
    left: tuple[str, ...], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in list(run.iterdir()):
        if path.name not in left:
            path.unlink()
    assert_refused(run_here(capsys, "inspect", run), "a training run that has not written one yet", "--resume")


def test_other_pickles_are_refused_as_before(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in list(run.iterdir()):
        path.unlink()
    (run / "model.ckpt").write_bytes(b"PK\x03\x04")
    assert_refused(run_here(capsys, "inspect", run), "pickles only (model.ckpt)")
