"""Loading a checkpoint of the real size: 4.8 GB of random float16 in the layout of svd_xt, made on the fly."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from svd_core.weights.inspection import inspect
from tests.bench.real_size import write_folder, write_single

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is measured in /proc"),
]
_ROOT = Path(__file__).parents[2]
_NEEDED_BYTES = 12_000_000_000


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The same tensors as a single file and as a diffusers folder; removed afterwards, 9 GB is no leftover."""
    folder = tmp_path_factory.mktemp("real_size")
    if shutil.disk_usage(folder).free < _NEEDED_BYTES:
        pytest.skip(f"needs {_NEEDED_BYTES / 1e9:.0f} GB of disk")
    single = folder / "svd_xt.safetensors"
    write_single(single)
    write_folder(folder / "diffusers", single)
    yield single, folder / "diffusers"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ours(checkpoints: tuple[Path, Path]) -> dict[str, Any]:
    return _measure("ours", checkpoints[0])


@pytest.fixture(scope="module")
def theirs(checkpoints: tuple[Path, Path]) -> dict[str, Any]:
    pytest.importorskip("diffusers")
    return _measure("build", checkpoints[1])


def _measure(what: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.real_size", what, str(path)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_tensor_is_accounted_for(ours: dict[str, Any]) -> None:
    assert ours["lost"] == []
    assert ours["tensors"] == 2446
    assert ours["used"] == 1428 + 374 + 392
    assert ours["used"] + sum(ours["dropped"].values()) == ours["tensors"]


def test_nothing_is_copied_before_first_use(ours: dict[str, Any]) -> None:
    grown = max(ours["private"], ours["anonymous"])
    assert grown <= 100, f"private memory grew by {grown:.1f} MB, limit 100"


def test_loading_against_diffusers(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    seconds, peak = ours["seconds"] / theirs["seconds"], ours["peak"] / theirs["peak"]
    assert seconds <= 0.3, f"{ours['seconds']:.2f} s against {theirs['seconds']:.2f} s: {seconds:.2f}, limit 0.3"
    assert peak <= 0.35, f"peak {ours['peak']:.0f} MB against {theirs['peak']:.0f} MB: {peak:.2f}, limit 0.35"


def test_one_guided_step_runs(checkpoints: tuple[Path, Path]) -> None:
    step = _measure("step", checkpoints[0])
    assert step["clip"] == [14, 64, 64, 3]
    assert step["finite"]


def test_inspection_reads_the_header_only(checkpoints: tuple[Path, Path]) -> None:
    for path in checkpoints:
        started = time.perf_counter()
        facts = inspect(path)
        seconds = time.perf_counter() - started
        assert (facts["family"], facts["missing"], facts["unexpected"]) == ("svd", [], [])
        assert seconds < 1, f"{seconds:.2f} s, limit 1"
