"""What only shows over time: the same latents after a restart, steady memory, and how long the start takes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.host.server import Server, install_pack, serving
from tests.host.test_rooms import MODEL, clip, latents
from tests.hosting import find_host

# 50 prompts; memory after the fifth and the last.
PROMPTS, EARLY, GROWTH = 50, 5, 0.05


def test_a_restart_changes_no_bit(server: Server, tmp_path: Path) -> None:
    """With augmentation, whose noise the host's own node draws without a seed; and with previews, which only look."""
    prompt = clip(condition={"augmentation": 0.3})
    before = latents(server, prompt)
    for folder in ("input", "models/checkpoints", "output"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("input/picture.png", f"models/checkpoints/{MODEL}"):
        shutil.copy(server.base / name, tmp_path / name)
    install_pack(tmp_path / "custom_nodes" / "svd-studio")
    with serving(find_host(), tmp_path, "--preview-method", "latent2rgb") as second:
        (file,) = second.files(second.run(prompt), "saved")
        after = load_file(file)["latent_tensor"]
    assert torch.equal(after, before)


def test_importing_takes_no_time(server: Server) -> None:
    """By the host's own count, which other jobs on the machine prolong; `test_memory.py` counts processor time."""
    assert server.import_seconds() < 5


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_fifty_prompts_leave_memory_as_it_was(server: Server) -> None:
    resident: list[int] = []
    for number in range(PROMPTS):
        name = server.queue(clip(sample={"steps": 2, "seed": 1000 + number}, condition={"seed": 1000 + number}))
        server.wait(name)
        resident.append(server.resident())
    early, last = resident[EARLY - 1], resident[-1]
    print(f"resident after {EARLY}: {early / 1e6:.1f} MB, after {PROMPTS}: {last / 1e6:.1f} MB")
    assert last <= early * (1 + GROWTH), f"{early / 1e6:.0f} MB after {EARLY} prompts, {last / 1e6:.0f} after {PROMPTS}"
