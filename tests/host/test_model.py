"""The pack in the real host: it loads, and the host's own nodes run on what our loader returns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.host import graphs
from tests.host.server import ROOT, Prompt, PromptFailed, PromptRefused, Server

EMBEDDED = ROOT / "svd_core" / "assets" / "nano.safetensors"
NODES = {"SVDStudioLoadModel", "SVDStudioInfo"}


def latent(server: Server, prompt: Prompt) -> torch.Tensor:
    (file,) = server.files(server.run(prompt), "latent")
    return load_file(file)["latent_tensor"]


def test_the_pack_loads(server: Server) -> None:
    log = server.log.read_text(encoding="utf-8", errors="replace")
    failed = [line for line in log.splitlines() if "IMPORT FAILED" in line and "svd-studio" in line]
    assert not failed, server.tail()
    missing = NODES - set(server.get("/object_info"))
    assert not missing, f"not registered: {missing}\n{server.tail()}"


def test_nodes_of_the_host_make_a_clip(server: Server) -> None:
    prompt = graphs.saved(graphs.clip("random.safetensors"))
    done = server.run(prompt)
    frames = np.stack([np.asarray(Image.open(file)) for file in server.files(done, "frames")])
    assert frames.shape == (4, 64, 64, 3)
    assert frames.std() > 1, f"frames are constant: standard deviation {frames.std():.3f} of 255"
    (film,) = server.files(done, "film")
    assert getattr(Image.open(film), "n_frames", 1) == 4
    (file,) = server.files(done, "latent")
    assert load_file(file)["latent_tensor"].isfinite().all()
    again = server.run(prompt)
    assert "sample" in again.cached and "load" in again.cached, f"only {again.cached} came from the cache"


def test_a_lora_of_the_host_changes_the_clip(server: Server) -> None:
    plain = latent(server, graphs.clip("random.safetensors", seed=2))
    changed = latent(server, graphs.clip("random.safetensors", seed=2, lora="temporal.safetensors"))
    difference = float((changed - plain).norm() / plain.norm())
    assert difference > 1e-3, f"relative difference {difference:.1e}: the LoRA has no effect"
    reloaded = {"load": graphs.node("SVDStudioLoadModel", model="random.safetensors", dtype="float32")}
    restored = latent(server, graphs.clip("random.safetensors", seed=2) | reloaded)
    assert torch.equal(restored, plain), "the LoRA stayed behind"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("truncated.safetensors", ("truncated.safetensors",)),
        ("sd15.safetensors", ("Stable Diffusion 1", "sd15.safetensors")),
        ("pickle.safetensors", ("pickle.safetensors",)),
        ("old.ckpt", ("old.ckpt",)),
        ("unet_only.safetensors", ("unet_only.safetensors",)),
        ("missing.safetensors", ("missing.safetensors", "nano (embedded)")),
        ("../../output/host.log", ("../../output/host.log",)),
    ],
)
def test_what_cannot_be_loaded_is_said_on_the_node(server: Server, file: str, words: tuple[str, ...]) -> None:
    with pytest.raises(PromptRefused) as refused:
        server.run(graphs.clip(file))
    said = refused.value.details("load")
    for word in words:
        assert word in said, f"{word!r} is not in: {said}"
    assert "Traceback" not in said


def test_damage_that_only_loading_shows_is_a_sentence_too(server: Server) -> None:
    with pytest.raises(PromptFailed, match=r"NaN or infinity in unet.time_embed.0.bias"):
        server.run(graphs.clip("nan.safetensors"))


@pytest.mark.skipif(not EMBEDDED.exists(), reason="this source tree holds no embedded model")
def test_the_embedded_model_makes_a_clip(server: Server) -> None:
    assert latent(server, graphs.clip("nano (embedded)")).isfinite().all()


def test_info_reads_any_file(server: Server) -> None:
    def report(file: str) -> str:
        done = server.run({"info": graphs.node("SVDStudioInfo", file=file)})
        return done.outputs["info"]["text"][0]

    assert "family: svd" in report("random.safetensors")
    assert "kind: lora" in report("lora: temporal.safetensors")
    assert "Stable Diffusion 1" in report("sd15.safetensors")
    assert "problem: " in report("truncated.safetensors")
