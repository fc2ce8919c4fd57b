"""The names an artist picks files by, and where those files are. Only the host's own model folders are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..svd_core.errors import InputError, explain
from .host import folder_paths

EMBEDDED = "nano (embedded)"
_FOLDER_MARK = "diffusers: "
_LORA_MARK = "lora: "
_INDEX = "model_index.json"
_ASSET = Path(__file__).parent.parent / "svd_core" / "assets" / "nano.safetensors"


def model_names() -> list[str]:
    """Everything that could be a model: the embedded one, checkpoint files, diffusers folders."""
    folders = [_FOLDER_MARK + name for name in sorted(_diffusers_folders())]
    return [EMBEDDED, *folder_paths.get_filename_list("checkpoints"), *folders]


def file_names() -> list[str]:
    """Models and LoRA files."""
    return [*model_names(), *(_LORA_MARK + name for name in folder_paths.get_filename_list("loras"))]


def find(name: str) -> Path:
    """Where a name of the lists lies.

    Raises:
        InputError: it is not in the lists, or the file has gone.
    """
    path = _locate(name)
    if path is None or not path.exists():
        expected = "a model in ComfyUI's checkpoints, diffusers or loras folder"
        remedy = f"Put the file there and refresh the page (R), or choose “{EMBEDDED}”."
        raise InputError(explain(expected, f"no {name!r}", remedy))
    return path


def fingerprint(path: Path) -> str:
    """Changes when a file, or any file of a folder, is exchanged."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    marks = [f"{file.name}:{(stat := file.stat()).st_mtime_ns}:{stat.st_size}" for file in files if file.is_file()]
    return "|".join([str(path), *marks])


def _locate(name: str) -> Path | None:
    if name == EMBEDDED:
        return _ASSET
    if name.startswith(_FOLDER_MARK):
        return _diffusers_folders().get(name.removeprefix(_FOLDER_MARK))
    folder = "loras" if name.startswith(_LORA_MARK) else "checkpoints"
    # Only a name of the host's own list: anything else could lead out of its folders.
    bare = name.removeprefix(_LORA_MARK)
    if bare not in folder_paths.get_filename_list(folder):
        return None
    full = folder_paths.get_full_path(folder, bare)
    return None if full is None else Path(full)


def _diffusers_folders() -> dict[str, Path]:
    """Pipelines in the host's diffusers folders by their relative name."""
    roots = [Path(root) for root in folder_paths.get_folder_paths("diffusers")]
    return {found.relative_to(root).as_posix(): found for root in roots for found in _pipelines(root)}


def _pipelines(root: Path) -> Iterator[Path]:
    for folder, inner, files in os.walk(root, followlinks=True):
        if _INDEX in files:
            inner.clear()  # what lies below is the pipeline's own
            yield Path(folder)
