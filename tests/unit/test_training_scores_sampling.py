"""Sampling for the bench: to the same lines through a stop, of the asked seed and sets, with sheets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from svd_core.errors import InputError
from svd_core.training import evaluation, scores_sets
from svd_core.training.scores_measures import camera_measures
from svd_core.training.scores_record import Record
from svd_core.training.scores_rows import clips_of, filled
from svd_core.training.scores_sampling import PICTURE, Sampling, Shot, bucket_shots, camera_shots, take
from svd_core.training.scores_sets import scene
from svd_core.training.worlds import WorldSize
from svd_core.weights.build import SvdModel
from tests.models import SMALL, random_model
from tests.scored import USUAL, lora


def model() -> SvdModel:
    return random_model(SMALL)  # type: ignore[return-value]


def say_nothing(done: int, total: int) -> None:
    assert 0 < done <= total


def plan(clips: int, shots: list[Shot] | None = None, **more: object) -> Sampling:
    chosen = bucket_shots(SMALL.sampling)[:2] if shots is None else shots
    return Sampling(sets=("worlds",), clips=clips, shots=chosen, **more)  # type: ignore[arg-type]


def test_a_stopped_run_goes_on_to_the_same_lines(tmp_path: Path) -> None:
    whole = Record.opened(tmp_path / "whole.jsonl", "m", 5, lambda: 0)
    take(model(), plan(10), whole, say_nothing)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "parts.jsonl"
    with pytest.raises(KeyboardInterrupt):
        take(model(), plan(3), Record.opened(path, "m", 5, lambda: 0), stop)
    grown = Record.opened(path, "m", None, lambda: 0)
    assert grown.lines, "a finished batch must be on the disk"
    take(model(), plan(10), grown, say_nothing)
    first, second = (
        {(line["clip"], line["name"]): line for line in Record.opened(file, "m", None, lambda: 0).lines}
        for file in (whole.path, path)
    )
    assert len(grown.lines) == len(second) == 10 * 3, "no clip may be read twice"
    assert first.keys() == second.keys()
    for key, line in first.items():
        assert flat(second[key]) == pytest.approx(flat(line), rel=1e-2, abs=1e-4), key


def flat(line: dict[str, object]) -> list[float]:
    return [value for value in line.values() if isinstance(value, float)]


def test_the_seed_reaches_worlds_and_noise(tmp_path: Path) -> None:
    def lines(seed: int, name: str) -> list[dict[str, object]]:
        record = Record.opened(tmp_path / name, "m", seed, lambda: 0)
        take(model(), plan(2), record, say_nothing)
        return [dict(line) for line in record.lines]

    one, again, other = lines(1, "a"), lines(1, "b"), lines(2, "c")
    assert one == again
    for before, after in zip(one, other, strict=True):
        assert before["name"] == after["name"]
        assert before["name"] not in (PICTURE, USUAL) or flat(before) != flat(after)
    made: list[list[int]] = []
    original = evaluation.generate
    try:
        evaluation.generate = lambda m, r, s: (made.append(list(r.seeds)), original(m, r, s))[1]
        lines(1, "d")
        lines(2, "e")
    finally:
        evaluation.generate = original
    assert made[0] == made[1] and made[2] == made[3], "all buckets of a clip share its noise"
    assert not set(made[0]) & set(made[2])


def test_the_sets_are_different_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = torch.rand((3, 90, 120), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(scores_sets, "_photographs", lambda side: (photo,))
    pictures = [scene(name, 1, 0, WorldSize(frames=2)).pixels[0] for name in scores_sets.available(64)]
    assert len(pictures) == 3
    for index, one in enumerate(pictures):
        assert all(not torch.equal(one, other) for other in pictures[index + 1 :])


def test_without_photographs_there_are_the_drawn_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(side: int) -> None:
        raise InputError("none")

    monkeypatch.setattr(scores_sets, "_photographs", none)
    assert scores_sets.available(64) == ["worlds", "kinds"]


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(InputError, match="worlds"):
        scene("nowhere", 1, 0, WorldSize(frames=2))


def test_a_lora_is_tried_on_the_same_clips_and_another_training_of_it_again(tmp_path: Path) -> None:
    record = Record.opened(tmp_path / "r.jsonl", "m", 5, lambda: 0)
    plain = [shot for shot in bucket_shots(SMALL.sampling) if shot.full]
    for one in (lora(0), lora(1)):
        take(model(), plan(2, [*plain, *camera_shots([one], SMALL.sampling)]), record, say_nothing)
    names = [line["name"] for line in record.lines]
    assert names.count(USUAL) == 2
    assert len(set(names)) == 2 + 4
    measures = camera_measures(lora(1), SMALL.sampling)
    rows = [filled(measure, clips_of(record.lines), ("worlds",)) for measure in measures]
    assert [row.clips for row in rows] == [2, 2, 2]


def test_sheets_show_the_input_and_seven_frames(tmp_path: Path) -> None:
    record = Record.opened(tmp_path / "r.jsonl", "m", 5, lambda: 0)
    take(model(), plan(2), record, say_nothing)
    count = len(record.lines)
    take(model(), plan(2, sheets=tmp_path / "sheets"), record, say_nothing)
    assert len(record.lines) == count, "a sheet is drawn later without measuring again"
    sizes = {path.name: Image.open(path).size for path in (tmp_path / "sheets").iterdir()}
    assert sizes == {f"bucket-{n}-worlds.png": (8 * 34 * 2, 2 * 26 * 2) for n in (1, 80)}
