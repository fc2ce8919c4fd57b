"""`svd sheet`: the contact sheets of a sweep, drawn again from its manifest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .output import Console


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd sheet`."""
    parser = subparsers.add_parser("sheet", help="draw the contact sheets of a sweep", description=__doc__)
    parser.add_argument("folder", metavar="DIR", help="the folder of a sweep")
    parser.add_argument("--rows", metavar="AXIS", help="what runs down")
    parser.add_argument("--columns", metavar="AXIS", help="what runs across; other axes turn the pages")
    parser.add_argument(
        "--moving", action="store_true", help="also sheet.webp: the first page, in which every clip plays"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document with the files")


def run(options: argparse.Namespace) -> int:
    """Draw and say where."""
    from ..sweep.sheet_files import draw

    console = Console.of(options)
    pages, others = draw(Path(options.folder), moving=options.moving, rows=options.rows, columns=options.columns)
    written = [*pages, *others]
    console.result({"files": [str(path) for path in written]})
    for path in written:
        console.say(str(path))
    return 0
