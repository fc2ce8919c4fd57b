"""`svd inspect`: what a checkpoint is, from its header alone and without torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from .output import Console

_SHOWN = 8
_EMBEDDED = Path(__file__).parent.parent / "assets" / "nano.safetensors"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd inspect`."""
    parser = subparsers.add_parser("inspect", help="say what a checkpoint file or folder is", description=__doc__)
    parser.add_argument("path", metavar="FILE|FOLDER", help="a safetensors file, a diffusers folder, or nano")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Print what the file says of itself."""
    from ..weights import inspect

    console = Console.of(options)
    embedded = options.path == "nano" and not Path("nano").exists()
    report: dict[str, object] = inspect(_EMBEDDED if embedded else options.path)
    console.result(report)
    lines = {key: _shown(value) for key, value in report.items() if key != "config"}
    if isinstance(config := report.get("config"), dict):
        lines["defaults"] = _shown(cast("dict[str, object]", config)["sampling"])
    width = max(len(key) for key in lines)
    for key, line in lines.items():
        console.say(f"{key.ljust(width)}  {line}")
    return 0


def _shown(value: object) -> str:
    """A value on one line; long lists by their first entries and their length."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return ", ".join(f"{key} {_shown(entry)}" for key, entry in pairs.items()) or "none"
    if isinstance(value, list | tuple):
        entries = cast("Sequence[object]", value)
        more = len(entries) - _SHOWN
        words = ", ".join(_shown(entry) for entry in entries[:_SHOWN])
        return (words + (f" and {more} more" if more > 0 else "")) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)
