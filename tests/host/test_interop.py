"""The host's other nodes on our objects: patches, merging, saving, tiles, number formats; and the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from svd_core.pipeline import animate_latents
from svd_core.settings import AnimateSettings
from svd_core.weights.build import load_model
from tests.host import graphs
from tests.host.server import Prompt, PromptRefused, Server

MODEL = "random.safetensors"


def latent(server: Server, prompt: Prompt) -> torch.Tensor:
    (file,) = server.files(server.run(prompt), "latent")
    return load_file(file)["latent_tensor"]


def difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    assert actual.isfinite().all()
    return float((actual - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def plain(server: Server) -> torch.Tensor:
    return latent(server, graphs.clip(MODEL))


PATCHES = {
    "FreeU_V2": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2},
    "PerturbedAttentionGuidance": {"scale": 3.0},
    "PatchModelAddDownscale": {
        "block_number": 1,
        "downscale_factor": 2.0,
        "start_percent": 0.0,
        "end_percent": 1.0,
        "downscale_after_skip": True,
        "downscale_method": "bicubic",
        "upscale_method": "bicubic",
    },
    "ModelSamplingContinuousEDM": {"sampling": "v_prediction", "sigma_max": 40.0, "sigma_min": 0.05},
}


@pytest.mark.parametrize("kind", PATCHES)
def test_patching_nodes_have_an_effect(server: Server, plain: torch.Tensor, kind: str) -> None:
    prompt = graphs.clip(MODEL) | {"patch": graphs.node(kind, model=["load", 0], **PATCHES[kind])}
    prompt["guidance"]["inputs"]["model"] = ["patch", 0]
    assert difference(latent(server, prompt), plain) > 1e-3


def test_merging_with_itself_changes_nothing(server: Server, plain: torch.Tensor) -> None:
    other = graphs.node("SVDStudioLoadModel", model=MODEL, dtype="float32")
    merge = graphs.node("ModelMergeSimple", model1=["load", 0], model2=["other", 0], ratio=0.5)
    prompt = graphs.clip(MODEL) | {"other": other, "merge": merge}
    prompt["guidance"]["inputs"]["model"] = ["merge", 0]
    assert difference(latent(server, prompt), plain) <= 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights_are_cast_on_use(server: Server, plain: torch.Tensor, dtype: str) -> None:
    load = graphs.node("SVDStudioLoadModel", model=MODEL, dtype=dtype)
    found = difference(latent(server, graphs.clip(MODEL) | {"load": load}), plain)
    assert 0 < found < 0.1, f"relative difference {found:.3f}"


@pytest.mark.parametrize("model", ["svd_tiny.safetensors", MODEL, "sv3d_tiny.safetensors"])
def test_a_file_saved_by_the_host_loads_again(server: Server, model: str) -> None:
    """Also where shapes do not say what the network is: head width, sinusoids, scale of the latents."""
    prompt = graphs.clip(model, frames=2)
    before = latent(server, prompt)
    save = graphs.node(
        "ImageOnlyCheckpointSave",
        model=["load", 0],
        clip_vision=["load", 1],
        vae=["load", 2],
        filename_prefix=f"saved_{Path(model).stem}",
    )
    server.run({"load": prompt["load"], "save": save})
    (file,) = (server.base / "output").glob(f"saved_{Path(model).stem}*.safetensors")
    with safe_open(file, "pt") as opened:
        names = set(opened.keys())
    assert "model.diffusion_model.input_blocks.1.1.time_stack.0.attn1.to_q.weight" in names
    assert "conditioner.embedders.0.open_clip.model.visual.vision_model.pre_layrnorm.weight" in names
    assert not [name for name in names if name.endswith(".quant_conv.weight")], "the host would not apply it"
    again = f"again_{model}"
    shutil.move(file, server.base / "models" / "checkpoints" / again)
    after = latent(server, graphs.clip(again, frames=2))
    assert difference(after, before) <= 1e-5


def test_a_unet_alone_borrows_the_rest(server: Server) -> None:
    whole = latent(server, graphs.clip("svd_tiny.safetensors", frames=2, seed=3))
    load = graphs.node(
        "SVDStudioLoadModel", model="unet_only.safetensors", dtype="auto", companion="svd_tiny.safetensors"
    )
    # Not bit by bit: mapped weights start at other addresses, and kernels round by the alignment.
    assert difference(latent(server, graphs.clip("", frames=2, seed=3) | {"load": load}), whole) <= 1e-5


def test_the_host_s_orbit_conditioning_runs(server: Server) -> None:
    prompt = graphs.clip("sv3d_tiny.safetensors", frames=3)
    inputs = {
        name: prompt["condition"]["inputs"][name] for name in ("clip_vision", "init_image", "vae", "video_frames")
    }
    prompt["condition"] = graphs.node("SV3D_Conditioning", **inputs, width=64, height=64, elevation=10.0)
    level = latent(server, prompt)
    assert level.shape == (3, 8, 8, 8)
    prompt["condition"]["inputs"]["elevation"] = 60.0
    assert difference(latent(server, prompt), level) > 1e-3, "the elevation has no effect"
    server.run(graphs.saved(prompt))


def test_our_orbit_equals_the_host_s_where_both_can_say_it(server: Server) -> None:
    hosts = graphs.clip("sv3d_tiny.safetensors", frames=3)
    hosts["picture"]["inputs"]["image"] = "square.png"
    sources = {name: hosts["condition"]["inputs"][name] for name in ("clip_vision", "vae")}
    hosts["condition"] = graphs.node(
        "SV3D_Conditioning",
        **sources,
        init_image=["picture", 0],
        video_frames=3,
        width=64,
        height=64,
        elevation=10.0,
    )
    path = {"frames": 3, "elevation": "10", "azimuth": "", "convention": "comfyui"}
    rest = {"framing": "pad", "fps": 7.0, "augmentation": 0.0, "seed": 0}
    ours = hosts | {
        "condition": graphs.node("SVDStudioOrbit", **sources, image=["picture", 0], width=64, height=64, **path, **rest)
    }
    expected, found = latent(server, hosts), latent(server, ours)
    assert difference(found, expected) <= 1e-5
    ours["condition"]["inputs"]["convention"] = "sv3d"
    assert difference(latent(server, ours), expected) > 1e-3, "the convention has no effect"
    decode = graphs.node(
        "SVDStudioDecode", vae=["load", 2], latent=["sample", 0], decode_chunk=8, overlap=4, tile=0, restore_shape=True
    )
    save = graphs.node("SVDStudioSaveClip", images=["decode", 0], fps=["condition", 3], filename="orbit", format="webp")
    done = server.run(ours | {"decode": decode, "save": save})
    assert "no temporal decoder" in done.outputs["decode"]["text"][0]
    assert "is the picture's own view" in done.outputs["condition"]["text"][0]
    assert getattr(Image.open(server.files(done, "save")[0]), "n_frames", 1) == 3
    ours["condition"]["inputs"]["elevation"] = "steep"
    with pytest.raises(PromptRefused) as refused:
        server.run(ours)
    assert "`elevation`" in refused.value.details("condition")


def test_tiled_decoding_keeps_the_clip(server: Server) -> None:
    prompt = graphs.saved(graphs.clip(MODEL)) | {
        "decode": graphs.node(
            "VAEDecodeTiled",
            samples=["sample", 0],
            vae=["load", 2],
            tile_size=64,
            overlap=0,
            temporal_size=64,
            temporal_overlap=8,
        )
    }
    whole = server.run(graphs.saved(graphs.clip(MODEL)))
    tiled = server.run(prompt)
    pairs = zip(server.files(whole, "frames"), server.files(tiled, "frames"), strict=True)
    worst = max(
        np.abs(np.asarray(Image.open(a), dtype=float) - np.asarray(Image.open(b), dtype=float)).max() for a, b in pairs
    )
    assert worst <= 1, f"one tile that holds everything differs from the whole by {worst:.0f} of 255"


def test_encoding_and_decoding_a_picture(server: Server) -> None:
    prompt = {
        "load": graphs.node("SVDStudioLoadModel", model=MODEL, dtype="auto"),
        "picture": graphs.node("LoadImage", image="picture.png"),
        "encode": graphs.node("VAEEncode", pixels=["picture", 0], vae=["load", 2]),
        "latent": graphs.node("SaveLatent", samples=["encode", 0], filename_prefix="encoded"),
    }
    assert latent(server, prompt).shape == (1, 8, 10, 8)


def test_equals_the_command_line(server: Server) -> None:
    """The host's own sampler with our networks, against our own sampler: 64x64, same noise, same conditioning."""
    prompt = graphs.clip(MODEL, seed=7, steps=3)
    prompt["picture"]["inputs"]["image"] = "square.png"
    hosts = latent(server, prompt)
    model = load_model(server.base / "models" / "checkpoints" / MODEL)
    picture = Image.open(server.base / "input" / "square.png").convert("RGB")
    noise = torch.randn(4, 8, 8, 8, generator=torch.Generator().manual_seed(7))
    settings = AnimateSettings(
        size=(64, 64),
        frames=4,
        fps=8,
        motion_bucket=127,
        augmentation=0,
        steps=3,
        solver="euler",
        schedule="karras",
        guidance="linear:1:2",
        noise=noise[None],
    )
    ours, _ = animate_latents(model, [picture], settings)
    found = difference(hosts, ours[0] / model.config.autoencoder.scale_factor)
    assert found <= 1e-5, f"relative difference {found:.1e}, limit 1e-5"
