"""The table an embedded model is judged by: every row's floor and goal, and its value from the lines of a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .scores_arithmetic import standard_error
from .scores_record import Line

Figure = Callable[[Sequence["Clip"]], float]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a value must lie in, ends included; `unit` is for human eyes."""

    low: float = -math.inf
    high: float = math.inf
    unit: str = ""

    def holds(self, value: float) -> bool:
        """Whether a value lies in it."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.low == -math.inf:
            return f"<= {self.high:g}{self.unit}"
        if self.high == math.inf:
            return f">= {self.low:g}{self.unit}"
        if self.low == -self.high:
            return f"+- {self.high:g}{self.unit}"
        return f"{self.low:g} .. {self.high:g}{self.unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The lines of one held-out world, by name."""

    set: str
    index: int
    lines: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row before it is filled: what it is called, which lines a clip must have, and the figure of such clips.

    digits: behind the point. beside: a remark made from the same clips.
    """

    name: str
    needs: tuple[str, ...]
    figure: Figure
    floor: Bound | None = None
    goal: Bound | None = None
    digits: int = 2
    beside: Callable[[Sequence[Clip]], str] = field(default=lambda _: "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: value over all clips with its standard error, the value of each set, and whether floor and goal are met.

    value: None where nothing was measured; `beside` then says why.
    """

    name: str
    value: float | None
    error: float | None = None
    clips: int = 0
    sets: Mapping[str, float] = field(default_factory=dict[str, float])
    floor: Bound | None = None
    goal: Bound | None = None
    digits: int = 2
    beside: str = ""

    @property
    def verdict(self) -> str:
        """In a word; empty for a figure that only stands beside others."""
        if self.value is None:
            return "not measured"
        if self.floor is None or self.goal is None:
            return ""
        if self.floor.holds(self.value):
            return "goal met" if self.goal.holds(self.value) else "floor met"
        return "not met"

    def shown(self, value: float | None) -> str:
        """A value of this row."""
        return "-" if value is None else f"{value:.{self.digits}f}"

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "name": self.name,
            "value": self.value,
            "standard_error": self.error,
            "clips": self.clips,
            "sets": dict(self.sets),
            "floor": None if self.floor is None else str(self.floor),
            "goal": None if self.goal is None else str(self.goal),
            "verdict": self.verdict,
            "beside": self.beside,
        }


def clips_of(lines: Sequence[Line]) -> list[Clip]:
    """The clips a record knows something of."""
    found: dict[tuple[str, int], dict[str, Line]] = {}
    for line in lines:
        if line["kind"] == "clip":
            found.setdefault((line["set"], line["clip"]), {})[line["name"]] = line
    return [Clip(set=name, index=index, lines=held) for (name, index), held in found.items()]


def filled(measure: Measure, clips: Sequence[Clip], sets: Sequence[str], lacking: str = "") -> Row:
    """The row of a measure over the clips that have what it needs; `lacking` is said where none has."""
    fit = [clip for clip in clips if clip.set in sets and all(name in clip.lines for name in measure.needs)]
    facts: dict[str, Any] = {
        "name": measure.name,
        "floor": measure.floor,
        "goal": measure.goal,
        "digits": measure.digits,
    }
    if not fit:
        return Row(value=None, beside=lacking, **facts)
    by_set = {name: [clip for clip in fit if clip.set == name] for name in sets}
    return Row(
        value=measure.figure(fit),
        error=standard_error(fit, measure.figure) if len(fit) > 1 else None,
        clips=len(fit),
        sets={name: measure.figure(own) for name, own in by_set.items() if own},
        beside=measure.beside(fit),
        **facts,
    )
