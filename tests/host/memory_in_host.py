"""Runs inside the host's own Python (see `in_host.py`): memory that is scarce, or runs out, and what that changes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pack_in_host
from objects_in_host import difference

FRAMES = 14


def results(folder: str) -> dict[str, Any]:
    """Numbers for `test_memory.py`."""
    load = import_module(f"{pack_in_host.NAME}.nodes.host_model").load_for_host
    loaded = load(Path(folder, "model.safetensors"), "float32")
    embedded = import_module(f"{pack_in_host.NAME}.nodes.catalog").find("nano (embedded)")
    return {
        "step": step_out_of_memory(loaded),
        "decode": decode_out_of_memory(loaded.vae),
        "free memory": whatever_is_free(loaded.vae),
        "seams": seams(load(embedded, "float32").vae) if embedded.exists() else None,
    }


def step_out_of_memory(loaded: Any) -> dict[str, Any]:
    """A run whose second call of the network runs out of memory once, against an undisturbed one."""
    import torch

    rooms = import_module(f"{pack_in_host.NAME}.nodes")
    place = import_module(f"{pack_in_host.NAME}.svd_core.unet").VideoUNet
    tokens, concat = torch.randn(1, 1, 128, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 8, 8, 8)
    values = {"motion_bucket_id": 127, "fps": 8, "augmentation_level": 0.02, "concat_latent_image": concat}
    positive, negative = [[tokens, values]], [[torch.zeros_like(tokens), values]]
    latent = {"samples": torch.zeros(FRAMES, 8, 8, 8)}
    before, plans = place.run, []

    def fails_once(self: Any, x: Any, constants: Any, plan: Any) -> Any:
        plans.append(plan)
        if len(plans) == 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return before(self, x, constants, plan)

    def sampled() -> Any:
        with torch.inference_mode():
            return rooms.SVDStudioSampler.execute(
                loaded.model, positive, negative, latent, 5, 3, 2.0, "euler", "karras"
            )

    expected = sampled()
    place.run = fails_once
    try:
        found = sampled()
    finally:
        place.run = before
    return {
        "quiet": expected.ui is None,
        "said": found.ui.as_dict()["text"][0],
        "leaner": plans[2] != plans[1],
        "difference": difference(found.result[0]["samples"], expected.result[0]["samples"]),
    }


def decode_out_of_memory(vae: Any) -> dict[str, Any]:
    """The host's VAE Decode and ours on a decoder that runs out of memory once."""
    import torch

    module = import_module(f"{pack_in_host.NAME}.nodes.decoding")
    node = import_module(f"{pack_in_host.NAME}.nodes").SVDStudioDecode
    latents = torch.randn(FRAMES, 8, 8, 8, generator=torch.Generator().manual_seed(2))
    before, calls = module.stream_clip, 0

    def fails_once(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return before(*arguments, **keywords)

    module.stream_clip = fails_once
    try:
        with torch.inference_mode():
            out = node.execute(vae, {"samples": latents}, 8, 4, 0, True)
    finally:
        module.stream_clip = before
    return {"said": out.ui.as_dict()["text"][0], "calls": calls, "frames": len(out.result[0])}


def whatever_is_free(vae: Any) -> dict[str, bool]:
    """The same latents with next to nothing free and with plenty, by our node and by the host's own call."""
    import torch

    management = import_module("comfy.model_management")
    node = import_module(f"{pack_in_host.NAME}.nodes").SVDStudioDecode
    latents = torch.randn(FRAMES, 8, 8, 8, generator=torch.Generator().manual_seed(3))
    before = management.get_free_memory

    def decoded(free: int) -> tuple[Any, Any]:
        management.get_free_memory = lambda dev=None, torch_free_too=False: (free, free) if torch_free_too else free
        try:
            with torch.inference_mode():
                ours = node.execute(vae, {"samples": latents}, 8, 4, 0, True).result[0]
                return ours, vae.decode(latents)
        finally:
            management.get_free_memory = before

    little, plenty = decoded(2**20), decoded(2**40)
    return {"node": torch.equal(little[0], plenty[0]), "host's call": torch.equal(little[1], plenty[1])}


def seams(vae: Any) -> dict[str, float]:
    """How far chunks of four are from the whole clip on the embedded model: hard ones, and the node's own way."""
    import torch

    node = import_module(f"{pack_in_host.NAME}.nodes").SVDStudioDecode
    generator = torch.Generator().manual_seed(4)
    still = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 20, generator=generator), (64, 160), mode="bicubic")
    clip = torch.stack([still[0, :, :, 5 * t : 5 * t + 64].movedim(0, -1) for t in range(FRAMES)]).clamp(0, 1)

    with torch.inference_mode():
        latents = torch.cat([vae.encode(frame[None]) for frame in clip])

        def decoded(chunk: int, overlap: int) -> Any:
            return node.execute(vae, {"samples": latents}, chunk, overlap, 0, True).result[0]

        whole = decoded(FRAMES, 0)
        return {"hard": difference(decoded(4, 0), whole), "node": difference(decoded(4, 4), whole)}
