"""One host for all host tests, with random models of the embedded one's size and a few broken files."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from svd_core.config import NANO, SV3D_P
from svd_core.sinusoid import sinusoid
from svd_core.training.interpolator import interpolator_config
from svd_core.unet import VideoUNet
from svd_core.unet.interpolator import VideoInterpolator
from svd_core.weights.fingerprint import latent_fingerprint
from svd_core.weights.save import save_model
from svd_core.weights.video_interpolators import save_interpolator
from tests.checkpoints import DIFFUSERS, SGM, in_layout, random_networks, save_folder, save_single, sparse_file
from tests.deltas import TEMPORAL_ATTENTION, random_lora
from tests.host.server import Server, install_pack, serving
from tests.hosting import find_host
from tests.models import random_model
from tests.parity.test_unet_host import host_arguments
from tests.rife import recorded, weights
from tests.sizes import SIZES
from tests.tiny import TINY, TINY_UNET, randomise_


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running host; starting it takes most of the time."""
    host = find_host()
    base = tmp_path_factory.mktemp("host")
    install_pack(base / "custom_nodes" / "svd-studio")
    _fill(base)
    with serving(host, base) as running:
        yield running


@pytest.fixture(scope="session")
def in_host(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `in_host.py` finds in one process of the host's Python, by section."""
    host = find_host()
    folder = tmp_path_factory.mktemp("in_host")
    save_file(dict(randomise_(VideoUNet(TINY_UNET), seed=3).state_dict()), folder / "weights.safetensors")
    save_file(_inputs(), folder / "inputs.safetensors")
    for name, parts in CAMERAS.items():
        save_file(camera_tensors(parts), folder / f"{name}.safetensors")
    arguments = {key: value for key, value in host_arguments(TINY_UNET).items() if key != "frames"}
    (folder / "host.json").write_text(json.dumps(arguments), encoding="utf-8")
    (folder / "config.json").write_text(TINY.to_json(), encoding="utf-8")
    save_model(random_model(NANO, seed=5), folder / "model.safetensors")
    save_folder(folder / "pipeline", in_layout(random_networks(SVD_TINY, 6), SVD_TINY, DIFFUSERS), {})
    _save_sizes(folder / "sizes")
    # Our root must not be importable there: the host has a top-level module `nodes` as well.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [host.python, Path(__file__).with_name("in_host.py"), host.root, folder]
    done = subprocess.run(command, cwd=host.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


# Layers of the LoRAs: what camera LoRAs are trained on, and every layer there is.
CAMERAS = {"camera": TEMPORAL_ATTENTION, "everywhere": ("",)}


def camera_tensors(parts: Sequence[str]) -> dict[str, torch.Tensor]:
    """A random LoRA for the tiny network."""
    lora = random_lora(VideoUNet(TINY_UNET), 6, parts)
    return {
        f"{path}.{end}": tensor
        for path, delta in lora.deltas.items()
        for end, tensor in (("down", delta.down), ("up", delta.up))
    }


def _inputs() -> dict[str, torch.Tensor]:
    """Two clips of three frames, and contexts of one token, of several, and of one a frame."""
    clips, frames = 2, 3
    generator = torch.Generator().manual_seed(4)
    rows, width = clips * frames, TINY_UNET.context_dim
    vector = sinusoid(torch.tensor([[6.0, 127.0, 0.02], [9.0, 40.0, 0.3]]), 256).flatten(1)
    return {
        "x": torch.randn(rows, TINY_UNET.in_channels, 8, 6, generator=generator),
        "timesteps": torch.full((rows,), 0.7),
        "context": torch.randn(clips, 1, width, generator=generator).repeat_interleave(frames, 0),
        "tokens": torch.randn(clips, 3, width, generator=generator).repeat_interleave(frames, 0),
        "per_frame": torch.randn(rows, 1, width, generator=generator),
        "vector": vector.repeat_interleave(frames, 0),
    }


def _save_sizes(folder: Path) -> None:
    """Models of other sizes than the embedded one's, each with an interpolator of its own."""
    folder.mkdir()
    for name, config in SIZES.items():
        model = random_model(config, seed=9)
        save_model(model, folder / f"{name}.safetensors")
        network = randomise_(VideoInterpolator(interpolator_config("residual", model)), seed=10)
        fingerprint = latent_fingerprint(model)
        save_interpolator(network, folder / f"{name}.interpolator", base=fingerprint, metadata={}, dtype=torch.float32)


def _fill(base: Path) -> None:
    for folder in ("input", "output", "models/checkpoints", "models/loras"):
        (base / folder).mkdir(parents=True)
    checkpoints = base / "models" / "checkpoints"
    model = random_model(NANO, seed=5)
    save_model(model, checkpoints / "random.safetensors")
    model.unet.time_embed[0].bias.data[0] = math.nan
    save_model(model, checkpoints / "nan.safetensors")
    save_model(random_model(ORBIT, seed=8), checkpoints / "sv3d_tiny.safetensors")
    tensors = in_layout(random_networks(SVD_TINY, 6), SVD_TINY, SGM)
    save_single(checkpoints / "svd_tiny.safetensors", tensors)
    unet = {name: tensor for name, tensor in tensors.items() if name.startswith("model.diffusion_model.")}
    save_single(checkpoints / "unet_only.safetensors", unet)
    whole = (checkpoints / "random.safetensors").read_bytes()
    (checkpoints / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    sparse_file(checkpoints / "sd15.safetensors", SD15)
    for name in ("pickle.safetensors", "old.ckpt"):
        (checkpoints / name).write_bytes(b"PK\x03\x04" + bytes(400))
    save_file(lora_tensors(), str(base / "models" / "loras" / "temporal.safetensors"))
    interpolators = base / "models" / "frame_interpolation"
    interpolators.mkdir()
    torch.save(weights(recorded()["4.17 lite"].shapes), interpolators / "rife_random.pth")
    gradient = torch.linspace(0, 255, 64 * 80 * 3).reshape(80, 64, 3).to(torch.uint8)
    picture = Image.fromarray(gradient.numpy())
    picture.save(base / "input" / "picture.png")
    picture.crop((0, 8, 64, 72)).save(base / "input" / "square.png")


# Small enough to run, and with SVD's own head width, so that nothing but shapes is needed to read it.
SVD_TINY = dataclasses.replace(TINY, unet=dataclasses.replace(TINY.unet, head_channels=64))
ORBIT = dataclasses.replace(
    NANO,
    name="sv3d_tiny",
    family="sv3d_p",
    unet=dataclasses.replace(
        NANO.unet, vector=tuple(dataclasses.replace(entry, width=32) for entry in SV3D_P.unet.vector)
    ),
    autoencoder=dataclasses.replace(NANO.autoencoder, temporal_decoder=False),
)
# Enough of Stable Diffusion 1.5 to be recognised by.
SD15 = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.0.0.bias": (320,),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "model.diffusion_model.time_embed.0.weight": (1280, 320),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}


def lora_tensors() -> dict[str, torch.Tensor]:
    """A LoRA on one temporal attention, in the naming the host reads."""
    width, rank = NANO.unet.channels[0], 2
    generator = torch.Generator().manual_seed(3)
    stem = "lora_unet_input_blocks_1_1_time_stack_0_attn1_to_v"
    return {
        f"{stem}.lora_down.weight": torch.randn(rank, width, generator=generator),
        f"{stem}.lora_up.weight": torch.randn(width, rank, generator=generator),
        f"{stem}.alpha": torch.tensor(float(rank)),
    }
