"""What a path holds: one file, a sharded file, or a diffusers folder, all as one flat table of tensors.

Tensors of a folder's parts are listed as `unet/...`, `vae/...`, `image_encoder/...`, so that everything above
this file sees names only and never asks where they came from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ..errors import FileFormatError, InputError, explain, some_keys
from .reader import Header, TensorInfo, read_header, unreadable

FOLDER_PARTS = ("unet", "vae", "image_encoder", "transformer")
_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
# What a training run keeps beside its result: clips it has encoded, and its state.
_CACHED = re.compile(r"latents-[0-9a-f]{16}\.safetensors")
_RUN_STATES = ("state.pt", "refiner.pt")
_PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_CONFIG_LIMIT = 1_000_000
_INDEX_LIMIT = 20_000_000

CONFIG_KEY = "svd_studio.config"
"""Under this name our files carry their config: in the metadata, or as a tensor of bytes where a host saved them."""


def _no_configs() -> dict[str, Mapping[str, Any]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Every tensor below `path` by name, the file's metadata, and the `config.json` of each folder part."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=_no_configs)

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Shape of a tensor, or None if there is no such tensor."""
        info = self.tensors.get(key)
        return None if info is None else info.shape


def open_checkpoint(path: Path, *, half: bool = False) -> Checkpoint:
    """List the tensors of a file or folder from headers alone.

    half: take a folder's fp16 variant where both are there; otherwise the plain one is preferred.

    Raises:
        InputError: nothing readable there, or a folder that does not say which of its files is meant.
        FileFormatError: a damaged, incomplete, pickled or foreign file.
    """
    if path.is_dir():
        return _open_folder(path, half)
    sharded = path.name.endswith(".safetensors.index.json")
    header = _with_config(_read_shards(path) if sharded else read_header(path))
    return Checkpoint(path=path, tensors=header.tensors, metadata=header.metadata)


def _with_config(header: Header) -> Header:
    """Hosts write tensors and metadata of their own: a config that had to travel as a tensor becomes metadata."""
    carried = header.tensors.get(CONFIG_KEY)
    if carried is None or CONFIG_KEY in header.metadata or carried.nbytes > _CONFIG_LIMIT:
        return header
    try:
        with carried.file.open("rb") as file:
            file.seek(carried.start)
            text = file.read(carried.nbytes).decode("utf-8", "replace")
    except OSError as error:
        raise unreadable(carried.file, error) from error
    tensors = {name: info for name, info in header.tensors.items() if name != CONFIG_KEY}
    return Header(tensors, {**header.metadata, CONFIG_KEY: text})


def _open_folder(folder: Path, half: bool) -> Checkpoint:
    parts = [name for name in FOLDER_PARTS if (folder / name).is_dir()]
    if not parts:
        return _open_flat_folder(folder, half)
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    configs: dict[str, Mapping[str, Any]] = {}
    for part in parts:
        header = _read_part(folder / part, half)
        tensors |= {f"{part}/{name}": info for name, info in header.tensors.items()}
        metadata |= header.metadata
        configs |= _read_config(folder / part, part)
    return Checkpoint(path=folder, tensors=tensors, metadata=metadata, configs=configs)


def _open_flat_folder(folder: Path, half: bool) -> Checkpoint:
    """A folder that is itself one part (`unet/` of a pipeline), or that holds a single model file."""
    if _candidates(folder, half):
        header = _read_part(folder, half)
        return Checkpoint(
            path=folder, tensors=header.tensors, metadata=header.metadata, configs=_read_lone_config(folder)
        )
    files = [file for file in sorted(folder.glob("*.safetensors")) if not _CACHED.fullmatch(file.name)]
    if len(files) == 1:
        return open_checkpoint(files[0])
    if files:
        found = some_keys([file.name for file in files])
        raise InputError(explain(f"one model in {folder}", found, "Name the file you mean."))
    raise _no_weights(folder, "a model folder (unet/, vae/, image_encoder/) or a .safetensors file")


def _no_weights(folder: Path, expected: str) -> InputError | FileFormatError:
    names = [file.name for file in folder.iterdir()]
    if any(name in _RUN_STATES or _CACHED.fullmatch(name) for name in names):
        remedy = "Wait for its end, or go on with it by `svd train` and --resume."
        return InputError(explain(f"{expected} in {folder}", "a training run that has not written one yet", remedy))
    pickled = sorted(name for name in names if name.endswith(_PICKLED))
    if pickled:
        remedy = "Pickles can run any code when opened and are never opened here: get the .safetensors files."
        return FileFormatError(explain(f"{expected} in {folder}", f"pickles only ({some_keys(pickled)})", remedy))
    return InputError(explain(f"{expected} in {folder}", "none", "Give the model's file or its whole folder."))


def _candidates(folder: Path, half: bool) -> list[Path]:
    """Weight files or shard indices a diffusers part may have, best first."""
    variants = (".fp16", "") if half else ("", ".fp16")
    names = (
        name
        for variant in variants
        for stem in _STEMS
        for name in (
            f"{stem}{variant}.safetensors",
            f"{stem}{variant}.safetensors.index.json",
            f"{stem}.safetensors.index{variant}.json",
        )
    )
    return [folder / name for name in names if (folder / name).is_file()]


def _read_part(folder: Path, half: bool) -> Header:
    candidates = _candidates(folder, half)
    if not candidates:
        raise _no_weights(folder, "diffusion_pytorch_model.safetensors or model.safetensors")
    best = candidates[0]
    return _read_shards(best) if best.suffix == ".json" else read_header(best)


def _read_config(folder: Path, part: str) -> dict[str, Mapping[str, Any]]:
    path = folder / "config.json"
    return {part: read_json(path, _CONFIG_LIMIT)} if path.is_file() else {}


def _read_lone_config(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The config of a part's folder given on its own: the class it names says which part it is."""
    configs = _read_config(folder, "unet")
    text = str([configs.get("unet", {}).get(key) for key in ("_class_name", "architectures")])
    part = "vae" if "Autoencoder" in text else "image_encoder" if "CLIP" in text else "unet"
    return {part: configs["unet"]} if configs else {}


def read_json(path: Path, limit: int) -> dict[str, Any]:
    """A JSON object from a file of at most `limit` bytes.

    Raises:
        InputError: the file cannot be read.
        FileFormatError: it is larger, or no JSON object.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        tree = json.loads(raw.decode("utf-8")) if len(raw) <= limit else None
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        remedy = "The file is damaged: download it again."
        raise FileFormatError(explain(f"a JSON object in {path}", "something else", remedy))
    return cast("dict[str, Any]", tree)


def _read_shards(index: Path) -> Header:
    """Read every shard an index names and check that together they hold what it promises."""
    places = _weight_map(index)
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, str] = {}
    for name in sorted(set(places.values())):
        header = read_header(index.parent / name)
        tensors |= header.tensors
        metadata |= header.metadata
    lost = [key for key, name in places.items() if key not in tensors or tensors[key].file.name != name]
    if lost:
        remedy = "A shard is missing or from another model: download the folder again."
        raise FileFormatError(explain(f"every tensor {index.name} lists", f"none for {some_keys(lost)}", remedy))
    return Header(tensors, metadata)


def _weight_map(index: Path) -> dict[str, str]:
    places = read_json(index, _INDEX_LIMIT).get("weight_map")
    if not isinstance(places, dict) or not all(map(_plain_name, _values(places))):
        remedy = "Shards must lie beside their index: download the folder again."
        raise FileFormatError(explain(f"a `weight_map` of file names in {index.name}", "something else", remedy))
    return cast("dict[str, str]", places)


def _values(mapping: object) -> Iterator[object]:
    return iter(cast("dict[str, object]", mapping).values())


def _plain_name(name: object) -> bool:
    """A file name without any path: an index must not reach outside its folder."""
    return isinstance(name, str) and name.endswith(".safetensors") and not set(name) & set("/\\:\0")
