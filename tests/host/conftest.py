"""One host for all host tests, with random models of the embedded one's size and a few broken files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from svd_core.config import NANO
from svd_core.weights.save import save_model
from tests.checkpoints import SGM, in_layout, random_networks, save_single, sparse_file
from tests.host.server import Server, install_pack, serving
from tests.hosting import find_host
from tests.models import random_model
from tests.tiny import TINY


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running host; starting it takes most of the time."""
    host = find_host()
    base = tmp_path_factory.mktemp("host")
    install_pack(base / "custom_nodes" / "svd-studio")
    _fill(base)
    with serving(host, base) as running:
        yield running


def _fill(base: Path) -> None:
    for folder in ("input", "output", "models/checkpoints", "models/loras"):
        (base / folder).mkdir(parents=True)
    checkpoints = base / "models" / "checkpoints"
    model = random_model(NANO, seed=5)
    save_model(model, checkpoints / "random.safetensors")
    save_single(checkpoints / "svd_tiny.safetensors", in_layout(random_networks(SVD_TINY, 6), SVD_TINY, SGM))
    whole = (checkpoints / "random.safetensors").read_bytes()
    (checkpoints / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    sparse_file(checkpoints / "sd15.safetensors", SD15)
    (checkpoints / "pickle.safetensors").write_bytes(b"PK\x03\x04" + bytes(400))
    save_file(lora_tensors(), str(base / "models" / "loras" / "temporal.safetensors"))
    gradient = torch.linspace(0, 255, 64 * 80 * 3).reshape(80, 64, 3).to(torch.uint8)
    picture = Image.fromarray(gradient.numpy())
    picture.save(base / "input" / "picture.png")
    picture.crop((0, 8, 64, 72)).save(base / "input" / "square.png")


# Small enough to run, and with SVD's own head width, so that nothing but shapes is needed to read it.
SVD_TINY = dataclasses.replace(TINY, unet=dataclasses.replace(TINY.unet, head_channels=64))
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
