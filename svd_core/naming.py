"""Names of files from a template an artist writes: `%date%`, `%seed%`, `%stem%` and every other value there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from .errors import InputError, explain

_PLACE = re.compile(r"%([^%/\\]+)%")
# What Windows forbids in a name, and what would lead to another folder.
_FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')
# Names Windows keeps for devices, whatever ending they have.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(1, 10))}
_LONGEST_VALUE = 80
_LISTED = 12
# The letters other programs write dates with, longest first.
_DATE_PARTS = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "hh": "%H", "mm": "%M", "ss": "%S"}


def fill_template(template: str, values: Mapping[str, object], now: datetime) -> str:
    """A template such as `clips/%stem%_%date%_%seed%` with its places filled.

    `%date%` is 2026-11-21, `%time%` 01-30-00, `%date:yyMMdd hh.mm%` whatever stands behind the colon; any other name
    is looked up in `values`. Slashes of the template make folders, those of a value become `_`.

    Raises:
        InputError: a name that is nowhere, or a template that leads out of the folder it starts in.
    """

    def fill(place: re.Match[str]) -> str:
        name, _, form = place[1].partition(":")
        if name == "date":
            return safe(_dated(form or "yyyy-MM-dd", now))
        if name == "time":
            return now.strftime("%H-%M-%S")
        if place[1] not in values:
            known = sorted({"date", "time", *values})
            listed = ", ".join(known[:_LISTED]) + (" ..." if len(known) > _LISTED else "")
            raise InputError(explain(f"a name among {listed}", place[0], "Correct the name between the % signs."))
        return safe(str(values[place[1]]))

    filled = _PLACE.sub(fill, template).strip()
    parts = [part for part in re.split(r"[\\/]", filled) if part]
    if not parts or ".." in parts or re.match(r"[\\/]|[A-Za-z]:", filled):
        remedy = "Write a name, or folders and a name, without .. or a drive."
        raise InputError(explain("a name inside the output folder", repr(filled), remedy))
    return "/".join([*map(safe, parts)])


def _dated(form: str, now: datetime) -> str:
    return re.sub("|".join(_DATE_PARTS), lambda part: now.strftime(_DATE_PARTS[part[0]]), form)


def safe(text: str) -> str:
    """One part of a file name, at most 80 characters, that every system takes."""
    short = _FORBIDDEN.sub("_", text)[:_LONGEST_VALUE].strip(" .") or "_"
    return f"{short}_" if short.partition(".")[0].lower() in _RESERVED else short
