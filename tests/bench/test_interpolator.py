"""The interpolator of the embedded model beside the cross-fade and the flow engine, by how much moves.

Run as `python -m tests.bench.test_interpolator --record runs.jsonl --clips 100`, or with `pytest -m slow`. Seeds are
random and printed. What has been measured stands in the record; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from svd_core.training.interpolator_clips import SPEEDS, held_out
from svd_core.training.interpolator_trials import Row, clip_size, errors_of, row_of
from svd_core.weights.build import EMBEDDED, load_model
from svd_core.weights.video_engine import EMBEDDED_INTERPOLATOR, VideoBetween, check_base
from svd_core.weights.video_interpolators import load_interpolator_network

PART = 10
LEAST_GAIN = 1.0


@dataclass
class Record:
    """One JSON line a class and part of `PART` clips: the errors of every clip."""

    path: Path | None
    seed: int
    parts: dict[str, dict[int, dict[str, list[float]]]] = field(default_factory=lambda: defaultdict(dict))

    @staticmethod
    def opened(path: Path, seed: int | None) -> Record:
        """A new record, or the one in the file."""
        if not path.is_file():
            record = Record(path, secrets.randbelow(2**31) if seed is None else seed)
            record._write({"seed": record.seed})
            return record
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        record = Record(path, lines[0]["seed"])
        for line in lines[1:]:
            record.parts[line["speed"]][line["part"]] = line["errors"]
        return record

    def add(self, speed: str, part: int, errors: dict[str, list[float]]) -> None:
        self.parts[speed][part] = errors
        self._write({"speed": speed, "part": part, "errors": errors})

    def row(self, speed: str) -> Row:
        found = self.parts[speed].values()
        names = next(iter(found))
        return row_of(speed, {name: torch.tensor([e for part in found for e in part[name]]) for name in names})

    def _write(self, line: dict) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def measure(record: Record, between: VideoBetween, clips: int) -> None:
    """Part by part through all classes; a part has its own seed, so that it can be measured alone."""
    for part in range(-(-clips // PART)):
        for speed in SPEEDS:
            if part not in record.parts[speed]:
                worlds = held_out(record.seed + part, PART, speed, clip_size(between))
                errors = errors_of(between, worlds)
                record.add(speed, part, {name: values.tolist() for name, values in errors.items()})


def table(record: Record) -> str:
    """Decibels of averaged errors, in Markdown."""
    lines = [
        "| clips, flow px a frame | fade, decoded | network, decoded | gain | clips won | worst clip "
        "| fade, pixels | engine, pixels | flow engine, pixels |",
        "|---" * 9 + "|",
    ]
    for speed, (low, high) in SPEEDS.items():
        row = record.row(speed)
        lines.append(
            f"| {row.clips} {speed}, {low:g} to {high:g} | {row.decoded_blend:.2f} | {row.decoded:.2f} "
            f"| {row.gain:+.2f} | {row.won:.0%} | {-row.worst:+.2f} | {row.pixels_blend:.2f} | {row.pixels_engine:.2f} "
            f"| {row.pixels_flow:.2f} |"
        )
    return "\n".join(lines)


def shipped(path: Path = EMBEDDED_INTERPOLATOR) -> VideoBetween:
    """The interpolator of a file with the embedded model under it."""
    stored, base = load_interpolator_network(path), load_model(EMBEDDED, dtype=torch.float32)
    check_base(stored, base, path)
    return VideoBetween(network=stored.model, base=base)


@pytest.mark.slow
@pytest.mark.skipif(not EMBEDDED_INTERPOLATOR.is_file(), reason="no interpolator is shipped")
def test_better_than_the_fade_where_it_moves_and_nowhere_worse() -> None:
    torch.set_num_threads(1)
    record = Record(None, secrets.randbelow(2**31))
    measure(record, shipped(), 50)
    text = f"seed {record.seed}\n{table(record)}"
    print(text)
    assert record.row("fast").gain >= LEAST_GAIN, text
    for speed in SPEEDS:
        assert record.row(speed).gain >= 0, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, required=True, help="JSON lines; continued where they end")
    parser.add_argument("--clips", type=int, default=100, help=f"a class, in parts of {PART}")
    parser.add_argument(
        "--file", type=Path, default=EMBEDDED_INTERPOLATOR, help="an interpolator of the embedded model"
    )
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record = Record.opened(options.record, options.seed)
    sys.stdout.write(f"seed {record.seed}\n")
    measure(record, shipped(options.file), options.clips)
    sys.stdout.write(table(record) + "\n")


if __name__ == "__main__":
    main()
