"""The sweeps of this server: where they lie, what files there are for their axes, who renders their cells."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from glob import escape
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ..svd_core.errors import InputError, explain
from ..svd_core.sweep.axes import matching, natural
from ..svd_core.sweep.entries import SAVED, Kind, camera_moves
from . import camera_files, catalog
from .host import folder_paths

if TYPE_CHECKING:
    from ..svd_core.camera.move import CameraStack
    from ..svd_core.sweep.service import Sweeps

EVENT = "svd_studio.sweep"
_WILD = ("*", "?", "[")


@cache
def sweeps() -> Sweeps:
    """The one collection of this process; nothing is read before it is asked for something."""
    from ..svd_core.sweep.service import Surroundings, Sweeps
    from .host_server import own_host, tell_every_page

    return Sweeps(
        Surroundings(
            root=root,
            pictures=pictures,
            host=own_host,
            find=find,
            cameras=camera,
            files=files,
            tell=lambda told: tell_every_page(EVENT, told),
        )
    )


def root() -> Path:
    """Where sweeps lie."""
    return Path(folder_paths.get_output_directory()) / "svd_sweeps"


def pictures() -> Path:
    """Where pictures lie."""
    return Path(folder_paths.get_input_directory())


def find(kind: Kind, pattern: str) -> Sequence[str]:
    """Pictures of the input folder and LoRAs of the lists by name or pattern, in natural order; saved cameras by name.

    Raises:
        InputError: nothing of that name, or a pattern that leads out of the folder.
    """
    if kind == "camera":
        camera_files.check(pattern)
        return [pattern]
    return _pictures(pattern) if kind == "images" else _loras(pattern)


def files(word: str) -> Sequence[Path]:
    """What a word of a graph names besides pictures: models, LoRAs, and the saved cameras in a camera's words."""
    return catalog.named(word) or [part for name in saved_in(word) for part in camera_files.parts(name)]


def camera(text: str) -> CameraStack:
    """A camera in words: moves made together, saved ones among them.

    Raises:
        InputError: a move that is none, or a saved camera that is not there.
    """
    from ..svd_core.camera.move import CameraStack, mix
    from ..svd_core.camera.stack_text import parse_moves

    stack = CameraStack()
    for move in camera_moves(text):
        one = camera_files.load(move.removeprefix(SAVED)) if move.startswith(SAVED) else parse_moves([move])
        stack = mix(stack, one)
    return stack


def saved_in(text: str) -> list[str]:
    """Names of the saved cameras a text names."""
    return [move.removeprefix(SAVED) for move in camera_moves(text) if move.startswith(SAVED)]


def picture_path(name: str) -> Path:
    """A picture of the input folder.

    Raises:
        InputError: it is not there, or the name leads out of the folder.
    """
    path = pictures() / _inside(name)
    if not path.is_file():
        remedy = "Put it there, or correct the name."
        raise InputError(explain("a picture in ComfyUI's input folder", f"no {name!r}", remedy))
    return path


def _inside(name: str) -> str:
    plain = name.replace("\\", "/")
    if PurePath(plain).is_absolute() or ".." in plain.split("/") or ":" in plain:
        remedy = "Write a name or pattern without .. or a drive, such as my_photos/*.png."
        raise InputError(explain("pictures inside ComfyUI's input folder", repr(name), remedy))
    return plain


def _pictures(pattern: str) -> list[str]:
    folder, plain = pictures(), _inside(pattern)
    if (folder / plain).is_file():
        return [plain]
    if (folder / plain).is_dir():
        plain = f"{escape(plain.rstrip('/'))}/*"
    if not any(sign in plain for sign in _WILD):
        # Not there: say so.
        picture_path(plain)
    found = folder_paths.filter_files_content_types(list(matching("images", plain, folder)), ["image"])
    if not found:
        remedy = "Put pictures there, or correct the pattern."
        raise InputError(explain(f"pictures matching {pattern!r} in ComfyUI's input folder", "none", remedy))
    return found


def _loras(pattern: str) -> list[str]:
    names, plain = catalog.lora_names(), pattern.replace("\\", "/").lower()
    found = [name for name in names if fnmatchcase(name.replace("\\", "/").lower(), plain)]
    if pattern in names:
        found = [pattern]
    if not found:
        expected = f"LoRA files matching {pattern!r} in ComfyUI/models/{catalog.CAMERA_LORAS} or ComfyUI/models/loras"
        raise InputError(explain(expected, "none", "Put them there and refresh the page (R), or correct the pattern."))
    return sorted(found, key=natural)
