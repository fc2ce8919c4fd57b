"""Runs inside the host's own Python (see `in_host.py`): models of other sizes, cells and channels, node by node."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pack_in_host
from objects_in_host import difference

SEED, STEPS, FPS, BUCKET = 7, 2, 8, 80


def results(folder: str) -> dict[str, Any]:
    """Numbers for `test_sizes_in_host.py`, by the name of the model."""
    import torch

    with torch.inference_mode():
        return {path.stem: of_one(path) for path in sorted(Path(folder, "sizes").glob("*.safetensors"))}


def _module(name: str) -> Any:
    return import_module(f"{pack_in_host.NAME}.{name}")


def of_one(path: Path) -> dict[str, Any]:
    """A clip of one model through our nodes, the host's, and svd_core, and everything that can be put on it."""
    rooms, core = _module("nodes"), _module("svd_core.weights.build").load_model(path)
    loaded = _module("nodes.host_model").load_for_host(path, "float32")
    sampling = core.config.sampling
    frames, size = sampling.frames, (sampling.width, sampling.height)
    pictures = _pictures(*size)
    told = rooms.SVDStudioImageConditioning.execute(
        loaded.clip_vision, loaded.vae, pictures[0], "manual", *size, "crop", frames, FPS, BUCKET, 0.02, SEED
    ).result
    (guided,) = rooms.SVDStudioGuidance.execute(loaded.model, "constant", 2.0, 2.0).result
    made = _sampled(guided, told)
    expected = _by_the_core(core, pictures[0], size)
    found = {
        "latent": list(told[2]["samples"].shape),
        "pipeline": difference(made["samples"] * core.config.autoencoder.scale_factor, expected),
        "frames": _shape(rooms.SVDStudioDecode.execute(loaded.vae, made, frames, 0, 0, True)),
        "tiled": _shape(rooms.SVDStudioDecode.execute(loaded.vae, made, frames, 0, max(size) // 2, True)),
        "hosts": _the_hosts_nodes(loaded, told),
        "preview": list(_previewed(loaded.model, made["samples"]).size),
        "ours to the page": _shown(loaded.model, made["samples"]),
        "between": _between(loaded, pictures, size, frames),
        "camera": _with_cameras(loaded, guided, told, pictures[0], made),
    }
    interpolator = path.with_suffix(".interpolator")
    return {**found, "interpolated": _interpolated(interpolator, path, pictures)}


def _pictures(width: int, height: int) -> list[Any]:
    """Two cuttings of one picture, a few pixels apart, each a batch of one."""
    import torch

    coarse = torch.rand(1, 3, height // 6, width // 6, generator=torch.Generator().manual_seed(3))
    wide = torch.nn.functional.interpolate(coarse, (height, width + 4), mode="bicubic").clamp(0, 1).movedim(1, -1)
    return [wide[:, :, :width].contiguous(), wide[:, :, 4:].contiguous()]


def _sampled(model: Any, told: Any) -> Any:
    choice = {"steps": STEPS, "cfg": 1.0, "solver": "euler", "schedule": "karras"}
    return _module("nodes").SVDStudioSampler.execute(model, *told[:3], SEED, **choice).result[0]


def _shape(output: Any) -> list[int]:
    return list(output.result[0].shape)


def _by_the_core(model: Any, image: Any, size: tuple[int, int]) -> Any:
    """The same clip's latents by svd_core alone, scaled."""
    settings = _module("svd_core.settings").AnimateSettings(
        size=size, fps=FPS, motion_bucket=BUCKET, augmentation=0.02, seed=SEED, steps=STEPS, guidance="constant:2"
    )
    return _module("svd_core.pipeline").animate_latents(model, [image[0]], settings)[0][0]


def _the_hosts_nodes(loaded: Any, told: Any) -> dict[str, Any]:
    """KSampler on our latent and on an empty one of four channels, and the VAE nodes on what comes out."""
    import nodes

    positive, negative, latent = told[:3]

    def run(start: Any) -> Any:
        return nodes.common_ksampler(loaded.model, SEED, STEPS, 2.0, "euler", "karras", positive, negative, start)[0]

    made = run(latent)
    four = {"samples": latent["samples"][:, :1].expand(-1, 4, -1, -1).contiguous()}
    (frames,), (tiled,) = (
        nodes.VAEDecode().decode(loaded.vae, made),
        nodes.VAEDecodeTiled().decode(loaded.vae, made, 64),
    )
    return {
        "latent": list(made["samples"].shape),
        "empty of four channels": difference(run(four)["samples"], made["samples"]),
        "frames": list(frames.shape),
        "tiled": list(tiled.shape),
        "encoded": list(nodes.VAEEncode().encode(loaded.vae, frames)[0]["samples"].shape),
    }


def _previewed(model: Any, samples: Any) -> Any:
    """The host's own preview of the first frame."""
    import latent_preview

    described = model.model.latent_format
    previewer = latent_preview.Latent2RGBPreviewer(described.latent_rgb_factors, described.latent_rgb_factors_bias)
    return previewer.decode_latent_to_preview(samples[:1])


def _shown(model: Any, samples: Any) -> list[int]:
    colours = _module("nodes.host").latent_colours(model)
    return list(_module("svd_core.sampling.preview").preview(samples, *colours).shape)


def _between(loaded: Any, pictures: list[Any], size: tuple[int, int], frames: int) -> list[int]:
    work = _module("nodes.in_betweening")
    parts = work.Parts(model=loaded.model, clip_vision=loaded.clip_vision, vae=loaded.vae)
    wish = work.Wish(
        loop=False,
        method="vibid",
        flow_start=1.0,
        keep_ends=True,
        size="manual",
        width=size[0],
        height=size[1],
        framing="crop",
        frames=frames,
        fps=FPS,
        motion_bucket=BUCKET,
        augmentation=0.02,
        seed=SEED,
        steps=STEPS,
    )
    return list(work.between_for_host(parts, pictures, wish, None, None).images.shape)


def _with_cameras(loaded: Any, guided: Any, told: Any, image: Any, plain: Any) -> dict[str, float]:
    """How far a LoRA, and a move no LoRA is for, take the clip."""
    import torch

    move, lora = (_module(f"svd_core.camera.{name}") for name in ("move", "lora"))
    generator = torch.Generator().manual_seed(5)
    network = loaded.model.model.diffusion_model
    deltas = {
        name: lora.LowRank(
            torch.randn(2, module.in_features, generator=generator) / module.in_features**0.5,
            torch.randn(module.out_features, 2, generator=generator),
            0.5,
        )
        for name, module in network.named_modules()
        if "time_stack" in name and name.endswith("attn1.to_v")
    }
    random = lora.CameraLora(
        name="random", deltas=deltas, dialect="ours", rank=2, alpha=None, total=len(deltas), no_effect=0
    )
    moves = {"lora": move.Move(lora=random), "moved": move.Move(preset="zoom_in", amount=25.0)}
    found: dict[str, float] = {}
    for name, one in moves.items():
        stack = move.CameraStack((one,))
        applied = _module("nodes").SVDStudioApplyCamera.execute(guided, stack, False, FPS, image, loaded.vae).result[0]
        found[name] = difference(_sampled(applied, told)["samples"], plain["samples"])
    return found


def _interpolated(file: Path, base: Path, pictures: list[Any]) -> list[int]:
    """A frame between two that do not lie on the grid, by the model's own interpolator."""
    patcher, _ = _module("nodes.host_interpolation").load_for_host(file, base, "float32")
    gap = _module("svd_core.interpolation.engines").Gap
    first, second = (picture[0, :-3, :-5] for picture in pictures)
    engine = patcher.model.engine(patcher.load_device)
    return list(next(iter(engine.between([gap(first, second, (0.5,))]))).shape)
