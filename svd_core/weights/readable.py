"""The facts about a file in words, for the command line and for nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

_SHOWN = 8


def fact_lines(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    """Names and texts, one a line; each warning has a line of its own, the config none."""
    lines: list[tuple[str, str]] = []
    for name, value in facts.items():
        if name == "warnings" and isinstance(value, list) and value:
            lines += [("warning", str(text)) for text in cast("list[object]", value)]
        elif name != "config":
            lines.append((name, shown(value)))
    return lines


def shown(value: object) -> str:
    """A value on one line; long lists by their first entries and their length."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return ", ".join(f"{key} {shown(entry)}" for key, entry in pairs.items()) or "none"
    if isinstance(value, list | tuple):
        entries = cast("Sequence[object]", value)
        more = len(entries) - _SHOWN
        words = ", ".join(shown(entry) for entry in entries[:_SHOWN])
        return (words + (f" and {more} more" if more > 0 else "")) or "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "none" if value is None else str(value)
