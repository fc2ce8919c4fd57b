"""Camera nodes in a running host: beside the host's own LoRA loader, and with two samplers in one graph."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.host import graphs
from tests.host.graphs import node
from tests.host.server import Prompt, PromptFailed, Server

LORA = "temporal.safetensors"


def with_sampler(prompt: Prompt, name: str, model: list[object]) -> Prompt:
    """The graph with one more sampler on that model, and its latent saved under that name."""
    guidance = prompt["guidance"] | {"inputs": prompt["guidance"]["inputs"] | {"model": model}}
    sample = prompt["sample"] | {"inputs": prompt["sample"]["inputs"] | {"model": [f"{name} guidance", 0]}}
    save = node("SaveLatent", samples=[f"{name} sample", 0], filename_prefix=name)
    return prompt | {f"{name} guidance": guidance, f"{name} sample": sample, name: save}


def latents(server: Server, prompt: Prompt, *names: str) -> list[torch.Tensor]:
    done = server.run(prompt)
    return [load_file(file)["latent_tensor"] for name in names for file in server.files(done, name)]


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def test_beside_the_host_s_loader_and_two_samplers_in_one_graph(server: Server) -> None:
    prompt = graphs.clip("random.safetensors", seed=3) | {
        "lora": node("LoraLoaderModelOnly", model=["load", 0], lora_name=LORA, strength_model=1.0),
        "twice": node("LoraLoaderModelOnly", model=["lora", 0], lora_name=LORA, strength_model=0.5),
        "camera": node("SVDStudioLoadCameraLora", lora_name=LORA, strength=0.5),
        "runtime": node("SVDStudioApplyCamera", model=["lora", 0], camera=["camera", 0], bake=False),
        "baked": node("SVDStudioApplyCamera", model=["lora", 0], camera=["camera", 0], bake=True, fps=8),
    }
    for name in ("runtime", "twice", "baked", "lora"):
        prompt = with_sampler(prompt, f"{name} clip", [name, 0])
    names = ("runtime clip", "twice clip", "baked clip", "lora clip", "latent")
    runtime, twice, baked, lora, plain = latents(server, prompt, *names)
    assert relative(runtime, twice) <= 1e-4, "the camera at runtime is not the same LoRA in the weights"
    assert relative(baked, twice) <= 1e-6
    assert min(relative(lora, plain), relative(lora, twice)) > 1e-3, "the LoRA does nothing"
    (alone,) = latents(server, graphs.clip("random.safetensors", seed=3), "latent")
    assert torch.equal(alone, plain), "a sampler without the camera saw the camera"


def test_a_move_over_some_frames_in_some_steps(server: Server) -> None:
    """The whole range is the LoRA's strength throughout; half of it is something between that and nothing."""
    prompt = graphs.clip("random.safetensors", seed=4) | {
        "camera": node("SVDStudioLoadCameraLora", lora_name=LORA, strength=1.0),
        "still": node("SVDStudioLoadCameraLora", lora_name=LORA, strength=0.0),
        "joined": node("SVDStudioCameraJoin", camera_1=["camera", 0], camera_2=["still", 0], crossfade=0),
        "half": node("SVDStudioApplyCamera", model=["load", 0], camera=["joined", 0], bake=False),
        "whole": node("SVDStudioApplyCamera", model=["load", 0], camera=["camera", 0], bake=False),
    }
    prompt = with_sampler(with_sampler(prompt, "half clip", ["half", 0]), "whole clip", ["whole", 0])
    half, whole, plain = latents(server, prompt, "half clip", "whole clip", "latent")
    assert relative(half, plain) > 1e-3
    assert relative(half, whole) > 1e-3


def test_a_move_without_a_lora_asks_for_the_picture(server: Server) -> None:
    prompt = graphs.clip("random.safetensors") | {
        "move": node(
            "SVDStudioCameraMove", preset="pan_left", amount=12.0, first_frame=0, last_frame=-1, ease="linear"
        ),
        "apply": node("SVDStudioApplyCamera", model=["load", 0], camera=["move", 0], bake=False),
    }
    with pytest.raises(PromptFailed, match="`image` and `vae`"):
        server.run(with_sampler(prompt, "clip", ["apply", 0]))
    source = {"image": ["picture", 0], "vae": ["load", 2]}
    prompt["apply"]["inputs"] |= source
    moved, plain = latents(server, with_sampler(prompt, "clip", ["apply", 0]), "clip", "latent")
    assert moved.shape == plain.shape and bool(moved.isfinite().all())
    assert relative(moved, plain) > 1e-2
