"""Runs inside the host's own Python (see `in_host.py`): moves no LoRA is for, on the embedded model."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pack_in_host
from objects_in_host import difference


def moved() -> dict[str, Any]:
    """A pan no LoRA is for, on the embedded model with the host's sampler, ours, and svd_core's pipeline."""
    import comfy.sample
    import torch
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    assets = Path(__file__).resolve().parents[2] / "svd_core" / "assets"
    if not (assets / "nano.safetensors").exists():
        return {}
    nodes, core = (import_module(f"{pack_in_host.NAME}.{name}") for name in ("nodes", "svd_core"))
    move, meter = (import_module(f"{core.__name__}.camera.{name}") for name in ("move", "meter"))
    loaded = import_module(f"{nodes.__name__}.host_model").load_for_host(assets / "nano.safetensors", "float32")
    picture = Image.open(assets / "hills.png").convert("RGB").resize((64, 64))
    image = (pil_to_tensor(picture).float() / 255).movedim(0, -1)[None]
    frames, seed, steps = 8, 7, 6
    size = ("manual", 64, 64, "crop", frames, 8, 80, 0.0, seed)
    told = nodes.SVDStudioImageConditioning.execute(loaded.clip_vision, loaded.vae, image, *size).result
    stack = move.CameraStack((move.Move(preset="zoom_in", amount=25.0),))
    (guided,) = nodes.SVDStudioGuidance.execute(loaded.model, "constant", 1.0, 1.0).result
    # A LoRA in some of the steps beside it: its range must count over the whole run, not over each of its two parts.
    lora = import_module(f"{core.__name__}.weights.lora").load_camera_lora(assets / "camera" / "tilt_up.safetensors")
    some = move.CameraStack((*stack.moves, move.Move(lora=lora, amount=1.5, steps=(0.3, 0.6))))

    def with_camera(moves: Any) -> Any:
        return nodes.SVDStudioApplyCamera.execute(guided, moves, False, 8, image, loaded.vae).result

    camera, summary = with_camera(stack)
    counts: list[list[int]] = []

    def seen(step: int, denoised: object, x: object, total: int) -> None:
        counts.append([step, total])

    def growth(latents: Any) -> float:
        pixels = nodes.SVDStudioDecode.execute(loaded.vae, latents, frames, 0, 0, True).result[0]
        return float(meter.measure(pixels).zoom.mean())

    choice = {"steps": steps, "cfg": 1.0, "solver": "euler", "schedule": "karras"}
    with torch.inference_mode():
        ours = nodes.SVDStudioSampler.execute(camera, *told[:3], seed, **choice).result[0]
        mixed = nodes.SVDStudioSampler.execute(with_camera(some)[0], *told[:3], seed, **choice).result[0]
        plain = nodes.SVDStudioSampler.execute(guided, *told[:3], seed, **choice).result[0]
        noise = comfy.sample.prepare_noise(torch.zeros(frames, 8, 8, 8), seed)
        theirs = comfy.sample.sample(
            camera,
            noise,
            steps,
            1.0,
            "euler",
            "karras",
            *told[:2],
            torch.zeros_like(noise),
            callback=seen,
            disable_pbar=True,
            seed=seed,
        )
    return {
        "summary": summary,
        "counts": counts,
        "zooms": [growth(latents) for latents in (ours, {"samples": theirs}, plain)],
        "pipeline": difference(ours["samples"], through_the_pipeline(image, stack, frames, seed, steps)),
        "mixed": difference(mixed["samples"], through_the_pipeline(image, some, frames, seed, steps)),
        "lora": difference(mixed["samples"], ours["samples"]),
    }


def through_the_pipeline(image: Any, stack: Any, frames: int, seed: int, steps: int) -> Any:
    """The same clip by svd_core alone, unscaled."""
    core = {name: import_module(f"{pack_in_host.NAME}.svd_core.{name}") for name in ("pipeline", "settings")}
    model = import_module(f"{pack_in_host.NAME}.svd_core.weights.build").load_model("nano")
    settings = core["settings"].AnimateSettings(
        size=(64, 64),
        frames=frames,
        fps=8,
        motion_bucket=80,
        augmentation=0.0,
        seed=seed,
        steps=steps,
        guidance="constant:1",
        camera=stack,
    )
    latents, _ = core["pipeline"].animate_latents(model, [image[0]], settings)
    return latents[0] / model.config.autoencoder.scale_factor
