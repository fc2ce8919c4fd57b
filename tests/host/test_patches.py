"""Every kind of patch acts on our network as on the host's: the same calls, the same result, and an effect."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from svd_core.sinusoid import sinusoid
from svd_core.unet import VideoUNet
from tests.hosting import find_host
from tests.parity.test_unet_host import host_arguments
from tests.tiny import TINY, TINY_UNET, randomise_

CLIPS, FRAMES = 2, 3
PLACES = (("middle", 0), ("input", 1, 0), ("output", 5))
# One row of the table below each; kept in step by `test_every_case_was_run`.
CASES = [
    "nothing",
    "several tokens",
    "context per frame",
    "time context",
    "input_block_patch",
    "input_block_patch_after_skip",
    "output_block_patch",
    "attn1_patch",
    "attn2_patch",
    "attn1_output_patch",
    "attn2_output_patch",
    "middle_patch",
    "emb_patch",
    *(f"{kind} replaced at {place}" for kind in ("attn1", "attn2") for place in PLACES),
    "wrapper",
    "attention override",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Both networks under every patch, in one process of the host's Python."""
    host = find_host()
    folder = tmp_path_factory.mktemp("patches")
    unet = VideoUNet(TINY_UNET).eval()
    randomise_(unet, seed=3)
    save_file(unet.state_dict(), folder / "weights.safetensors")
    save_file(_inputs(), folder / "inputs.safetensors")
    arguments = {key: value for key, value in host_arguments(TINY_UNET).items() if key != "frames"}
    (folder / "host.json").write_text(json.dumps(arguments), encoding="utf-8")
    config = dataclasses.replace(TINY, unet=TINY_UNET)
    (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = Path(__file__).with_name("patches_in_host.py")
    done = subprocess.run(
        [host.python, script, host.root, folder],
        cwd=host.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def _inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    rows, width = CLIPS * FRAMES, TINY_UNET.context_dim
    vector = sinusoid(torch.tensor([[6.0, 127.0, 0.02], [9.0, 40.0, 0.3]]), 256).flatten(1)
    return {
        "x": torch.randn(rows, TINY_UNET.in_channels, 8, 6, generator=generator),
        "timesteps": torch.full((rows,), 0.7),
        "context": torch.randn(CLIPS, 1, width, generator=generator).repeat_interleave(FRAMES, 0),
        "tokens": torch.randn(CLIPS, 3, width, generator=generator).repeat_interleave(FRAMES, 0),
        "per_frame": torch.randn(rows, 1, width, generator=generator),
        "vector": vector.repeat_interleave(FRAMES, 0),
    }


def test_every_case_was_run(results: dict[str, dict[str, object]]) -> None:
    assert list(results) == CASES


@pytest.mark.parametrize("name", CASES)
def test_acts_as_in_the_host(results: dict[str, dict[str, float]], name: str) -> None:
    found = results[name]
    same, count, theirs, ours = found["calls"]
    assert same, f"{count} calls, first ones\nhost {theirs}\nours {ours}"
    assert found["difference"] <= 1e-5, f"relative difference {found['difference']:.1e}, limit 1e-5"
    if name != "nothing":
        assert found["effect"] > 1e-3, f"the patch changes the host's result by {found['effect']:.1e} only"
