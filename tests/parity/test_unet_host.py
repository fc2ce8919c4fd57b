"""The UNet against ComfyUI's own on the same random weights, in the host's own process."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from svd_core.config import SV3D_P, UNetConfig
from svd_core.sinusoid import sinusoid
from svd_core.unet import VideoUNet
from tests.hosting import find_host
from tests.tiny import TINY_UNET, randomise_
from tests.tolerances import assert_close

CLIPS, FRAMES = 2, 5


def host_arguments(config: UNetConfig) -> dict[str, object]:
    """The constructor arguments the host would derive from such a file."""
    depth = [int(flag) for flag in config.attention for _ in range(config.res_blocks)]
    depth_output = [int(flag) for flag in config.attention for _ in range(config.res_blocks + 1)]
    return {
        "frames": FRAMES,
        "image_size": 32,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "model_channels": config.channels[0],
        "channel_mult": [width // config.channels[0] for width in config.channels],
        "num_res_blocks": [config.res_blocks] * len(config.channels),
        "num_head_channels": config.head_channels,
        "transformer_depth": depth,
        "transformer_depth_output": depth_output,
        "transformer_depth_middle": 1,
        "context_dim": config.context_dim,
        "adm_in_channels": config.vector_dim,
        "num_classes": "sequential",
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "use_temporal_resblock": True,
        "use_temporal_attention": True,
        "extra_ff_mix_layer": True,
        "use_spatial_context": True,
        "merge_strategy": "learned_with_images",
        "merge_factor": 0.0,
        "video_kernel_size": [config.temporal_kernel, 1, 1],
        "disable_temporal_crossattention": False,
        "max_ddpm_temb_period": 10000,
        "legacy": False,
    }


SV3D = dataclasses.replace(TINY_UNET, vector=SV3D_P.unet.vector)


def vector_of(config: UNetConfig) -> torch.Tensor:
    """`b t v`: the same for every frame of a clip for SVD, another camera angle each for SV3D."""
    if config is TINY_UNET:
        ids = torch.tensor([[6.0, 127.0, 0.02], [9.0, 40.0, 0.3]])
        return sinusoid(ids, 256).flatten(1).unsqueeze(1).expand(-1, FRAMES, -1)
    augmentation = sinusoid(torch.full((CLIPS, FRAMES), 1e-5), 256)
    polar = sinusoid(torch.linspace(1.2, 1.7, CLIPS * FRAMES).view(CLIPS, FRAMES), 512)
    azimuth = sinusoid(torch.linspace(0.0, 6.0, CLIPS * FRAMES).view(CLIPS, FRAMES), 512)
    return torch.cat([augmentation, polar, azimuth], dim=-1)


@torch.no_grad()
@pytest.mark.parametrize("config", [TINY_UNET, SV3D], ids=["svd", "sv3d per-frame vectors"])
def test_equals_the_host(config: UNetConfig, tmp_path: Path) -> None:
    """B = 2 clips with different contexts and an odd size: the host must keep the clips apart as well."""
    host = find_host()
    unet = VideoUNet(config).eval()
    randomise_(unet, seed=3)
    generator = torch.Generator().manual_seed(4)
    vector = vector_of(config)
    inputs = {
        "x": torch.randn(CLIPS * FRAMES, 8, 9, 13, generator=generator),
        "timesteps": torch.full((CLIPS * FRAMES,), 0.7),
        "context": torch.randn(CLIPS, 1, TINY_UNET.context_dim, generator=generator).repeat_interleave(FRAMES, 0),
        "vector": vector.flatten(0, 1).contiguous(),
    }
    save_file(unet.state_dict(), tmp_path / "weights.safetensors")
    save_file(inputs, tmp_path / "inputs.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(host_arguments(config)), encoding="utf-8")
    script = Path(__file__).with_name("host_unet.py")
    # Outside our root: the host has a top-level module `nodes`, and so will we.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [host.python, script, host.root, tmp_path], cwd=host.root, env=environment, check=True, capture_output=True
    )
    theirs = load_file(tmp_path / "outputs.safetensors")["out"]
    per_clip = vector[:, 0] if config is TINY_UNET else vector
    context = inputs["context"][::FRAMES].contiguous()
    assert_close(unet(inputs["x"], inputs["timesteps"][:CLIPS], context, per_clip, FRAMES), theirs, 1e-5)
