"""Cameras in words and in files: `PRESET[:amount[:a-b[:ease]]]`, and JSON with a version.

Reading checks everything: a file may come from anywhere, so unknown keys, wrong kinds and numbers that are none are
refused with their place.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ..errors import FileFormatError, InputError, explain
from .curves import Part, ease_text, parse_ease
from .lora import CameraLora
from .move import CameraStack, Move
from .presets import find_preset

VERSION = 1

LoadLora = Callable[[str], CameraLora]
"""From the name a camera file gives a LoRA to the LoRA."""

_WORDS = "PRESET[:amount[:a-b[:ease]]]"
_EXAMPLE = "Write for example pan_left, pan_left:10 or zoom_in:8:0-12."
_MOVE_KEYS = frozenset({"preset", "lora", "amount", "frames", "ease", "steps", "seed", "parts"})
_PART_KEYS = frozenset({"index", "count", "starts", "crossfade"})


def parse_move(text: str) -> Move:
    """Read `PRESET[:amount[:a-b[:ease]]]`: frames are inclusive, `12-` runs to the end.

    Raises:
        InputError: an unknown preset (with the list), or a part that makes no sense.
    """
    name, *rest = text.strip().split(":", 3)
    find_preset(name)
    amount = _number(rest[0], text) if rest and rest[0] else None
    frames = _range(rest[1], text) if len(rest) > 1 and rest[1] else None
    return Move(preset=name, amount=amount, frames=frames, ease=parse_ease(rest[2]) if len(rest) > 2 else "linear")


def move_text(move: Move) -> str:
    """What `parse_move` reads, for a move of a preset: parts, steps and seed have no words."""
    words = [move.label, f"{move.speed:g}"]
    if move.frames is not None:
        words.append(f"{move.frames[0]}-{'' if move.frames[1] == -1 else move.frames[1]}")
    if move.ease != "linear":
        words += [""] * (3 - len(words)) + [ease_text(move.ease)]
    return ":".join(words)


def to_json(stack: CameraStack) -> str:
    """The camera as JSON; LoRAs by name."""
    return json.dumps({"version": VERSION, "moves": [_move_json(move) for move in stack.moves]}, indent=1)


def from_json(text: str, load_lora: LoadLora | None = None) -> CameraStack:
    """The inverse of `to_json`.

    Raises:
        FileFormatError: not JSON, not a camera, or of a later version.
        InputError: a value that makes no sense, a preset that does not exist, a LoRA that is not found.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_camera(f"text that is no JSON ({error})") from error
    if not isinstance(data, Mapping):
        raise _no_camera("other JSON")
    document = cast("Mapping[str, Any]", data)
    if document.get("version") != VERSION:
        raise _no_camera(f"version {document.get('version')!r}")
    moves = document.get("moves")
    if not isinstance(moves, list):
        raise _no_camera("no list of `moves`")
    return CameraStack(tuple(_move(_fields(entry, _MOVE_KEYS), load_lora) for entry in cast("list[object]", moves)))


def _move_json(move: Move) -> dict[str, Any]:
    told: dict[str, Any] = {
        "preset": move.preset,
        "lora": None if move.lora is None else move.lora.name,
        "amount": move.amount,
        "frames": move.frames,
        "ease": ease_text(move.ease),
        "steps": move.steps if move.steps != (0.0, 1.0) else None,
        "seed": move.seed or None,
        "parts": [_part_json(part) for part in move.parts] or None,
    }
    return {key: value for key, value in told.items() if value is not None}


def _part_json(part: Part) -> dict[str, Any]:
    told = {"index": part.index, "count": part.count, "starts": part.starts, "crossfade": part.crossfade or None}
    return {key: value for key, value in told.items() if value is not None}


def _move(entry: Mapping[str, Any], load_lora: LoadLora | None) -> Move:
    frames = _numbers(entry, "frames", 2)
    steps = _numbers(entry, "steps", 2) or [0.0, 1.0]
    amount = _numbers(entry, "amount")
    seed = _numbers(entry, "seed") or [0]
    return Move(
        preset=_string(entry, "preset"),
        lora=_lora(_string(entry, "lora"), load_lora),
        amount=amount[0] if amount else None,
        frames=None if frames is None else (_whole(frames[0]), _whole(frames[1])),
        ease=parse_ease(_string(entry, "ease") or "linear"),
        steps=(steps[0], steps[1]),
        seed=_whole(seed[0]),
        parts=tuple(_part(_fields(part, _PART_KEYS)) for part in _list(entry, "parts")),
    )


def _part(entry: Mapping[str, Any]) -> Part:
    starts = [_whole(_number(start, "starts")) for start in _list(entry, "starts")]
    index, count, crossfade = ((_numbers(entry, key) or [0])[0] for key in ("index", "count", "crossfade"))
    return Part(_whole(index), _whole(count), tuple(starts) if "starts" in entry else None, _whole(crossfade))


def _lora(name: str | None, load_lora: LoadLora | None) -> CameraLora | None:
    if name is None:
        return None
    if load_lora is None:
        remedy = "Load it where LoRA files can be found."
        raise InputError(explain("a camera without LoRA files here", f"the LoRA {name!r}", remedy))
    return load_lora(name)


def _fields(entry: object, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise _no_camera(f"{entry!r} for a move")
    named = cast("Mapping[str, Any]", entry)
    strange = sorted(set(named) - known)
    if strange:
        raise _no_camera(f"the unknown `{strange[0]}`")
    return named


def _string(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise _no_camera(f"{value!r} for `{key}`")
    return value


def _list(entry: Mapping[str, Any], key: str) -> list[object]:
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise _no_camera(f"{value!r} for `{key}`")
    return cast("list[object]", value)


def _numbers(entry: Mapping[str, Any], key: str, count: int | None = None) -> list[float] | None:
    """A number, or a list of `count` of them; None if there is none."""
    if entry.get(key) is None:
        return None
    values = [entry[key]] if count is None else _list(entry, key)
    if count is not None and len(values) != count:
        raise _no_camera(f"{values} for `{key}`")
    return [_number(value, key) for value in values]


def _number(value: object, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(cast("Any", value))
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(explain(f"a number in {where!r}", repr(value), _EXAMPLE))
    return number


def _whole(value: float) -> int:
    if value != int(value):
        raise InputError(explain("whole frames and seeds", f"{value:g}", "Write them without a decimal point."))
    return int(value)


def _range(text: str, whole: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{1,6})\s*-\s*(\d{1,6})?\s*", text)
    if match is None:
        raise InputError(explain(f"{_WORDS} with frames as first-last", repr(whole), _EXAMPLE))
    return int(match[1]), -1 if match[2] is None else int(match[2])


def _no_camera(found: str) -> FileFormatError:
    remedy = "Save the camera again with this version of SVD Studio."
    return FileFormatError(explain(f"a camera file of version {VERSION}", found, remedy))


def parse_moves(texts: Sequence[str]) -> CameraStack:
    """Several moves made together."""
    return CameraStack(tuple(parse_move(text) for text in texts))
