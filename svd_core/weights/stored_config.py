"""The config our own files carry in their metadata, distrusted until every number in it is known to be sane."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast, get_args

from ..config import Family, ModelConfig
from ..errors import FileFormatError, SvdError, explain
from .source import CONFIG_KEY, Checkpoint

# Larger than any model of the family, small enough that expanding a hostile config stays cheap.
_MOST = {"res_blocks": 16, "transformer_depth": 32, "layers": 128}
_MOST_ENTRIES = 16
_MOST_INT = 10**6


def stored_config(checkpoint: Checkpoint) -> ModelConfig:
    """Read the config from the metadata.

    Raises:
        FileFormatError: it is incomplete, of wrong types, or absurd.
    """
    try:
        config = ModelConfig.from_json(checkpoint.metadata[CONFIG_KEY])
        _check(config)
    except (SvdError, ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as error:
        remedy = "The file is damaged or from another version: export it again."
        found = str(error)[:200]
        raise FileFormatError(explain(f"a usable model config in {checkpoint.path.name}", found, remedy)) from error
    return config


def _check(config: object) -> None:
    """Compare every field of a config dataclass with its annotation, and every number with what is plausible."""
    for field in dataclasses.fields(cast("Any", config)):
        value = getattr(config, field.name)
        items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
        if len(items) > _MOST_ENTRIES or not all(_plausible(field.name, str(field.type), item) for item in items):
            raise ValueError(f"{field.name} = {value!r}")


def _plausible(name: str, annotation: str, value: object) -> bool:
    if dataclasses.is_dataclass(value):
        _check(value)
        return True
    if name == "family":
        return value in get_args(Family)
    if annotation in ("int", "tuple[int, ...]"):
        return type(value) is int and 1 <= value <= _MOST.get(name, _MOST_INT)
    if annotation == "float":
        return type(value) in (int, float) and math.isfinite(cast("float", value))
    if annotation in ("bool", "tuple[bool, ...]"):
        return type(value) is bool
    return isinstance(value, str)
