"""All files of a contact sheet, in the sweep's own folder."""

from __future__ import annotations

from pathlib import Path

from .sheets import SheetStyle, read_sheet, write_moving, write_png
from .web_page import write_page


def draw(
    folder: Path,
    *,
    rows: str | None = None,
    columns: str | None = None,
    moving: bool = False,
    style: SheetStyle | None = None,
) -> tuple[list[Path], list[Path]]:
    """Write sheet.png (its pages come first in the answer), sheet.html and, if `moving`, sheet.webp.

    Raises:
        InputError: nothing on record yet, or no such axis.
        OutputError: the disk is full.
    """
    style = style or SheetStyle()
    sheet = read_sheet(folder, rows=rows, columns=columns)
    pages, others = write_png(sheet, folder / "sheet.png", style), [write_page(sheet, folder / "sheet.html", style)]
    return pages, [*others, write_moving(sheet, folder / "sheet.webp", style)] if moving else others
