"""What is varied: an axis is a name and the values it takes, however the plan writes them down."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias, cast

from ..errors import InputError, explain
from ..seeds import LAST_SEED

Value: TypeAlias = str | int | float | bool | None

MOST_VALUES = 100_000
_FORMS = '"values": [...], "range": [start, stop, step], "glob": "..." or "count": n with "base": s'
_LEADERS = ("model", "image", "camera", "camera_lora")
_LEADING_KINDS = ("images", "camera", "lora files")
_FILE_KINDS = ("images", "lora files")


@dataclass(frozen=True, slots=True)
class Axis:
    """`name` is a long option of `svd animate` with `_` for `-` (or a binding of a graph); `values` are distinct.

    `kind`: what a graph's values are, where its name does not tell: one of `entries.KINDS`.
    """

    name: str
    values: tuple[Value, ...]
    kind: str | None = None

    @property
    def leads(self) -> bool:
        """Whether the expensive first half of a clip depends on it: the encoded picture, the model with its camera."""
        return self.name in _LEADERS or self.kind in _LEADING_KINDS

    def label(self, value: Value) -> str:
        """A value without the axis's name: a file by its stem, with the strength that stands behind a LoRA."""
        found = self._file(value)
        if found is None:
            return str(value)
        path, behind = found
        # svd-xt-1.1 is a folder, and .1 no ending.
        return (path.stem if path.suffix[1:2].isalpha() else path.name) + behind

    def told(self, value: Value) -> str:
        """`seed 3`, `hills`, `camera pan_right:8`: the label, and what it is a label of unless that is a file."""
        return self.label(value) if self._file(value) else f"{self.name.replace('_', ' ')} {self.label(value)}"

    def _file(self, value: Value) -> tuple[Path, str] | None:
        from .contents import file_of

        if self.kind is None or not isinstance(value, str):
            return file_of(self.name, value, Path())
        return (Path(value), "") if self.kind in _FILE_KINDS else None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", self.name):
            remedy = "Name it after the option it varies, for example motion_bucket."
            raise InputError(explain("an axis name of letters, digits and _", repr(self.name), remedy))
        if not 1 <= len(self.values) <= MOST_VALUES:
            found = f"{len(self.values)} on {self.name}"
            raise InputError(explain(f"1 to {MOST_VALUES:,} values on an axis", found, "Correct the axis."))
        seen: set[tuple[type, Value]] = set()
        for value in self.values:
            if (type(value), value) in seen:
                raise InputError(explain(f"each value of {self.name} once", f"{value!r} twice", "Remove one of them."))
            seen.add((type(value), value))


def parse_axis(entry: object, folder: Path) -> Axis:
    """An axis from its JSON form; patterns of files are looked up in `folder`, the plan's own.

    Raises:
        InputError: none of the forms, several at once, values that are no JSON scalars, or a pattern without files.
    """
    if not isinstance(entry, Mapping):
        raise InputError(explain(f"an axis as an object with a name and {_FORMS}", repr(entry)[:80], "Correct it."))
    fields = cast("Mapping[str, Any]", entry)
    name = _name(fields)
    forms = [form for form in ("values", "range", "glob", "count") if form in fields]
    if len(forms) != 1:
        found = " and ".join(forms) or "none of them"
        raise InputError(explain(f"axis {name} with exactly one of {_FORMS}", found, "Correct the axis."))
    unknown = sorted(set(fields) - {"name", "base", "kind", *forms})
    if unknown or ("base" in fields and forms != ["count"]):
        found = ", ".join(unknown) or "base without count"
        raise InputError(explain(f"axis {name} with exactly one of {_FORMS}", found, "Remove what is too much."))
    kind = fields.get("kind")
    if kind is not None and not isinstance(kind, str):
        raise InputError(explain(f"kind of {name} as a word", repr(kind)[:80], "Correct or remove it."))
    if forms == ["values"]:
        return Axis(name, _values(name, fields["values"]), kind)
    if forms == ["range"]:
        return Axis(name, spread(name, fields["range"]), kind)
    if forms == ["glob"]:
        return Axis(name, matching(name, fields["glob"], folder), kind)
    return Axis(name, _seeds(name, fields["count"], fields.get("base", 0)), kind)


def spread(name: str, limits: object) -> tuple[int | float, ...]:
    """`[start, stop, step]` -> start, start + step, ... up to and with stop, without the errors of binary fractions.

    Raises:
        InputError: not three finite numbers, a step of 0 or away from stop, or too many values.
    """
    numbers = cast("Sequence[Any]", limits) if isinstance(limits, Sequence) and not isinstance(limits, str) else ()
    if len(numbers) != 3 or not all(_is_number(number) for number in numbers):
        remedy = "Write for example [60, 180, 40]."
        raise InputError(explain(f"range of {name} as [start, stop, step]", repr(limits)[:80], remedy))
    start, stop, step = (Decimal(str(number)) for number in numbers)
    if step == 0 or (stop - start) * step < 0:
        remedy = "Give a step that leads from start to stop."
        raise InputError(explain(f"a step from {start} towards {stop} on {name}", str(step), remedy))
    count = int((stop - start) / step) + 1
    if count > MOST_VALUES:
        raise InputError(explain(f"at most {MOST_VALUES:,} values on {name}", f"{count:,}", "Give a larger step."))
    whole = all(isinstance(number, int) for number in numbers)
    values = (start + index * step for index in range(count))
    return tuple(int(value) if whole else float(value) for value in values)


def matching(name: str, pattern: object, folder: Path) -> tuple[str, ...]:
    """Files in `folder` that match a pattern, as a person would list them (2 before 10), `**` for any depth.

    Raises:
        InputError: not a pattern, or nothing matches.
    """
    if not isinstance(pattern, str) or not pattern:
        raise InputError(explain(f"glob of {name} as a pattern", repr(pattern), 'Write for example "photos/*.png".'))
    names = glob.glob(pattern, root_dir=folder, recursive=True)
    found = [name for name in names if (folder / name).is_file()]
    if not found:
        raise InputError(explain(f"files for {name}", f"none matching {folder / pattern}", "Correct the pattern."))
    return tuple(Path(path).as_posix() for path in sorted(found, key=natural))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key under which numbers inside names count as numbers: img2 before img10."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", text.lower())
    return tuple((0, int(digits), "") if digits else (1, 0, word) for digits, word in parts)


def axis_document(axis: Axis) -> dict[str, Any]:
    """As JSON, with its values one by one."""
    told: dict[str, Any] = {"name": axis.name, "values": list(axis.values)}
    return told if axis.kind is None else {**told, "kind": axis.kind}


def _name(fields: Mapping[str, Any]) -> str:
    name = fields.get("name")
    if not isinstance(name, str):
        raise InputError(explain("an axis with a name", repr(dict(fields))[:80], 'Add "name".'))
    return name.replace("-", "_")


def _values(name: str, values: object) -> tuple[Value, ...]:
    if not isinstance(values, list):
        raise InputError(explain(f"values of {name} as a list", repr(values)[:80], "Put them into [ ]."))
    listed = cast("list[object]", values)
    for value in listed:
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(explain(f"finite numbers on {name}", repr(value), "Correct the value."))
        if value is not None and not isinstance(value, str | int | float | bool):
            raise InputError(explain(f"texts and numbers on {name}", repr(value)[:80], "Correct the value."))
    return tuple(cast("list[Value]", listed))


def _seeds(name: str, count: object, base: object) -> tuple[int, ...]:
    whole = isinstance(count, int) and isinstance(base, int) and not isinstance(count, bool | None)
    if not whole or not 1 <= cast("int", count) <= MOST_VALUES:
        remedy = 'Write for example "count": 6, "base": 0.'
        raise InputError(explain(f"count and base of {name} as whole numbers", f"{count!r}, {base!r}", remedy))
    first, number = cast("int", base), cast("int", count)
    if not 0 <= first <= LAST_SEED - number:
        raise InputError(explain(f"seeds in 0 .. {LAST_SEED}", f"{number} from {first}", "Choose a smaller base."))
    return tuple(range(first, first + number))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
