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
        "interpolator": interpolator(),
        "cast": cast_on_use(load()),
        "memory": memory(load().model),
        "folder": load(name="pipeline").report,
        "constants": constants(load()),
        "vectors": vectors(load().model.model),
        "colours": colours(module),
    }


def two_clips(loaded: Any, key: str) -> float:
    """How far two clips in one latent batch are from each of them alone."""
    import torch

    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(2 * FRAMES, 8, 8, 8, generator=generator)
    pictures = torch.rand(2, 64, 64, 3, generator=generator)
    tokens = loaded.clip_vision.encode_image(pictures).image_embeds.unsqueeze(1)
    concat = loaded.vae.encode(pictures)
    both = sample(loaded.model, noise, tokens, concat, {key: FRAMES}, steps=5)
    alone = [
        sample(loaded.model, part, tokens[index : index + 1], concat[index : index + 1], {}, steps=5)
        for index, part in enumerate(noise.split(FRAMES))
    ]
    return difference(both, torch.cat(alone))


def sample(
    model: Any, noise: Any, tokens: Any, concat: Any, more: dict[str, Any], steps: int = 3, solver: str = "euler"
) -> Any:
    """A guided clip by the host's sampler."""
    import comfy.sample
    import torch

    common = {"motion_bucket_id": 127, "fps": 8, "augmentation_level": 0.02, **more}
    positive = [[tokens, {**common, "concat_latent_image": concat}]]
    negative = [[torch.zeros_like(tokens), {**common, "concat_latent_image": torch.zeros_like(concat)}]]
    with torch.inference_mode():
        return comfy.sample.sample(
            model, noise, steps, 2.0, solver, "karras", positive, negative, torch.zeros_like(noise), disable_pbar=True
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


def interpolator() -> dict[str, Any] | None:
    """The embedded video interpolator whole and half loaded: what nobody casts, and how far its frames are apart."""
    import torch

    catalog = import_module(f"{pack_in_host.NAME}.nodes.catalog")
    host = import_module(f"{pack_in_host.NAME}.nodes.host_interpolation")
    engines = import_module(f"{pack_in_host.NAME}.svd_core.interpolation.engines")
    file = catalog.find_interpolator(catalog.EMBEDDED)
    if not file.exists():
        return None
    patcher, _ = host.load_for_host(file, catalog.find(catalog.EMBEDDED), "float32")
    # Coarse patches: what is finer the autoencoder does not hold, and frames that hardly differ are only faded.
    coarse = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(7))
    first, second = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1).movedim(1, -1)

    def made() -> Any:
        with torch.inference_mode():
            return next(patcher.model.engine(patcher.load_device).between([engines.Gap(first, second, (0.5,))]))

    host.host_engine(patcher, 64, 64)
    whole = made()
    patcher.detach()
    patcher.patch_model(device_to=patcher.load_device, lowvram_model_memory=patcher.model_size() // 2)
    found = {"unmanaged": sorted(unmanaged(patcher.model)), "is partial": bool(patcher.model.model_lowvram)}
    return {**found, "difference": difference(made(), whole), "added": difference(whole, (first + second) / 2)}


def unmanaged(model: Any) -> set[str]:
    """Last words of the parameters that were neither loaded nor are cast by a layer of the host's."""
    return {
        name.rsplit(".", 1)[-1]
        for module in model.modules()
        if not hasattr(module, "comfy_cast_weights")
        or not (module.comfy_cast_weights or getattr(module, "comfy_patched_weights", False))
        for name, _ in module.named_parameters(recurse=False)
    }


def vectors(model: Any) -> dict[str, bool]:
    """Which rows of the vector get which value, with as many clips as frames: only the key can tell them apart."""
    import torch

    module = import_module(f"{pack_in_host.NAME}.nodes.host_model")
    noise = torch.zeros(FRAMES * FRAMES, 8, 8, 8)

    def told(**values: Any) -> Any:
        return model.encode_adm(noise=noise, **{module.CLIP_FRAMES: FRAMES}, **values).unflatten(0, (FRAMES, FRAMES))

    def alone(motion: float) -> Any:
        return model.encode_adm(noise=noise[:1], motion_bucket_id=motion)[0]

    expected = torch.stack([alone(motion) for motion in (10.0, 90.0, 200.0)])
    by_clip = told(motion_bucket_id=torch.tensor([10.0, 90.0, 200.0]))
    by_frame = told(motion_bucket_id=1, **{module.MOTION_PER_FRAME: [10.0, 90.0, 200.0]})
    return {
        "by clip": torch.equal(by_clip, expected.unsqueeze(1).expand_as(by_clip)),
        "by frame": torch.equal(by_frame, expected.unsqueeze(0).expand_as(by_frame)),
    }


def colours(module: Any) -> dict[str, float] | None:
    """The host's own preview of the embedded model's latents, against the picture they came from."""
    import latent_preview
    import numpy
    import torch

    path = import_module(f"{pack_in_host.NAME}.nodes.catalog").find("nano (embedded)")
    if not path.exists():
        return None
    loaded = module.load_for_host(path, "float32")
    latents = loaded.model.model.latent_format
    patches = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(5))
    picture = torch.nn.functional.interpolate(patches, (64, 64), mode="bicubic").clamp(0, 1)
    scaled = latents.process_in(loaded.vae.encode(picture.movedim(1, -1)))
    previewer = latent_preview.Latent2RGBPreviewer(latents.latent_rgb_factors, latents.latent_rgb_factors_bias)
    shown = torch.from_numpy(numpy.array(previewer.decode_latent_to_preview(scaled))) / 255
    expected = torch.nn.functional.avg_pool2d(picture, 8)[0].movedim(0, -1)
    return {"error": float((shown - expected).square().mean().sqrt()), "picture": float(expected.std())}


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


def constants(loaded: Any) -> dict[str, Any]:
    """Runs that keep what does not depend on x, against the same runs that do not: calls, differing bits, rests."""
    import torch

    generator = torch.Generator().manual_seed(6)
    noise = torch.randn(2 * FRAMES, 8, 8, 8, generator=generator)
    pictures = torch.rand(2, 64, 64, 3, generator=generator)
    tokens = loaded.clip_vision.encode_image(pictures).image_embeds.unsqueeze(1)
    concat = loaded.vae.encode(pictures)
    key = import_module(f"{pack_in_host.NAME}.nodes.host_model").CLIP_FRAMES
    store = type(loaded.model.model.diffusion_model.constants)
    plain = store.of
    calls = 0

    def counted(unet: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        return type(unet).prepare_clip(unet, *arguments, **keywords)

    def both(model: Any, more: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
        nonlocal calls
        unet = model.model.diffusion_model
        unet.prepare_clip = lambda *arguments, **keywords: counted(unet, *arguments, **keywords)
        store.of = lambda self, unet, told, c_noise: unet.prepare_step(
            c_noise, unet.prepare_clip(told.context, told.vector, told.frames, image_only=told.stills)
        )
        calls = 0
        expected, without = sample(model, noise, tokens, concat, {key: FRAMES, **(more or {})}, **choice), calls
        store.of = plain
        calls = 0
        found = sample(model, noise, tokens, concat, {key: FRAMES, **(more or {})}, **choice)
        del unet.prepare_clip
        same = torch.equal(found, expected)
        return {"same": same, "calls": calls, "without": without, "kept": len(unet.constants._entries), "out": found}

    name = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_v"
    changed = loaded.model.clone()
    weight = changed.get_key_patches()[f"{name}.weight"][0][0]
    changed.add_patches({f"{name}.weight": ("diff", (torch.full_like(weight, 0.05),))}, 1.0)
    patched = loaded.model.clone()
    linear = patched.get_model_object(name)
    patched.add_object_patch(f"{name}.forward", lambda x: type(linear).forward(linear, x) * 1.5)
    found = {"plain": both(loaded.model), "lora": both(changed), "adapter": both(patched), "again": both(loaded.model)}
    found["heun"] = both(loaded.model, solver="heun")
    changed.detach()
    changed.patch_model(device_to=changed.load_device, lowvram_model_memory=changed.model_size() // 2)
    found["partial"] = both(changed)
    changed.detach()
    found["hooks"] = both(loaded.model, hooked(name))
    found["stopped"] = stopped(loaded.model, lambda: sample(loaded.model, noise, tokens, concat, {key: FRAMES}))
    reference = found["plain"]["out"]
    for case in ("lora", "adapter", "hooks"):
        found[case]["effect"] = difference(found[case]["out"], reference)
    found["again"]["effect"] = difference(found["again"]["out"], reference)
    return {case: {k: v for k, v in entry.items() if k != "out"} for case, entry in found.items()}


def hooked(name: str) -> dict[str, Any]:
    """A conditioning entry that swaps one weight in while it runs."""
    import comfy.hooks
    import torch

    stem = "lora_unet_" + name.removeprefix("diffusion_model.").replace(".", "_")
    generator = torch.Generator().manual_seed(3)
    weights = {
        f"{stem}.lora_down.weight": torch.randn(2, 128, generator=generator),
        f"{stem}.lora_up.weight": torch.randn(48, 2, generator=generator),
        f"{stem}.alpha": torch.tensor(2.0),
    }
    return {"hooks": comfy.hooks.create_hook_lora(lora=weights, strength_model=1.0, strength_clip=0.0)}


def stopped(model: Any, run: Any) -> dict[str, int]:
    """What is left after a run that was interrupted in its second step."""
    import comfy.model_management

    place = import_module(f"{pack_in_host.NAME}.svd_core.unet").VideoUNet
    before = place.run
    steps = 0

    def broken(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise comfy.model_management.InterruptProcessingException
        return before(*arguments)

    place.run = broken
    try:
        run()
    except comfy.model_management.InterruptProcessingException:
        pass
    finally:
        place.run = before
    return {"kept": len(model.model.diffusion_model.constants._entries), "steps": steps}


def difference(actual: Any, expected: Any) -> float:
    """Relative L2."""
    return float((actual - expected).norm() / expected.norm())
