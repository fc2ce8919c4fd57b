"""One plan headless and the same as a graph on a running host: the same clips, as far as rounding allows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from svd_core.cli.cells import make_render
from svd_core.sweep.hosts import HostExecutor
from svd_core.sweep.local import LocalExecutor
from svd_core.sweep.manifest import Manifest
from svd_core.sweep.plan import GraphTemplate, parse_plan
from svd_core.sweep.run import run_plan
from svd_core.video_io import read_clip
from tests.host.server import Server
from tests.host.test_rooms import FRAMES, MODEL, STEPS, clip, decoded, difference, reference

SEEDS = {"name": "seed", "count": 2, "base": 5}


def test_latents_and_frames_agree(server: Server, tmp_path: Path) -> None:
    shutil.copy(server.base / "input" / "picture.png", tmp_path / "picture.png")
    settings = {"model": str(server.base / "models" / "checkpoints" / MODEL), "image": "picture.png", "format": "png"}
    settings |= {"size": "64x64", "frames": FRAMES, "fps": 8, "motion_bucket": 100, "augmentation": 0, "steps": STEPS}
    settings |= {"solver": "euler", "schedule": "karras", "guidance": "linear:1:2", "decode_chunk": 8}
    here = parse_plan(
        {"version": 1, "name": "ways", "template": {"kind": "animate", "settings": settings}, "axes": [SEEDS]}, tmp_path
    )
    graph = decoded(clip(condition={"augmentation": 0.0}, saved={"filename_prefix": "ways/latent"}), "png")
    template = {"kind": "graph", "prompt": graph, "bindings": {"seed": ["sample", "seed"]}}
    there = parse_plan({"version": 1, "name": "ways", "template": template, "axes": [SEEDS]}, tmp_path)
    assert isinstance(there.template, GraphTemplate)
    run_plan(here, tmp_path / "here", LocalExecutor(["cpu"], make_render))
    run_plan(there, tmp_path / "there", HostExecutor([server.url], there.template))
    told = [
        {record.values["seed"]: record for record in Manifest(tmp_path / side / "manifest.jsonl").records()}
        for side in ("here", "there")
    ]
    assert [record.status for side in told for record in side.values()] == ["done"] * 4, told
    for seed in (5, 6):
        frames = [
            read_clip(tmp_path / name / str(side[seed].file)).pixels
            for name, side in zip(("here", "there"), told, strict=True)
        ]
        assert len(frames[1]) == FRAMES
        far = float((frames[0] - frames[1]).abs().max())
        print(f"seed {seed}: frames within {far * 255:.2f}/255")
        assert far <= 1 / 255 + 1e-6
    for seed, file in zip((5, 6), sorted((server.base / "output" / "ways").glob("latent*.latent")), strict=True):
        expected, _ = reference(server, seed=seed, augmentation=0.0)
        far = difference(load_file(file)["latent_tensor"], expected)
        print(f"seed {seed}: latents {far:.1e} relative L2")
        assert far == pytest.approx(0, abs=1e-5)
