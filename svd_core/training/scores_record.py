"""What a bench of a model has measured so far: a file of lines, one a reading, which a killed run goes on with.

The first line says what all others belong to: the model's weights and the seed. Lines are appended batch by batch; one
that was cut short is dropped and measured again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, explain
from ..video_io.atomic import output_error

Line = Mapping[str, Any]


@dataclass(slots=True)
class Record:
    """The lines of a file, and the seed they were measured with."""

    path: Path
    seed: int
    lines: list[Line] = field(default_factory=list[Line])

    @staticmethod
    def opened(path: Path, model: str, seed: int | None, draw: Callable[[], int]) -> Record:
        """The record in the file, or a new one.

        model: identity of the weights. seed: None takes the file's, or one that `draw` draws for a new file.

        Raises:
            InputError: the file is another model's or of another seed, or is no record, or cannot be written.
        """
        lines = _read(path)
        if not lines:
            record = Record(path, draw() if seed is None else seed)
            record._append([{"kind": "bench", "model": model, "seed": record.seed}], "w")
            return record
        head = lines[0]
        known = isinstance(head.get("model"), str) and isinstance(head.get("seed"), int)
        if head.get("kind") != "bench" or not known or not all("kind" in line for line in lines):
            raise _no_record(path)
        if head["model"] != model:
            found = f"a record of {head['model']} in {path}"
            raise InputError(explain(f"a record of this model, {model}", found, "Give another --out."))
        if seed not in (None, head["seed"]):
            found = f"seed {head['seed']} in {path}"
            raise InputError(explain(f"a record of seed {seed}", found, "Give another --out, or no --seed."))
        record = Record(path, head["seed"], lines[1:])
        record._mend()
        return record

    def add(self, lines: Sequence[Line]) -> None:
        """Append the readings of a batch.

        Raises:
            OutputError, InputError: the disk is full, or the file can no longer be written.
        """
        self._append(lines, "a")
        self.lines.extend(lines)

    def _append(self, lines: Sequence[Line], mode: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open(mode, encoding="utf-8") as stream:
                stream.write("".join(json.dumps(line) + "\n" for line in lines))
        except OSError as error:
            raise output_error(self.path, error) from error

    def _mend(self) -> None:
        """End a line that was cut short, so that the next one begins its own."""
        try:
            if not self.path.read_bytes().endswith(b"\n"):
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write("\n")
        except OSError as error:
            raise output_error(self.path, error) from error


def _read(path: Path) -> list[Line]:
    """All whole lines of a file; none if there is no file, or only a beginning."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise output_error(path, error) from error
    lines: list[Line] = []
    for part in text.splitlines():
        try:
            line = json.loads(part)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)  # pyright: ignore[reportUnknownArgumentType] - JSON of our own
    if not lines and "\n" in text:
        raise _no_record(path)
    return lines


def _no_record(path: Path) -> InputError:
    return InputError(explain("a record of svd bench model", f"something else in {path}", "Give another --out."))
