"""Runs inside the host's own Python (see `in_host.py`): its UNet and ours on the same weights and patches."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pack_in_host

CLIPS, FRAMES = 2, 3
Calls = list[list[Any]]


def results(folder: str) -> dict[str, Any]:
    """By case: difference of ours from the host's, effect of the patch, and whether it was called the same way."""
    import torch
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init
    from safetensors.torch import load_file

    given = load_file(f"{folder}/inputs.safetensors")
    weights = load_file(f"{folder}/weights.safetensors")
    config = json.loads(Path(folder, "host.json").read_text(encoding="utf-8"))
    text = Path(folder, "config.json").read_text(encoding="utf-8")
    ours_module = import_module(f"{pack_in_host.NAME}.nodes.host_unet")
    model_config = import_module(f"{pack_in_host.NAME}.svd_core.config").ModelConfig.from_json(text)
    theirs = UNetModel(**config, dtype=torch.float32, operations=disable_weight_init).eval()
    theirs.load_state_dict(weights)
    ours = ours_module.HostUNet(config=model_config.unet, dtype=torch.float32, operations=disable_weight_init).eval()
    ours.load_state_dict(weights, assign=True)

    def run(network: Any, make: Callable[[Calls], dict[str, Any]], extra: dict[str, Any]) -> tuple[Any, Calls]:
        calls: Calls = []
        options = make(calls) | {"cond_or_uncond": [0, 1], "sigmas": torch.tensor([1.0])}
        inputs = {name: given[name] for name in ("x", "timesteps", "context")} | {"y": given["vector"]} | extra
        with torch.no_grad():
            return network(**inputs, transformer_options=options, num_video_frames=FRAMES), calls

    plain, _ = run(theirs, lambda _: {}, {})
    found = {}
    for name, make in cases().items():
        extra = {key: given[value] for key, value in INPUTS.get(name, {}).items()}
        expected, their_calls = run(theirs, make, extra)
        # Only we have to be told that the rows of a clip differ; the host's model says it for us.
        extra |= {"context_per_frame": True} if name == "context per frame" else {}
        actual, our_calls = run(ours, make, extra)
        found[name] = {
            "difference": float((actual - expected).norm() / expected.norm()),
            "effect": float((expected - plain).norm() / plain.norm()),
            "calls": [their_calls == our_calls, len(their_calls), their_calls[:3], our_calls[:3]],
        }
    return found


INPUTS = {
    "several tokens": {"context": "tokens"},
    "context per frame": {"context": "per_frame"},
    "time context": {"time_context": "per_frame"},
}


def cases() -> dict[str, Callable[[Calls], dict[str, Any]]]:
    """`transformer_options` by name; every patch writes down what it was told."""
    found: dict[str, Callable[[Calls], dict[str, Any]]] = {"nothing": lambda _: {}}
    found |= {name: lambda _: {} for name in INPUTS}
    found |= {name: patched(name, change) for name, change in CHANGES.items()}
    for kind in ("attn1", "attn2"):
        for place in (("middle", 0), ("input", 1, 0), ("output", 5)):
            found[f"{kind} replaced at {place}"] = replaced(kind, place)
    return found | {"wrapper": wrapped, "attention override": overridden}


CHANGES: dict[str, Callable[..., Any]] = {
    "input_block_patch": lambda h, o: h * 1.1 if o["block"][1] == 2 else h,
    "input_block_patch_after_skip": lambda h, o: h * 0.9 if o["block"] == ("input", 3) else h,
    "output_block_patch": lambda h, skip, o: (h * 1.05, skip * 0.8),
    "attn1_patch": lambda n, k, v, o: (n * 1.5, k, v * 0.8),
    "attn2_patch": lambda n, k, v, o: (n, k * 1.1, v * 0.7),
    "attn1_output_patch": lambda n, o: n * 0.5,
    "attn2_output_patch": lambda n, o: n * (1.5 if o["block"][0] == "middle" else 1),
    "middle_patch": lambda n, o: n * 1.02,
    "emb_patch": lambda emb, width, o: emb * 0.9,
}


def patched(name: str, change: Callable[..., Any]) -> Callable[[Calls], dict[str, Any]]:
    def make(calls: Calls) -> dict[str, Any]:
        def patch(*arguments: Any) -> Any:
            calls.append(told(arguments))
            return change(*arguments)

        return {"patches": {name: [patch]}}

    return make


def replaced(kind: str, place: tuple[Any, ...]) -> Callable[[Calls], dict[str, Any]]:
    """Perturbed attention: the values go through as they are."""

    def make(calls: Calls) -> dict[str, Any]:
        def replacement(q: Any, k: Any, v: Any, options: dict[str, Any]) -> Any:
            calls.append(told((q, k, v, options)))
            return v.mean(1, keepdim=True).expand_as(q) * 0.5 + q * 0.1

        return {"patches_replace": {kind: {place: replacement}}}

    return make


def wrapped(calls: Calls) -> dict[str, Any]:
    from comfy.patcher_extension import WrappersMP

    def wrapper(executor: Any, *arguments: Any, **keywords: Any) -> Any:
        calls.append([len(arguments), sorted(set(keywords) - {"context_per_frame"})])
        return executor(*arguments, **keywords) * 0.5

    return {"wrappers": {WrappersMP.DIFFUSION_MODEL: {None: [wrapper]}}}


def overridden(calls: Calls) -> dict[str, Any]:
    def override(kernel: Any, q: Any, k: Any, v: Any, *arguments: Any, **keywords: Any) -> Any:
        return kernel(q * 1.5, k, v, *arguments, **keywords)

    return {"optimized_attention_override": override}


def told(arguments: tuple[Any, ...]) -> list[Any]:
    """Shapes of tensors, and of the options what a patch decides by."""
    names = ("block", "block_index", "transformer_index", "n_heads", "dim_head", "original_shape", "activations_shape")
    return [
        list(entry.shape)
        if hasattr(entry, "shape")
        else {name: entry.get(name) for name in (*names, "cond_or_uncond")}
        if isinstance(entry, dict)
        else entry
        for entry in arguments
    ]
