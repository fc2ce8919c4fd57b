"""The real command line in this process or in another, and a small checkpoint for it to run on."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svd_core.cli.main import main
from tests.checkpoints import SGM, in_layout, random_networks, save_single
from tests.models import SMALL

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Outcome:
    """`svd` in this process."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return Outcome(code, printed.out, printed.err)


def run_there(*arguments: str | Path, **environment: str) -> Outcome:
    """`python -m svd_core` in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "svd_core", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=300, encoding="utf-8")
    return Outcome(done.returncode, done.stdout, done.stderr)


def assert_refused(outcome: Outcome, *words: str, code: int = 2) -> None:
    """One clear line, the right exit code, no traceback, nothing on stdout."""
    assert outcome.code == code, f"exit code {outcome.code} instead of {code}: {outcome.err}"
    assert "Traceback" not in outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("svd: ")]
    assert len(lines) == 1, outcome.err
    assert outcome.out == ""
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"


def small_checkpoint(folder: Path) -> Path:
    """A whole model with random weights, a clip of which takes half a second."""
    tensors = in_layout(random_networks(SMALL), SMALL, SGM)
    return save_single(folder / "small.safetensors", tensors, {"svd_studio.config": SMALL.to_json()})


def picture(path: Path, *, width: int = 90, height: int = 70, seed: int = 0) -> Path:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path
