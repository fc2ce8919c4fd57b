"""A random checkpoint of the real size in both layouts, and loading it here and in diffusers, measured.

Run as `python -m tests.bench.real_size ours|step|build|pretrained PATH`: one measurement a process, JSON on the output.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.checkpoints import header_bytes, manifest

PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
UNET_CONFIG = {
    "_class_name": "UNetSpatioTemporalConditionModel",
    "num_attention_heads": [5, 10, 20, 20],
    "num_frames": 25,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
    "cross_attention_dim": 1024,
    "sample_size": 96,
}
VAE_CONFIG = {
    "_class_name": "AutoencoderKLTemporalDecoder",
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
    "force_upcast": True,
    "sample_size": 768,
}
IMAGE_ENCODER_CONFIG = {
    "architectures": ["CLIPVisionModelWithProjection"],
    "model_type": "clip_vision_model",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "projection_dim": 1024,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "patch_size": 14,
    "hidden_act": "gelu",
}
CONFIGS: dict[str, dict[str, Any]] = {"unet": UNET_CONFIG, "vae": VAE_CONFIG, "image_encoder": IMAGE_ENCODER_CONFIG}

_RING = 1 << 22


def write_single(path: Path, name: str = "svd_xt.sgm", seed: int = 0) -> None:
    """A random float16 file in a published layout, written piece by piece from a ring of 8 MB."""
    shapes = manifest(name)
    ring = np.random.default_rng(seed).normal(0, 0.02, _RING).astype(np.float16)
    with path.open("wb") as file:
        file.write(header_bytes(shapes))
        left, start = sum(math.prod(shape) for shape in shapes.values()), 0
        while left:
            piece = ring[start : start + left]
            file.write(piece.data)
            left -= len(piece)
            # An offset that differs each time keeps equal tensors from getting equal values.
            start = (start + 104_729) % (_RING // 2)


def write_folder(folder: Path, source: Path) -> None:
    """The same tensors as a diffusers folder, copied out of the mapped single file one at a time."""
    import torch

    from svd_core.weights.build import load_model
    from svd_core.weights.keymaps import Place, Places, rules_from
    from svd_core.weights.mapped import apply_transform

    model = load_model(source)
    vae = Place("", "diffusers")
    places = Places(unet=vae, encoder=vae, decoder=vae, image_encoder=Place("", "transformers"))
    networks = {"unet": model.unet, "autoencoder": model.autoencoder, "image_encoder": model.image_encoder}
    for (part, rules), folder_name in zip(rules_from(places, model.config).items(), PARTS, strict=True):
        state = networks[part].state_dict()
        inverses = [rule.inverse() for rule in rules]
        shapes = {rule.targets[0]: rule.target_shapes[0] for rule in inverses}
        (folder / folder_name).mkdir(parents=True)
        (folder / folder_name / "config.json").write_text(json.dumps(CONFIGS[folder_name]))
        with (folder / folder_name / f"{PARTS[folder_name]}.safetensors").open("wb") as file:
            file.write(header_bytes(shapes, metadata={"format": "pt"}))
            for rule in inverses:
                (tensor,) = apply_transform(rule.transform, [state[rule.sources[0]]], 1)
                file.write(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)


def memory() -> dict[str, float]:
    """Private and peak resident memory of this process in MB."""
    fields = dict(_pairs(Path("/proc/self/smaps_rollup").read_text()))
    status = dict(_pairs(Path("/proc/self/status").read_text()))
    private = fields["Private_Dirty"] + fields.get("Private_Hugetlb", 0)
    return {"private": private / 1024, "anonymous": fields["Anonymous"] / 1024, "peak": status["VmHWM"] / 1024}


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            yield words[0].rstrip(":"), float(words[1])


def measure_ours(path: Path) -> dict[str, Any]:
    """Load here: nothing is read but headers and small tensors."""
    import torch

    from svd_core.weights.build import load_model

    torch.set_num_threads(1)
    before, started = memory(), time.perf_counter()
    model = load_model(path)
    seconds, after = time.perf_counter() - started, memory()
    report = model.report
    return {
        "seconds": seconds,
        **_growth(before, after),
        "tensors": report.tensors,
        "used": report.used,
        "dropped": dict(report.dropped),
        "lost": [*report.missing, *report.unexpected, *(entry.name for entry in report.mismatched)],
        "notes": list(report.notes),
    }


def measure_step(path: Path) -> dict[str, Any]:
    """One guided step of a clip of 14 frames of 64x64 pixels, from picture to frames.

    In bfloat16, cast tensor by tensor while loading: float16 convolutions take forty times as long on most CPUs.
    """
    import torch

    from svd_core.pipeline import animate
    from svd_core.weights.build import load_model

    torch.set_num_threads(1)
    before, started = memory(), time.perf_counter()
    model = load_model(path, dtype=torch.bfloat16)
    loaded = time.perf_counter() - started
    image = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
    frames = animate(model, image, size=(64, 64), frames=14, steps=1)
    return {
        "load_seconds": loaded,
        "seconds": time.perf_counter() - started,
        **_growth(before, memory()),
        "clip": list(frames.pixels.shape),
        "finite": bool(torch.isfinite(frames.pixels).all()),
    }


def _networks() -> dict[str, Any]:
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return {
        "unet": (UNetSpatioTemporalConditionModel, UNetSpatioTemporalConditionModel.from_config),
        "vae": (AutoencoderKLTemporalDecoder, AutoencoderKLTemporalDecoder.from_config),
        "image_encoder": (
            CLIPVisionModelWithProjection,
            lambda config: CLIPVisionModelWithProjection(CLIPVisionConfig(**config)),
        ),
    }


def measure_build(folder: Path) -> dict[str, Any]:
    """Build the three networks of diffusers from their configs in float16, then load the tensors strictly."""
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    networks, kept = _networks(), []
    torch.set_default_dtype(torch.float16)
    before, started = memory(), time.perf_counter()
    for part, stem in PARTS.items():
        network = networks[part][1](CONFIGS[part])
        network.load_state_dict(load_file(folder / part / f"{stem}.safetensors"), strict=part != "image_encoder")
        kept.append(network)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, **_growth(before, memory())}


def measure_pretrained(folder: Path) -> dict[str, Any]:
    """The way users load a folder: `from_pretrained`."""
    import torch

    torch.set_num_threads(1)
    networks, kept = _networks(), []
    before, started = memory(), time.perf_counter()
    for part in PARTS:
        kept.append(networks[part][0].from_pretrained(folder / part, torch_dtype=torch.float16))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, **_growth(before, memory())}


def _growth(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: round(after[name] - before[name], 1) for name in before}


if __name__ == "__main__":
    kinds = {"ours": measure_ours, "step": measure_step, "build": measure_build, "pretrained": measure_pretrained}
    measure = kinds[sys.argv[1]]
    sys.stdout.write(json.dumps(measure(Path(sys.argv[2]))) + "\n")
