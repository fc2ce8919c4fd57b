"""The training node in a running host: twenty photographs, cancelled in the middle, gone on with, and the file used."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest
import torch
from PIL import Image

from svd_core.weights.lora import load_camera_lora
from tests.host.graphs import node
from tests.host.server import PROMPT_SECONDS, ROOT, PromptFailed, Server
from tests.unit.test_training_camera_sources import photos

STEPS, PHOTOS = 60, 20
EMBEDDED = ROOT / "svd_core" / "assets" / "nano.safetensors"


@pytest.fixture(scope="module")
def folder(server: Server) -> str:
    """Photographs in the host's input folder."""
    place = server.base / "input" / "mine"
    place.mkdir()
    for index, picture in enumerate(photos(PHOTOS, 120, 90)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(place / f"{index}.png")
    return place.name


def runs(server: Server, name: str) -> list[Path]:
    return list((server.base / "output" / "svd_camera_training").glob(f"pan_left-*/{name}"))


def interrupt(server: Server) -> None:
    urllib.request.urlopen(urllib.request.Request(server.url + "/interrupt", b"{}"), timeout=30).close()


@pytest.mark.skipif(not EMBEDDED.exists(), reason="this source tree holds no embedded model")
def test_twenty_photographs_cancelled_and_gone_on_with(server: Server, folder: str) -> None:
    wanted = node(
        "SVDStudioTrainCameraLora",
        model="nano (embedded)",
        preset="pan_left",
        learn_from="photos",
        folder=folder,
        name="from photos/%preset%",
        steps=STEPS,
        rank=4,
        frames=4,
        width=64,
        height=64,
        seed=0,
        measured_clips=1,
    )
    first = server.queue({"train": wanted})
    deadline = time.monotonic() + PROMPT_SECONDS
    while not runs(server, "plan.json"):
        assert time.monotonic() < deadline, f"training did not begin; log:\n{server.tail()}"
        time.sleep(0.1)
    time.sleep(1)
    interrupt(server)
    with pytest.raises(PromptFailed):
        server.wait(first)
    trained = server.base / "models" / "svd_camera_loras" / "from photos" / "pan_left.safetensors"
    (state,) = runs(server, "state.pt")
    reached = torch.load(state, weights_only=True)["step"]
    assert 0 < reached < STEPS and not trained.exists()
    (latents,) = runs(server, "latents-*")
    encoded = latents.stat().st_mtime_ns

    done = server.run({"train": wanted})
    assert torch.load(state, weights_only=True)["step"] == STEPS and latents.stat().st_mtime_ns == encoded
    said = done.outputs["train"]["text"][0]
    assert f"{STEPS} steps" in said and "strength +1:" in said
    lora = load_camera_lora(trained)
    assert lora.preset == "pan_left" and lora.calibration is not None and trained.with_suffix(".webp").exists()
    assert max(float(delta.up.abs().max()) for delta in lora.deltas.values()) > 0
