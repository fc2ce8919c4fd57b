"""What an artist types into a sweep axis, read as values: numbers, seeds, cameras, files, text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ..errors import InputError, choose_from, explain
from .axes import Axis, Value, parse_axis, spread

Kind = Literal["number", "seed", "camera", "images", "lora files", "text"]
KINDS: tuple[Kind, ...] = ("number", "seed", "camera", "images", "lora files", "text")
FILES: tuple[Kind, ...] = ("images", "lora files")

Find = Callable[[Kind, str], Sequence[str]]
"""Files of a kind (or saved cameras) for a name or pattern, in natural order; raises InputError where there is none."""

SAVED = "saved: "
"""How a camera saved by the user is called in place of its moves."""

# Only patterns are looked up in a folder, and those the caller finds.
_NOWHERE = Path()
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*(?:to|\.\.)\s*({_NUMBER})(?:\s*(?:step|by)\s*({_NUMBER}))?", re.IGNORECASE)
_SEEDS = re.compile(r"(\d+)\s*from\s*(\d+)", re.IGNORECASE)
_EXAMPLES: dict[Kind, str] = {
    "number": "Write for example 60, 120, 180, or 60 to 180 step 40.",
    "seed": "Write for example 6 from 100, or 3, 14, 15.",
    "camera": "Write one camera a line, for example pan_left:12, or pan_left:12 + zoom_in:5.",
    "images": "Write names or patterns of the input folder, one a line, for example my_photos/*.png.",
    "lora files": "Write names or patterns of the LoRA lists, one a line, for example pan_*.safetensors.",
    "text": "Write one text a line.",
}


def read_entries(name: str, kind: str, text: str, find: Find) -> Axis:
    """The axis an artist described.

    number: values with commas, spaces or lines between, and `a to b step c` (both ends count, the step is 1 unless
    said). seed: whole numbers likewise, and `n from base`. camera, text, images and LoRA files: one a line; files by
    name or pattern, several patterns one after the other, no file twice.

    Raises:
        InputError: what cannot be read, with an example of what can.
    """
    if kind not in KINDS:
        raise InputError(choose_from("kind", kind, KINDS))
    known: Kind = kind
    readers: dict[Kind, Callable[[str], Sequence[Value]]] = {
        "number": _numbers,
        "seed": _seeds,
        "camera": lambda text: [_camera(line, find) for line in _lines(text)],
        "images": lambda text: _found(text, "images", find),
        "lora files": lambda text: _found(text, "lora files", find),
        "text": _lines,
    }
    values = list(readers[known](text))
    if not values:
        raise InputError(explain(f"values on the axis {name!r}", "none", _EXAMPLES[known]))
    return parse_axis({"name": name.strip(), "kind": kind, "values": values}, _NOWHERE)


def camera_moves(text: str) -> list[str]:
    """The moves of one camera: `pan_left:12 + zoom_in:5`, or one a line."""
    return [move.strip() for move in re.split(r"\s\+\s|\n", text) if move.strip()]


def _camera(text: str, find: Find) -> str:
    """Checked here, so that a misspelt move is a word on the axis and not a red cell in an hour."""
    from ..camera.stack_text import parse_move

    for move in camera_moves(text):
        if move.startswith(SAVED):
            find("camera", move.removeprefix(SAVED))
        else:
            parse_move(move)
    return text


def _found(text: str, kind: Kind, find: Find) -> list[str]:
    return list(dict.fromkeys(name for line in _lines(text) for name in find(kind, line)))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _numbers(text: str) -> list[Value]:
    values: list[Value] = []
    for part in (part.strip() for part in re.split(r"[,;\n]", text)):
        ranged = _RANGE.fullmatch(part)
        if ranged is not None:
            start, stop, step = (_number(number) for number in (ranged[1], ranged[2], ranged[3] or "1"))
            step = -abs(step) if stop < start else abs(step)
            values += spread("the axis", [start, stop, step])
        else:
            values += [_number(word) for word in part.split()]
    return values


def _seeds(text: str) -> list[Value]:
    values: list[Value] = []
    for part in (part.strip() for part in re.split(r"[,;\n]", text)):
        drawn = _SEEDS.fullmatch(part)
        if drawn is not None:
            values += parse_axis({"name": "seed", "count": int(drawn[1]), "base": int(drawn[2])}, _NOWHERE).values
            continue
        for word in part.split():
            if not re.fullmatch(r"\d{1,19}", word):
                raise InputError(explain("whole numbers from 0 as seeds", repr(part), _EXAMPLES["seed"]))
            values.append(int(word))
    return values


def _number(word: str) -> int | float:
    if re.fullmatch(r"[-+]?\d+", word):
        return int(word)
    if re.fullmatch(_NUMBER, word):
        return float(word)
    raise InputError(explain("numbers", repr(word), _EXAMPLES["number"]))
