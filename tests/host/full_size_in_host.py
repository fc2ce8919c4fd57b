"""Runs inside the host's own Python: one file of the real size in the host's own SVD model and in ours.

One model after the other, so that no more than one copy of the weights in float32 is there at a time.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import pack_in_host

FRAMES, STEPS, SEED, CFG = 4, 2, 11, 2.5


def main(host: str, folder: str) -> None:
    pack_in_host.load_pack(host, folder, "--force-fp32")
    path = Path(folder, "svd_xt.safetensors")
    found, numbers = {}, {}
    found["theirs"], numbers["theirs"] = run(lambda: theirs(path), sampled_by_host)
    found["ours"], numbers["ours"] = run(lambda: ours(path), sampled_by_host, sampled_by_us)
    expected = found["theirs"][0]
    numbers["model"] = difference(found["ours"][0], expected)
    numbers["sampler"] = difference(found["ours"][1], expected)
    numbers["movement"] = float(expected.std())
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = [line.split()[1] for line in status if line.startswith("VmHWM")]
    numbers["peak_gb"] = int(peak) * 1024 / 1e9
    Path(folder, "results.json").write_text(json.dumps(numbers), encoding="utf-8")


def run(load: Any, *samplers: Any) -> tuple[list[Any], dict[str, float]]:
    """What each sampler makes of the model, and how long loading and sampling took."""
    import comfy.model_management
    import torch

    started = time.perf_counter()
    model = load()
    loaded = time.perf_counter()
    with torch.inference_mode():
        latents = [sampler(model) for sampler in samplers]
    seconds = {"load": loaded - started, "sample": time.perf_counter() - loaded}
    del model
    comfy.model_management.unload_all_models()
    gc.collect()
    return latents, seconds


def theirs(path: Path) -> Any:
    import comfy.sd

    return comfy.sd.load_checkpoint_guess_config(
        str(path), output_vae=False, output_clip=False, output_clipvision=False
    )[0]


def ours(path: Path) -> Any:
    return import_module(f"{pack_in_host.NAME}.nodes.host_model").load_for_host(path, "float32").model


def told() -> tuple[Any, Any, Any]:
    """Conditioning of a random picture, and empty latents."""
    import torch

    generator = torch.Generator().manual_seed(1)
    tokens, picture = torch.randn(1, 1, 1024, generator=generator), torch.randn(1, 4, 8, 8, generator=generator)
    scalars = {"fps": 6, "motion_bucket_id": 127, "augmentation_level": 0.02}
    positive = [[tokens, {**scalars, "concat_latent_image": picture}]]
    negative = [[torch.zeros_like(tokens), {**scalars, "concat_latent_image": torch.zeros_like(picture)}]]
    return positive, negative, {"samples": torch.zeros(FRAMES, 4, 8, 8)}


def sampled_by_host(model: Any) -> Any:
    """KSampler: euler on Karras' schedule."""
    import nodes

    positive, negative, latent = told()
    (out,) = nodes.common_ksampler(model, SEED, STEPS, CFG, "euler", "karras", positive, negative, latent)
    return out["samples"]


def sampled_by_us(model: Any) -> Any:
    positive, negative, latent = told()
    room = import_module(f"{pack_in_host.NAME}.nodes").SVDStudioSampler
    return room.execute(model, positive, negative, latent, SEED, STEPS, CFG, "euler", "karras").result[0]["samples"]


def difference(actual: Any, expected: Any) -> float:
    """Relative L2."""
    return float((actual - expected).norm() / expected.norm())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
