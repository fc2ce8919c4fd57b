"""Where the ComfyUI to test against is, for tests that start it as a separate process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Host:
    """A ComfyUI checkout and the interpreter it runs on."""

    root: Path
    python: Path


def find_host() -> Host:
    """`$COMFYUI_PATH` (else where comfy-cli installs) and `$COMFYUI_PYTHON` (else its `.venv`), or skip the test."""
    root = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    windows, posix = root / ".venv/Scripts/python.exe", root / ".venv/bin/python"
    python = Path(os.environ.get("COMFYUI_PYTHON", windows if windows.exists() else posix)).expanduser()
    if not (root / "main.py").exists():
        pytest.skip(f"no ComfyUI at {root}; set COMFYUI_PATH")
    if not python.exists():
        pytest.skip(f"no interpreter at {python}; set COMFYUI_PYTHON")
    return Host(root, python)
