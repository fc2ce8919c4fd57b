"""Runs inside the host's own Python (see `in_host.py`): our rooms on the host's own SVD model and video decoder."""

from __future__ import annotations

import dataclasses
import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pack_in_host
from objects_in_host import difference

CLIPS, FRAMES, SEED = 2, 3, 7


def results(folder: str) -> dict[str, Any]:
    """Numbers for `test_rooms_in_host.py`."""
    return {**sampling(folder), **decoding(), "previews": previews(), "orbit": orbit(folder)}


def previews() -> list[list[Any]]:
    """What the host's progress bar is told by two steps of each of two clips: done, total, green of the picture."""
    import comfy.utils
    import torch

    names = ("nodes.host", "nodes.live", "svd_core.types")
    host, live, types = (import_module(f"{pack_in_host.NAME}.{name}") for name in names)
    told: list[list[Any]] = []
    before = host.args.preview_method, comfy.utils.PROGRESS_BAR_HOOK
    host.args.preview_method = host.LatentPreviewMethod.Latent2RGB
    comfy.utils.set_progress_bar_global_hook(
        lambda done, total, image, node_id=None: told.append([done, total, image[0], image[1].getpixel((0, 0))[1]])
    )
    try:
        colours = SimpleNamespace(latent_rgb_factors=[[1.0, 0, 0]] * 8, latent_rgb_factors_bias=[0.0, 1.0, 0.0])
        report = live.StepReport(SimpleNamespace(model=SimpleNamespace(latent_format=colours)), 2, 2, 8.0)
        for clip in (0, 1):
            for index in (0, 1):
                report(clip, types.StepInfo(index, 2, 1.0, torch.randn(3, 8, 6, 5)))
    finally:
        host.args.preview_method, comfy.utils.PROGRESS_BAR_HOOK = before
    return told


def sampling(folder: str) -> dict[str, float]:
    """Two clips through our sampler on the host's model: against each alone, and against svd_core's pipeline."""
    import torch
    from safetensors.torch import load_file

    core = {name: import_module(f"{pack_in_host.NAME}.svd_core.{name}") for name in ("config", "settings", "pipeline")}
    types, unet = (import_module(f"{pack_in_host.NAME}.svd_core.{name}") for name in ("types", "unet"))
    conditioning = import_module(f"{pack_in_host.NAME}.svd_core.conditioning")
    clips = import_module(f"{pack_in_host.NAME}.nodes.clips")
    rooms = import_module(f"{pack_in_host.NAME}.nodes")
    config = core["config"].ModelConfig.from_json(Path(folder, "config.json").read_text(encoding="utf-8"))
    weights = load_file(f"{folder}/weights.safetensors")
    generator = torch.Generator().manual_seed(1)
    controls = [types.MotionControls(8, 100, 0.02, SEED + index) for index in range(CLIPS)]
    values = conditioning.condition_values(controls, None)
    told = types.ImageConditioning(
        context=torch.randn(CLIPS, 1, config.unet.context_dim, generator=generator),
        concat_latents=torch.randn(CLIPS, 4, 8, 8, generator=generator),
        vector=conditioning.assemble_vector(config.unet.vector, values, FRAMES),
        frames=FRAMES,
    )
    box = import_module(f"{pack_in_host.NAME}.svd_core.framing").Box(left=0, top=0, width=64, height=64, aspect=1.0)
    model = hosts_model(folder, weights)
    (guided,) = rooms.SVDStudioGuidance.execute(model, "linear", 1.0, 2.0).result

    def sampled(positive: Any, negative: Any, latent: Any, seed: int) -> Any:
        choice = {"steps": 3, "cfg": 1.0, "solver": "euler", "schedule": "karras"}
        with torch.inference_mode():
            return rooms.SVDStudioSampler.execute(guided, positive, negative, latent, seed, **choice).result[0][
                "samples"
            ]

    positive, negative = (clips.as_conditioning(half, controls[0]) for half in (told, told.unconditional()))
    latent = clips.empty_latent(told, box)
    both = sampled(positive, negative, latent, SEED)
    single = {"samples": latent["samples"][:FRAMES]}
    alone = [
        sampled(clips.one_clip(positive, index, CLIPS), clips.one_clip(negative, index, CLIPS), single, SEED + index)
        for index in range(CLIPS)
    ]
    ours = unet.VideoUNet(config.unet).eval()
    ours.load_state_dict(weights)
    asked = {"size": (64, 64), "frames": FRAMES, "seed": SEED, "steps": 3, "guidance": "linear:1:2"}
    settings = core["settings"].resolve(core["settings"].AnimateSettings(**asked), config, CLIPS)
    expected = core["pipeline"].sample_latents(ours, told, settings, plan=unet.FAST)
    return {
        "two clips": difference(both, torch.cat(alone)),
        "apart": difference(both[:FRAMES], both[FRAMES:]),
        "pipeline": difference(both * config.autoencoder.scale_factor, expected),
    }


def hosts_model(folder: str, weights: dict[str, Any]) -> Any:
    """The host's own SVD class with its own small network."""
    import torch
    from comfy.model_base import SVD_img2vid
    from comfy.model_patcher import ModelPatcher
    from comfy.supported_models import SVD_img2vid as Described

    arguments = json.loads(Path(folder, "host.json").read_text(encoding="utf-8"))
    described = Described(arguments)
    described.unet_config["num_head_channels"] = arguments["num_head_channels"]
    described.set_inference_dtype(torch.float32, None)
    model = SVD_img2vid(described)
    model.diffusion_model.load_state_dict(weights)
    return ModelPatcher(model.eval(), load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def orbit(folder: str) -> dict[str, float]:
    """The same random SV3D-p weights in the host's own class and in ours, through our sampler, on two paths."""
    import torch
    from comfy.model_base import SV3D_p
    from comfy.model_patcher import ModelPatcher
    from comfy.supported_models import SV3D_p as Described

    names = ("svd_core.config", "svd_core.unet", "svd_core.conditioning", "nodes", "nodes.host_model")
    presets, unet, conditioning, rooms, ours = (import_module(f"{pack_in_host.NAME}.{name}") for name in names)
    tiny = presets.ModelConfig.from_json(Path(folder, "config.json").read_text(encoding="utf-8"))
    sizes = dataclasses.replace(tiny.unet, vector=presets.SV3D_P.unet.vector)
    network = unet.VideoUNet(sizes)
    generator = torch.Generator().manual_seed(8)
    for parameter in network.parameters():
        spread = 1 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
        parameter.data = torch.randn(parameter.shape, generator=generator) * spread + (parameter.ndim == 1)
    arguments = json.loads(Path(folder, "host.json").read_text(encoding="utf-8"))
    hosts = Described(arguments | {"adm_in_channels": sizes.vector_dim})
    hosts.unet_config["num_head_channels"] = arguments["num_head_channels"]
    mine = ours.HostModelConfig(dataclasses.replace(tiny, family="sv3d_p", unet=sizes))
    for described in (hosts, mine):
        described.set_inference_dtype(torch.float32, None)
    models = {"host": SV3D_p(hosts), "ours": ours.HostSvd(mine)}
    told = torch.randn(1, 1, sizes.context_dim, generator=generator), torch.randn(1, 4, 8, 8, generator=generator)

    def sampled(name: str, azimuth: str) -> Any:
        models[name].diffusion_model.load_state_dict(network.state_dict(), assign=True)
        patcher = ModelPatcher(models[name].eval(), torch.device("cpu"), torch.device("cpu"))
        elevations, azimuths = conditioning.orbit_degrees(5, "0:0, 1:30", azimuth)
        angles = {"elevation": elevations, "azimuth": azimuths, "augmentation_level": 0.0}
        positive = [[told[0], {**angles, "concat_latent_image": told[1]}]]
        negative = [[torch.zeros_like(told[0]), {**angles, "concat_latent_image": torch.zeros_like(told[1])}]]
        with torch.inference_mode():
            return rooms.SVDStudioSampler.execute(
                patcher, positive, negative, {"samples": torch.zeros(5, 4, 8, 8)}, 3, 2, 2.0, "euler", "karras"
            ).result[0]["samples"]

    turn = sampled("host", "")
    return {
        "difference": difference(sampled("ours", ""), turn),
        "effect": difference(sampled("host", "0:0, 1:40"), turn),
    }


def decoding() -> dict[str, Any]:
    """The host's own video decoder through our node: whole against the host's call, chunks against whole."""
    import torch

    vae = hosts_vae()
    node = import_module(f"{pack_in_host.NAME}.nodes").SVDStudioDecode
    latents = torch.randn(2 * 8, 4, 8, 8, generator=torch.Generator().manual_seed(3))

    def decoded(rows: Any, chunk: int, overlap: int, tile: int = 0, frames: int = 8) -> Any:
        latent = {"samples": rows, "svd_studio_frames": frames}
        with torch.inference_mode():
            return node.execute(vae, latent, chunk, overlap, tile, True)

    whole = decoded(latents, 8, 4).result[0]
    with torch.inference_mode():
        expected = torch.cat([vae.decode(part) for part in latents.split(8)])
    return {
        "whole": difference(whole, expected),
        "hard chunks": difference(decoded(latents, 4, 0).result[0], whole),
        "faded chunks": difference(decoded(latents, 4, 2).result[0], whole),
        "tiles": difference(decoded(latents, 8, 4, 48).result[0], whole),
        "report": decoded(latents[:8], 4, 2).result[2],
    }


def hosts_vae() -> Any:
    """The host's VAE object around its own temporal decoder, narrow and with random weights."""
    import comfy.sd
    import torch
    from comfy.ldm.models.autoencoder import AutoencodingEngine
    from comfy.model_patcher import ModelPatcher

    sizes = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32}
    sizes |= {"ch_mult": [1, 2, 2, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}
    engine = AutoencodingEngine(
        regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
        encoder_config={"target": "comfy.ldm.modules.diffusionmodules.model.Encoder", "params": sizes},
        decoder_config={
            "target": "comfy.ldm.modules.temporal_ae.VideoDecoder",
            "params": {**sizes, "video_kernel_size": [3, 1, 1], "alpha": 0.0},
        },
    ).eval()
    generator = torch.Generator().manual_seed(5)
    for parameter in engine.parameters():
        spread = 1 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
        parameter.data = torch.randn(parameter.shape, generator=generator) * spread + (parameter.ndim == 1)
    vae = comfy.sd.VAE(sd={})
    cpu = torch.device("cpu")
    vae.first_stage_model, vae.device, vae.vae_dtype, vae.output_device = engine, cpu, torch.float32, cpu
    vae.patcher = ModelPatcher(engine, load_device=cpu, offload_device=cpu)
    return vae
