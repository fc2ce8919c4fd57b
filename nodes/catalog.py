"""The names an artist picks files by, and where those files are. Only the host's own model folders are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..svd_core.errors import InputError, explain
from .host import folder_paths, register_folder

EMBEDDED = "nano (embedded)"
_FOLDER_MARK = "diffusers: "
CAMERA_LORAS = "svd_camera_loras"
# The newer hosts' own folder, and the one older packs agreed on.
INTERPOLATORS = ("frame_interpolation", "rife")
_INTERPOLATOR_KINDS = (".safetensors", ".sft", ".pth", ".pt", ".pkl")
# Where another pack keeps what it downloads: most artists' RIFE files are there.
_OTHER_PACK = Path("ComfyUI-Frame-Interpolation") / "ckpts" / "rife"
# How names of the lists begin -> the host's folder they lie in; the empty one comes last.
_MARKS = {
    "camera lora: ": CAMERA_LORAS,
    "lora: ": "loras",
    **{f"{folder}: ": folder for folder in INTERPOLATORS},
    "": "checkpoints",
}
_MARKED = (_FOLDER_MARK, *filter(None, _MARKS))
# As the hosts list them.
_MODEL_KINDS = (*_INTERPOLATOR_KINDS, ".ckpt", ".pt2", ".bin", ".gguf")
_NO_MODELS = ("custom_nodes", "configs")
_INDEX = "model_index.json"
_ASSETS = Path(__file__).parent.parent / "svd_core" / "assets"
_ASSET, _INTERPOLATOR = _ASSETS / "nano.safetensors", _ASSETS / "nano_interpolator.safetensors"


def model_names() -> list[str]:
    """Everything that could be a model: the embedded one, checkpoint files, diffusers folders."""
    folders = [_FOLDER_MARK + name for name in sorted(_diffusers_folders())]
    return [EMBEDDED, *folder_paths.get_filename_list("checkpoints"), *folders]


def file_names() -> list[str]:
    """Models, LoRA files and frame interpolators."""
    loras = [mark + name for mark, folder in _MARKS.items() if "lora" in mark for name in _names(folder)]
    return [*model_names(), *loras, *(f"{folder}: {name}" for folder, name in _interpolators())]


def lora_names() -> list[str]:
    """LoRA files, those of the camera folder first; a name in both means that one."""
    return list(dict.fromkeys(name for folder in (CAMERA_LORAS, "loras") for name in _names(folder) if _is_open(name)))


def lora_folders() -> list[Path]:
    """Where those files lie, with all folders below, in the same order."""
    known = [name for name in (CAMERA_LORAS, "loras") if name in folder_paths.folder_names_and_paths]
    return [Path(folder) for name in known for folder in folder_paths.get_folder_paths(name)]


def find_lora(name: str) -> Path:
    """Where a name of `lora_names` lies.

    Raises:
        InputError: it is not in the list, or the file has gone.
    """
    folder = CAMERA_LORAS if name in _names(CAMERA_LORAS) else "loras"
    path = _listed(folder, name) if _is_open(name) else None
    if path is None or not path.exists():
        expected = f"a .safetensors file of ComfyUI/models/{CAMERA_LORAS} or ComfyUI/models/loras"
        raise InputError(explain(expected, f"no {name!r}", "Put the file there and refresh the page (R)."))
    return path


def register_interpolators() -> None:
    """Make the folders of frame interpolators known to the host."""
    for name in INTERPOLATORS:
        register_folder(name)
    known = "custom_nodes" in folder_paths.folder_names_and_paths
    for custom in folder_paths.get_folder_paths("custom_nodes") if known else ():
        folder_paths.add_model_folder_path(INTERPOLATORS[-1], str(Path(custom) / _OTHER_PACK))


def interpolator_names() -> list[str]:
    """Files that may be frame interpolators, and last the embedded model's; a name in both folders means the first."""
    return [*dict.fromkeys(name for _, name in _interpolators()), EMBEDDED]


def find_interpolator(name: str) -> Path:
    """Where a name of `interpolator_names` lies.

    Raises:
        InputError: it is not in the list, or the file has gone.
    """
    if name == EMBEDDED:
        return _INTERPOLATOR
    listed = (_listed(folder, name) for folder in INTERPOLATORS if name in interpolator_names())
    path = next((path for path in listed if path is not None and path.exists()), None)
    if path is None:
        expected = " or ".join(f"ComfyUI/models/{folder}" for folder in INTERPOLATORS)
        remedy = f"Put the file there and refresh the page (R), or choose “{EMBEDDED}”."
        raise InputError(explain(f"an interpolator of {expected}", f"no {name!r}", remedy))
    return path


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


def named(word: str) -> list[Path]:
    """Every model file, of whatever kind, that a word of a graph may name: one of this pack's lists, or of the host's.

    None for most words. Which of several files of one name a node means, only the node knows.
    """
    ours = _locate(word) if word == EMBEDDED or word.startswith(_MARKED) else None
    if ours is not None:
        return [ours]
    if not word.lower().endswith(_MODEL_KINDS):
        return []
    folders = [name for name in folder_paths.folder_names_and_paths if name not in _NO_MODELS]
    found = [full for name in folders if (full := folder_paths.get_full_path(name, word)) is not None]
    return [Path(full) for full in dict.fromkeys(found)]


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
    mark = next(mark for mark in _MARKS if name.startswith(mark))
    return _listed(_MARKS[mark], name.removeprefix(mark))


def _interpolators() -> Iterator[tuple[str, str]]:
    """Folder and name of every file that may be one."""
    listed = ((folder, name) for folder in INTERPOLATORS for name in _names(folder))
    yield from (entry for entry in listed if entry[1].lower().endswith(_INTERPOLATOR_KINDS))


def _names(folder: str) -> list[str]:
    """What the host lists in a folder; a folder it was never told of is empty."""
    return folder_paths.get_filename_list(folder) if folder in folder_paths.folder_names_and_paths else []


def _is_open(name: str) -> bool:
    return name.lower().endswith(".safetensors")


def _listed(folder: str, name: str) -> Path | None:
    """Only a name of the host's own list: anything else could lead out of its folders."""
    full = folder_paths.get_full_path(folder, name) if name in _names(folder) else None
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
