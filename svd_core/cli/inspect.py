"""`svd inspect`: what a checkpoint or LoRA is, from its header alone and without torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

from .output import Console

_EMBEDDED = Path(__file__).parent.parent / "assets" / "nano.safetensors"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd inspect`."""
    parser = subparsers.add_parser("inspect", help="say what a checkpoint or LoRA is", description=__doc__)
    parser.add_argument(
        "path",
        metavar="FILE|FOLDER",
        help="a safetensors file, RIFE weights, a diffusers, PEFT or training folder, or nano",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Print what the file says of itself."""
    from ..weights import inspect
    from ..weights.readable import fact_lines, shown

    console = Console.of(options)
    embedded = options.path == "nano" and not Path("nano").exists()
    report: dict[str, object] = inspect(_EMBEDDED if embedded else options.path)
    console.result(report)
    lines = fact_lines(report)
    if isinstance(config := report.get("config"), dict):
        lines.append(("defaults", shown(cast("dict[str, object]", config)["sampling"])))
    width = max(len(key) for key, _ in lines)
    for key, line in lines:
        console.say(f"{key.ljust(width)}  {line}")
    return 0
