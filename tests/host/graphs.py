"""Graphs as the page would send them."""

from __future__ import annotations

from typing import Any

from tests.host.server import Prompt


def clip(model: str, *, lora: str | None = None, seed: int = 1, steps: int = 2, frames: int = 4) -> Prompt:
    """Our loader, then the host's own nodes for everything else; `latent` and `frames` save results."""
    source = ["lora", 0] if lora else ["load", 0]
    prompt = {
        "load": node("SVDStudioLoadModel", model=model, dtype="auto"),
        "picture": node("LoadImage", image="picture.png"),
        "condition": node(
            "SVD_img2vid_Conditioning",
            clip_vision=["load", 1],
            init_image=["picture", 0],
            vae=["load", 2],
            width=64,
            height=64,
            video_frames=frames,
            motion_bucket_id=127,
            fps=8,
            augmentation_level=0.0,
        ),
        "guidance": node("VideoLinearCFGGuidance", model=source, min_cfg=1.0),
        "sample": node(
            "KSampler",
            model=["guidance", 0],
            positive=["condition", 0],
            negative=["condition", 1],
            latent_image=["condition", 2],
            seed=seed,
            steps=steps,
            cfg=2.0,
            sampler_name="euler",
            scheduler="karras",
            denoise=1.0,
        ),
        "latent": node("SaveLatent", samples=["sample", 0], filename_prefix="latent"),
    }
    if lora:
        prompt["lora"] = node("LoraLoaderModelOnly", model=["load", 0], lora_name=lora, strength_model=1.0)
    return prompt


def saved(prompt: Prompt) -> Prompt:
    """The same with decoding and both kinds of files."""
    return prompt | {
        "decode": node("VAEDecode", samples=["sample", 0], vae=["load", 2]),
        "frames": node("SaveImage", images=["decode", 0], filename_prefix="frame"),
        "film": node(
            "SaveAnimatedWEBP",
            images=["decode", 0],
            filename_prefix="film",
            fps=8.0,
            lossless=True,
            quality=80,
            method="fastest",
        ),
    }


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One node of a graph."""
    return {"class_type": kind, "inputs": inputs}
