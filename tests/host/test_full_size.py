"""A file of the real size, 4.8 GB of random numbers: the host's own model, ours, and our sampler give the same latents.

All run in float32 on the CPU. There the host's attention is in the precision it forces on SVD anyway, and sigmas
differ by what float32 leaves of exp(log(sigma)), about 1e-7.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints import header_bytes, manifest
from tests.hosting import find_host

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured in /proc"),
]
_NEEDED_BYTES = 7_000_000_000
_RING = 1 << 22
_LIMIT = 1e-4


def write_random(path: Path, seed: int = 0) -> None:
    """The layout of svd_xt in float16, every layer as loud as in `randomise_`: none is zero, as fresh ones are."""
    shapes = manifest("svd_xt.sgm")
    ring = np.random.default_rng(seed).normal(0, 1, _RING).astype(np.float32)
    start = 0
    with path.open("wb") as file:
        file.write(header_bytes(shapes))
        for name, shape in shapes.items():
            left = math.prod(shape)
            spread, centre = _loudness(name, shape)
            while left:
                piece = ring[start : start + left]
                file.write((piece * spread + centre).astype(np.float16).data)
                left -= len(piece)
                # An offset that differs each time keeps equal tensors from getting equal values.
                start = (start + 104_729) % (_RING // 2)


def _loudness(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    if len(shape) > 1:
        return 1 / math.sqrt(math.prod(shape[1:])), 0.0
    if "mix_factor" in name:
        return 1.0, 0.0
    return (0.1, 1.0) if name.endswith("weight") else (0.05, 0.0)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    host = find_host()
    folder = tmp_path_factory.mktemp("full_size")
    if shutil.disk_usage(folder).free < _NEEDED_BYTES:
        pytest.skip(f"needs {_NEEDED_BYTES / 1e9:.0f} GB of disk")
    write_random(folder / "svd_xt.safetensors")
    # Our root must not be importable there: the host has a top-level module `nodes` as well.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [host.python, Path(__file__).with_name("full_size_in_host.py"), host.root, folder]
    done = subprocess.run(command, cwd=host.root, env=environment, capture_output=True, text=True, check=False)
    (folder / "svd_xt.safetensors").unlink()
    assert done.returncode == 0, done.stderr[-3000:]
    yield json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_our_model_equals_the_host_s_own_under_its_sampler(results: dict[str, Any]) -> None:
    assert results["movement"] > 0.1, "the latents say nothing"
    assert results["model"] <= _LIMIT, results


def test_our_sampler_equals_the_host_s(results: dict[str, Any]) -> None:
    assert results["sampler"] <= _LIMIT, results


def test_it_runs_in_sixteen_gigabytes(results: dict[str, Any]) -> None:
    assert results["peak_gb"] < 16, results
    print("full size:", json.dumps(results))
