"""Which settings of a cell are files, and what is in them: a changed file is another cell, a moved one is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..errors import SvdError
from .hash_store import kept_hash

NANO = "nano"
_ASSETS = Path(__file__).parent.parent / "assets"
EMBEDDED = _ASSETS / f"{NANO}.safetensors"
SHIPPED_CAMERAS = _ASSETS / "camera"
# Settings whose whole value is a path.
_PATHS = ("image", "companion", "depth", "camera_folder")
# What of a folder is read: weights, and the configs and indices beside them.
_READ = (".safetensors", ".json")
_LONGEST_TEXT = 2**20
_LONGEST_WORD = 1000
# Of files a graph names: a sweep over many LoRAs is opened often, and reads none of them twice.
_SMALLEST_KEPT = 2**20

# In place of a setting's name: what a host has under a word of a graph.
_LOCATED = "located"

Locate = Callable[[str], Sequence[Path]]
"""Files and folders a word of a graph names in the model folders of its host; none for most words."""


def file_of(name: str, value: object, folder: Path) -> tuple[Path, str] | None:
    """The file or folder a setting names, and what stands behind it (the strength of a LoRA); None where it is none.

    Relative paths start in `folder`. The file need not exist.
    """
    if not isinstance(value, str):
        return None
    if name in _PATHS:
        return folder / value, ""
    if name == "model":
        return model_path(value, folder), ""
    if name == "camera":
        return (folder / value, "") if value.lower().endswith(".json") else None
    if name == "camera_lora":
        # A colon in front of anything but a number belongs to the name: a drive has one too.
        path, colon, strength = value.rpartition(":")
        with suppress(ValueError):
            if colon:
                float(strength)
                return folder / path, colon + strength
        return folder / value, ""
    return None


def model_path(value: object, folder: Path) -> Path:
    """The file or folder of a model; None and "nano" are the embedded one."""
    if value is None or (value == NANO and not (folder / NANO).exists()):
        return EMBEDDED
    return folder / str(value)


@dataclass(slots=True)
class Contents:
    """What the files of a plan hold, each read once. `store` keeps the hashes of large ones; None: the user's own.

    `locate`: where else than in `folder` the files of a graph lie; None: nobody knows, so they count by their names.
    """

    folder: Path
    store: Path | None = None
    locate: Locate | None = None
    _known: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def resolved(self, name: str, value: object) -> object:
        """What a setting stands for: a file is its contents, everything else itself.

        A file that cannot be read is its name here; the cell fails on it when its turn comes.
        """
        found = file_of(name, value, self.folder)
        inside = self._of(name, found[0]) if found else ""
        return f"{inside}{found[1]}" if found and inside else value

    def file(self, value: object) -> str | None:
        """Hash of the file a word of a graph names, None where it names none."""
        if not isinstance(value, str) or len(value) > _LONGEST_WORD:
            return None
        inside = self._of("graph", self.folder / value) if "." in value else ""
        return inside or self._located(value) or None

    def _located(self, word: str) -> str:
        """Of all files a host has under a name: which of them a node means, only the node knows."""
        if self.locate is None:
            return ""
        if ("word", word) not in self._known:
            found = [self._of(_LOCATED, path) for path in self.locate(word)]
            told = found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()
            self._known["word", word] = told if any(found) else ""
        return self._known["word", word]

    def shipped_cameras(self) -> str:
        """Of the LoRAs that come with the package, which presets may use."""
        return self._of("camera_folder", SHIPPED_CAMERAS)

    def _of(self, name: str, path: Path) -> str:
        key = (name, str(path))
        if key not in self._known:
            try:
                self._known[key] = self._read(name, path)
            except (OSError, ValueError, RecursionError):
                self._known[key] = ""
        return self._known[key]

    def _read(self, name: str, path: Path) -> str:
        if name == "camera_folder":
            return _together(path, _tagged(path), self.store)
        if path.is_dir():
            if name in ("image", "depth", "graph"):
                raise IsADirectoryError(path)
            return _together(path, _weights(path), self.store)
        if not path.is_file():
            # A pipe or a device would be read for ever.
            raise FileNotFoundError(path)
        found = kept_hash(path, self.store, _SMALLEST_KEPT if name == _LOCATED else None)
        beside = sorted({other for other in _named_in(name, path) if other.is_file()})
        return _together(path.parent, beside, self.store, found) if beside else found


def _together(folder: Path, files: Iterable[Path], store: Path | None, before: str = "") -> str:
    """One hash of several files and their places in a folder."""
    digest = hashlib.sha256(before.encode())
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}:{kept_hash(path, store)};".encode())
    return digest.hexdigest()


def _weights(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _READ and path.is_file())
    if not found:
        raise FileNotFoundError(folder)
    return found


def _tagged(folder: Path) -> Iterator[Path]:
    """LoRAs that a preset could find; whatever else lies there plays no part."""
    from ..weights.lora_tags import CAMERA_KEY
    from ..weights.reader import read_header

    if not folder.is_dir():
        raise NotADirectoryError(folder)
    for path in sorted(folder.rglob("*.safetensors")):
        with suppress(SvdError, OSError):
            if CAMERA_KEY in read_header(path).metadata:
                yield path


def _named_in(name: str, path: Path) -> Iterator[Path]:
    """Files that are read with a file: the LoRAs of a saved camera, the shards of an index, an adapter's config."""
    if name in ("camera_lora", _LOCATED):
        yield path.with_name("adapter_config.json")
    if path.suffix.lower() != ".json" or path.stat().st_size > _LONGEST_TEXT * 16:
        return
    text = path.read_text(encoding="utf-8")
    if name == "camera":
        yield from (path.parent / f"{Path(lora).name}.safetensors" for lora in loras_in(text))
    shards = _object(text).get("weight_map") if name in ("model", _LOCATED) else None
    if isinstance(shards, dict):
        yield from (path.parent / Path(str(shard)).name for shard in cast("dict[str, Any]", shards).values())


def loras_in(text: str) -> list[str]:
    """Names of the LoRAs in a camera's file, as it says them.

    Raises:
        ValueError: it is no JSON.
    """
    moves = _object(text).get("moves")
    listed = cast("list[Any]", moves) if isinstance(moves, list) else []
    named = [move.get("lora") for move in listed if isinstance(move, dict)]
    return [name for name in named if isinstance(name, str)]


def _object(text: str) -> Mapping[str, Any]:
    tree = json.loads(text)
    return cast("Mapping[str, Any]", tree) if isinstance(tree, dict) else {}
