"""Runs inside the host's own Python (see `in_host.py`): our MODEL, VAE and CLIP_VISION on the host's patcher."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pack_in_host

FRAMES = 3


def results(folder: str) -> dict[str, Any]:
    """Numbers for `test_objects.py`."""
    module = import_module(f"{pack_in_host.NAME}.nodes.host_model")

    def load(dtype: str = "float32", name: str = "model.safetensors") -> Any:
        return module.load_for_host(Path(folder, name), dtype)

    return {
        "two clips": two_clips(load(), module.CLIP_FRAMES),
        "partial": partial(load()),
        "cast": cast_on_use(load()),
        "memory": memory(load().model),
        "folder": load(name="pipeline").report,
    }


def two_clips(loaded: Any, key: str) -> float:
    """How far two clips in one latent batch are from each of them alone."""
    import torch

    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2 * FRAMES, 8, 8, 8, generator=generator)
    pictures = torch.rand(2, 64, 64, 3, generator=generator)
    tokens = loaded.clip_vision.encode_image(pictures).image_embeds.unsqueeze(1)
    concat = loaded.vae.encode(pictures)
    both = sample(loaded.model, noise, tokens, concat, {key: FRAMES})
    alone = [
        sample(loaded.model, part, tokens[index : index + 1], concat[index : index + 1], {})
        for index, part in enumerate(noise.split(FRAMES))
    ]
    return difference(both, torch.cat(alone))


def sample(model: Any, noise: Any, tokens: Any, concat: Any, more: dict[str, Any], steps: int = 3) -> Any:
    """A guided clip by the host's sampler."""
    import comfy.sample
    import torch

    common = {"motion_bucket_id": 127, "fps": 8, "augmentation_level": 0.02, **more}
    positive = [[tokens, {**common, "concat_latent_image": concat}]]
    negative = [[torch.zeros_like(tokens), {**common, "concat_latent_image": torch.zeros_like(concat)}]]
    with torch.inference_mode():
        return comfy.sample.sample(
            model, noise, steps, 2.0, "euler", "karras", positive, negative, torch.zeros_like(noise), disable_pbar=True
        )


def partial(loaded: Any) -> dict[str, Any]:
    """Load half of each object: which weights nobody casts, and whether a patched weight left behind still counts."""
    import torch

    noise = torch.randn(FRAMES, 8, 8, 8, generator=torch.Generator().manual_seed(2))
    tokens = loaded.clip_vision.encode_image(torch.full((1, 64, 64, 3), 0.3)).image_embeds.unsqueeze(1)
    concat = torch.zeros(1, 8, 8, 8)
    name = "diffusion_model.input_blocks.1.1.proj_in.weight"
    model = loaded.model.clone()
    weight = model.get_key_patches()[name][0][0]
    model.add_patches({name: ("diff", (torch.full_like(weight, 0.05),))}, 1.0)
    whole = sample(model, noise, tokens, concat, {})
    model.detach()
    found: dict[str, Any] = {"unmanaged": {}}
    for part, patcher in (("model", model), ("vae", loaded.vae.patcher), ("clip", loaded.clip_vision.patcher)):
        patcher.patch_model(device_to=patcher.load_device, lowvram_model_memory=patcher.model_size() // 2)
        found["unmanaged"][part] = sorted(unmanaged(patcher.model))
        found[f"{part} is partial"] = bool(patcher.model.model_lowvram)
    found["effect"] = difference(sample(loaded.model, noise, tokens, concat, {}), whole)
    with torch.inference_mode():
        found["difference"] = difference(sample(model, noise, tokens, concat, {}), whole)
    return found


def unmanaged(model: Any) -> set[str]:
    """Last words of the parameters that were neither loaded nor are cast by a layer of the host's."""
    return {
        name.rsplit(".", 1)[-1]
        for module in model.modules()
        if not hasattr(module, "comfy_cast_weights")
        or not (module.comfy_cast_weights or getattr(module, "comfy_patched_weights", False))
        for name, _ in module.named_parameters(recurse=False)
    }


def cast_on_use(loaded: Any) -> dict[str, float]:
    """Weights in half precision under inputs in single: a layer that did not cast its own would raise."""
    import torch

    clip, vae = loaded.clip_vision, loaded.vae
    picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(3))
    latents = torch.randn(FRAMES, 8, 8, 8, generator=torch.Generator().manual_seed(4))
    before = clip.encode_image(picture).image_embeds, vae.encode(picture), vae.first_stage_model.decode(latents, FRAMES)
    clip.model.half()
    vae.first_stage_model.half()
    after = clip.encode_image(picture).image_embeds, vae.encode(picture), vae.first_stage_model.decode(latents, FRAMES)
    return {name: difference(a, b) for name, a, b in zip(("clip", "encode", "decode"), after, before, strict=True)}


def memory(patcher: Any) -> dict[str, int]:
    """What the host is told a call needs, and what its own class would have said."""
    from comfy.model_base import BaseModel

    shape = [2 * 14, 8, 8, 8]
    return {
        "ours": patcher.model.memory_required(shape),
        "hosts": int(BaseModel.memory_required(patcher.model, shape)),
        "twice": patcher.model.memory_required([2 * shape[0], *shape[1:]]),
    }


def difference(actual: Any, expected: Any) -> float:
    """Relative L2."""
    return float((actual - expected).norm() / expected.norm())
