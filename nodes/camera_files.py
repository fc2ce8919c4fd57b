"""Cameras saved by the user: JSON files in one folder of ComfyUI's user directory, named by what the user typed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..svd_core.errors import InputError, explain
from . import catalog
from .host import folder_paths

if TYPE_CHECKING:
    from ..svd_core.camera.lora import CameraLora
    from ..svd_core.camera.move import CameraStack

_NAME = re.compile(r"[^\W_][\w .()+-]{0,79}")
# Names Windows keeps for devices, whatever follows the dot.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def folder() -> Path:
    """Where the files are; it need not exist."""
    return Path(folder_paths.get_user_directory()) / "default" / "svd_studio_cameras"


def names() -> list[str]:
    """Saved cameras, in order."""
    here = folder()
    return sorted(file.stem for file in here.glob("*.json") if _is_name(file.stem)) if here.is_dir() else []


def path_of(name: str) -> Path:
    """The file of a camera, there or not.

    Raises:
        InputError: the name could lead elsewhere, or is none on some system.
    """
    if not _is_name(name):
        remedy = "Use letters, digits, spaces and . _ - ( ) +, beginning with a letter or digit."
        raise InputError(explain("a plain `name` of up to 80 characters", repr(name), remedy))
    return folder() / f"{name}.json"


def check(name: str) -> Path:
    """The file of a camera that is there.

    Raises:
        InputError: there is none of that name, with the list.
    """
    path = path_of(name)
    if not path.is_file():
        expected = f"a saved camera ({', '.join(names()) or 'none yet'})"
        raise InputError(explain(expected, repr(name), "Save one with Save SVD Camera, then press R."))
    return path


def load(name: str) -> CameraStack:
    """A saved camera.

    Raises:
        InputError: there is none of that name, with the list, or a LoRA in it is not found.
        FileFormatError: the file is no camera.
    """
    from ..svd_core.camera.stack_text import from_json

    try:
        text = check(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(explain("a camera file that can be read", f"{name!r} ({error})", "Save it again.")) from error
    return from_json(text, _lora)


def save(stack: CameraStack, name: str) -> Path:
    """Write a camera, whole or not at all; one of the same name is replaced.

    Raises:
        InputError: a name that is none, or an empty camera.
        OutputError: the disk is full or failed.
    """
    from ..svd_core.camera.stack_text import to_json
    from ..svd_core.video_io import atomic_file

    path = path_of(name.strip())
    if not stack:
        raise InputError(explain("a camera with moves in it", "an empty one", "Wire in SVD Camera Move."))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(to_json(stack) + "\n", encoding="utf-8")
    return path


def parts(name: str) -> list[Path]:
    """The file of a camera and those of the LoRAs it names, as far as they are there."""
    from ..svd_core.sweep.contents import loras_in

    try:
        path = check(name)
        named = loras_in(path.read_text(encoding="utf-8"))
        return [path, *(catalog.find_lora(entry) for lora in named for entry in _matching(lora))]
    except (InputError, OSError, ValueError, RecursionError):
        return []


def fingerprint(name: str) -> str:
    """Changes with the file, and with the LoRAs it may name."""
    return "|".join([catalog.fingerprint(check(name)), *map(catalog.fingerprint, catalog.lora_folders())])


def _lora(name: str) -> CameraLora:
    from ..svd_core.weights.lora import load_camera_lora

    matching = _matching(name)
    if len(matching) > 1:
        remedy = "Rename one of them: a saved camera knows its LoRAs by name."
        raise InputError(explain(f"one LoRA called {name!r}", ", ".join(matching), remedy))
    return load_camera_lora(catalog.find_lora(matching[0] if matching else name))


def _matching(name: str) -> list[str]:
    """Entries of the LoRA lists whose files are called so."""
    from ..svd_core.weights.lora import name_of

    return [entry for entry in catalog.lora_names() if name_of(catalog.find_lora(entry)) == name]


def _is_name(name: str) -> bool:
    plain = _NAME.fullmatch(name) is not None and not name.endswith((".", " "))
    return plain and _RESERVED.fullmatch(name) is None
