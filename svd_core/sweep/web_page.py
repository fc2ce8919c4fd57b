"""The contact sheet as one web page: every clip loops in its cell, and nothing is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..errors import InputError
from ..video_io.atomic import atomic_file
from .drawing import GONE, SheetStyle, caption, frames_shown, kept_file
from .layout import Page
from .manifest import Record
from .sheets import Sheet
from .thumbnails import data_uri, strip, uri_of

# Above this many clips a page of moving pictures grows too heavy for a browser: strips stand still.
_MOST_MOVING = 150
_MOVING_FRAMES = 16
_MILLISECONDS = 120
_STYLE = """
:root { color-scheme: dark; }
body { margin: 0; padding: 24px; background: #18181b; color: #f4f4f5; font: 14px/1.4 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 0 0 4px; } h2 { font-size: 15px; margin: 24px 0 8px; }
p { color: #a1a1aa; margin: 0 0 8px; }
table { border-collapse: collapse; }
th { font-weight: 500; text-align: left; padding: 4px 8px; position: sticky; background: #18181b; }
th { white-space: pre-line; }
thead th { top: 0; z-index: 1; } tbody th { left: 0; vertical-align: top; }
td { padding: 4px; vertical-align: top; }
figure { margin: 0; } figcaption { color: #a1a1aa; font-size: 12px; max-width: 320px; }
img { display: block; border-radius: 4px; image-rendering: auto; }
.hole { min-width: 96px; min-height: 80px; padding: 8px; border: 1px dashed #3f3f46; border-radius: 4px; }
.hole { color: #a1a1aa; font-size: 12px; }
.failed { min-width: 96px; max-width: 240px; padding: 8px; border-radius: 4px; background: #451a1e; color: #fca5a5; }
.failed { font-size: 12px; overflow-wrap: anywhere; }
a { color: inherit; }
"""


def write_page(sheet: Sheet, path: Path, style: SheetStyle) -> Path:
    """The sheet as a self-contained HTML file; clips are linked by their relative names.

    Raises:
        InputError, OutputError: it cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(_lines(sheet, style))
    return path


def _lines(sheet: Sheet, style: SheetStyle) -> Iterator[str]:
    moving = len(sheet.records) <= _MOST_MOVING
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(sheet.title)}</title>'
    yield f"<style>{_STYLE}</style></head><body>\n<h1>{escape(sheet.title)}</h1>"
    yield f"<p>{escape(sheet.told())}</p>\n"
    for page in sheet.pages:
        if page.title:
            yield f"<h2>{escape(page.title)}</h2>"
        yield from _table(page, sheet, style, moving)
    yield "</body></html>\n"


def _table(page: Page, sheet: Sheet, style: SheetStyle, moving: bool) -> Iterator[str]:
    yield "<table>"
    if any(page.columns):
        heads = "".join(f"<th>{escape(name)}</th>" for name in page.columns)
        yield f"<thead><tr><th></th>{heads}</tr></thead>"
    yield "<tbody>\n"
    for row, (name, line) in enumerate(zip(page.rows, page.cells, strict=True)):
        yield f"<tr><th>{escape(name)}</th>"
        for column, record in enumerate(line):
            free = record is None and not page.missing(row, column)
            yield "<td></td>" if free else f"<td>{_cell(record, sheet, style, moving)}</td>"
        yield "</tr>\n"
    yield "</tbody></table>\n"


def _cell(record: Record | None, sheet: Sheet, style: SheetStyle, moving: bool) -> str:
    if record is None:
        return f'<div class="hole">{caption(record)}</div>'
    if record.status == "failed" or record.file is None:
        return f'<div class="failed">{escape(caption(record))}</div>'
    picture = _picture(record, sheet.folder, style, moving)
    if picture is None:
        return f'<div class="hole">{GONE}</div>'
    told = ", ".join(axis.told(record.values[axis.name]) for axis in sheet.axes if axis.name in record.values)
    told, words = escape(told, quote=True), escape(caption(record))
    shown = f'<img loading="lazy" height="{style.height}" src="{picture}" alt="{told}" title="{told}">'
    return f'<figure><a href="{quote(record.file)}">{shown}</a><figcaption>{words}</figcaption></figure>'


def _picture(record: Record, folder: Path, style: SheetStyle, moving: bool) -> str | None:
    """What the cell shows, as an address; None of a clip that is gone."""
    kept = kept_file(record, folder, style, moving=moving)
    with suppress(InputError):
        if kept is not None:
            return uri_of(kept)
    frames = frames_shown(record, folder, style.height, _MOVING_FRAMES if moving else style.strip)
    if not frames:
        return None
    return data_uri(frames if moving else [strip(frames)], _MILLISECONDS)
