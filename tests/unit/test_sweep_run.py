"""Running a plan: the record on disk, resuming, crashes at any moment, bad cells, full disks, two at once."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from svd_core.errors import InputError, OutputError, SvdError
from svd_core.sweep.cells import cells_of
from svd_core.sweep.folder import SweepFolder, open_folder
from svd_core.sweep.hash_store import file_hash
from svd_core.sweep.jobs import Job, Outcome
from svd_core.sweep.local import LocalExecutor
from svd_core.sweep.manifest import Manifest, Record
from svd_core.sweep.plan import Plan, load_plan, parse_plan
from svd_core.sweep.run import run_plan
from tests import sweep_workers

ROOT = Path(__file__).resolve().parents[2]


class InPlace:
    """An executor in this process."""

    def __init__(self, device: str = "cpu") -> None:
        self.seen: list[str] = []
        self._render = sweep_workers.make_render(device)

    def run(self, jobs: Any) -> Iterator[Outcome]:
        for job in jobs:
            self.seen.append(job.cell.key)
            try:
                yield self._render(job)
            except SvdError as error:
                yield Outcome(job=job, seconds=0.0, error=str(error))


def plan(count: int = 4, images: tuple[str, ...] = ("a.png",), **settings: Any) -> Plan:
    return parse_plan(
        {
            "version": 1,
            "name": "test",
            "template": {"kind": "animate", "settings": {"format": "gif", **settings}},
            "axes": [{"name": "image", "values": list(images)}, {"name": "seed", "count": count}],
        },
        Path(),
    )


def states(folder: Path) -> dict[str, tuple[str, float]]:
    clips = sorted((folder / "cells").glob("*.gif"))
    return {clip.name: (file_hash(clip), clip.stat().st_mtime_ns) for clip in clips}


def test_a_run_and_what_lies_there(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    progress = run_plan(plan(3), tmp_path / "out", InPlace(), on_record=lambda p, r: told.append((p.left, r.status)))
    assert (progress.made, progress.kept, progress.failed) == (3, 0, 0)
    assert told == [(2, "done"), (1, "done"), (0, "done")]
    records = list(Manifest(tmp_path / "out/manifest.jsonl").records())
    assert [record.index for record in records] == [0, 1, 2]
    for record in records:
        clip = tmp_path / "out" / str(record.file)
        assert file_hash(clip) == record.sha256
        beside = json.loads(clip.with_suffix(".json").read_text())
        assert beside["values"] == record.values and beside["settings"] == {"device": "cpu"}
    assert load_plan(tmp_path / "out/plan.json").rows() == plan(3).rows()


def test_resuming_makes_what_is_missing_and_touches_nothing_else(tmp_path: Path) -> None:
    run_plan(plan(3), tmp_path, InPlace(), resume=True)
    before = states(tmp_path)
    (tmp_path / "cells/a_seed1.gif").unlink()
    again = InPlace()
    progress = run_plan(plan(5), tmp_path, again, resume=True)
    assert (progress.made, progress.kept) == (3, 2)
    after = states(tmp_path)
    assert {name: after[name] for name in before if "seed1" not in name} == {
        name: state for name, state in before.items() if "seed1" not in name
    }
    assert (tmp_path / "plan-1.json").is_file()


def test_an_edited_plan_overwrites_no_clip(tmp_path: Path) -> None:
    run_plan(plan(2, steps=2), tmp_path, InPlace(), resume=True)
    before = states(tmp_path)
    run_plan(plan(2, steps=3), tmp_path, InPlace(), resume=True)
    after = states(tmp_path)
    assert len(after) == 4 and before.items() <= after.items()


def test_a_used_folder_is_refused_without_resume(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="--resume"):
        run_plan(plan(), tmp_path, InPlace())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError):
        run_plan(plan(), tmp_path / "file", InPlace())


def test_two_sweeps_cannot_share_a_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path / "out", resume=False), pytest.raises(InputError, match="at work"):
        run_plan(plan(), tmp_path / "out", InPlace(), resume=True)
    run_plan(plan(), tmp_path / "out", InPlace(), resume=True)


def test_one_bad_picture_costs_one_cell(tmp_path: Path) -> None:
    images = (*(f"{n}.png" for n in range(5)), "corrupt.png")
    progress = run_plan(plan(1, images), tmp_path, InPlace(), resume=True)
    assert (progress.made, progress.failed) == (5, 1)
    assert set(states(tmp_path)) == {f"{n}.gif" for n in range(5)}
    failed = [record for record in Manifest(tmp_path / "manifest.jsonl").records() if record.status == "failed"]
    assert failed[0].values["image"] == "corrupt.png" and "Expected a picture" in str(failed[0].error)
    retried = InPlace()
    run_plan(plan(1, images), tmp_path, retried, resume=True)
    assert len(retried.seen) == 1


def test_clips_a_crash_left_unrecorded_are_taken_up(tmp_path: Path) -> None:
    run_plan(plan(3), tmp_path, InPlace(), resume=True)
    before = states(tmp_path)
    lines = (tmp_path / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "manifest.jsonl").write_bytes(lines[0] + lines[1][:40])
    (tmp_path / "cells/a_seed2.json").unlink()
    again = InPlace()
    progress = run_plan(plan(3), tmp_path, again, resume=True)
    assert progress.kept == 3 and again.seen == [] and states(tmp_path) == before
    latest = Manifest(tmp_path / "manifest.jsonl").latest()
    assert set(latest) == {cell.key for cell in cells_of(plan(3))}
    assert (tmp_path / "cells/a_seed2.json").is_file()


ODD = (b'"track": [1]', b'"track": "x"', b'"seconds": "x"', b'"file": 5', b'"error": ["x"]')


def test_manifest_survives_rubbish_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest(tmp_path / "manifest.jsonl")
    assert list(manifest.records()) == []
    record = Record(cell="k", index=0, status="done", values={"seed": 1})
    odd = b"".join(b'{"cell": "k", "index": 0, "status": "done", "values": {}, %s}\n' % more for more in ODD)
    manifest.path.write_bytes(b'\xff\n[]\n{"cell": 3}\n' + b"[" * 100_000 + b"\n" + odd + b'{"cell": "half')
    manifest.append(record)
    assert list(manifest.records()) == [record]
    before = manifest.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="full disk"):
        manifest.append(record)
    assert manifest.path.read_bytes() == before


def test_the_last_word_counts_whatever_the_clock_says(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.jsonl")
    for status in ("failed", "done"):
        manifest.append(Record(cell="k", index=0, status=status, values={}))
    assert manifest.latest()["k"].status == "done"


# worker processes


def test_workers_share_the_work(tmp_path: Path) -> None:
    progress = run_plan(plan(6, wait=0.2), tmp_path, LocalExecutor(["x", "y"], sweep_workers.make_render), resume=True)
    assert progress.made == 6
    sidecars = [json.loads(path.read_text()) for path in (tmp_path / "cells").glob("*.json")]
    assert {sidecar["settings"]["device"] for sidecar in sidecars} == {"x", "y"}


def test_a_worker_that_dies_is_replaced_and_its_cell_made(tmp_path: Path) -> None:
    fuse = tmp_path / "fuse"
    executor = LocalExecutor(["cpu"], sweep_workers.make_render)
    first = run_plan(plan(1), tmp_path / "out", executor)
    assert first.made == 1
    fuse.write_bytes(b"")
    progress = run_plan(
        plan(3, crash=str(fuse)), tmp_path / "two", LocalExecutor(["a", "b"], sweep_workers.make_render)
    )
    assert progress.made == 3 and not fuse.exists()


def test_a_cell_that_always_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    progress = run_plan(
        plan(3, always_crash=2), tmp_path, LocalExecutor(["cpu"], sweep_workers.make_render), resume=True
    )
    assert (progress.made, progress.failed) == (2, 1)
    failed = [record for record in Manifest(tmp_path / "manifest.jsonl").records() if record.status == "failed"]
    assert "code 9" in str(failed[0].error)


def test_workers_that_cannot_start_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(SvdError, match="code 3"):
        run_plan(plan(2), tmp_path, LocalExecutor(["cpu"], sweep_workers.broken), resume=True)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX word")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Four kills; the full twenty are `tests/bench/test_sweep_kills.py`."""
    kill_and_resume(tmp_path, kills=4, seed=0)


def kill_and_resume(folder: Path, kills: int, seed: int) -> None:
    """Start, kill -9 within the run, again and again; then finish and look at everything."""
    wanted = plan(12, wait=0.05)
    (folder / "plan.json").write_text(json.dumps(wanted.document()))
    out, chance = folder / "out", random.Random(seed)
    seen: dict[str, tuple[str, float]] = {}
    for _ in range(kills):
        process = _start(folder)
        assert process.stdout is not None
        # At least one cell further each time, so that the test ends; then any moment of the next.
        if process.stdout.readline().startswith("finished"):
            process.wait()
            break
        time.sleep(chance.uniform(0, 0.12))
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = states(out) if out.exists() else {}
        assert seen.items() <= now.items(), "a finished clip was touched"
        seen = now
    finished = _start(folder)
    output = finished.communicate(timeout=120)[0]
    assert finished.returncode == 0 and "finished" in output
    final = states(out)
    assert len(final) == 12 and seen.items() <= final.items()
    done = [record.cell for record in Manifest(out / "manifest.jsonl").records() if record.status == "done"]
    assert sorted(done) == sorted({cell.key for cell in cells_of(wanted)}), "a cell twice, or missing"
    assert not [path.name for path in (out / "cells").iterdir() if path.suffix == ".part"]


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.sweep_workers", str(folder / "plan.json"), str(folder / "out")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_the_target_of_a_job_is_never_another_cells_clip(tmp_path: Path) -> None:
    with open_folder(tmp_path / "out", resume=False) as folder:
        cell = cells_of(plan(1))[0]
        job = Job(cell=cell, settings={}, folder=Path(), target=folder.target(cell, ".gif"))
        sweep_workers.make_render("cpu")(job)
        assert folder.target(cell, ".gif") == job.target
        other = cells_of(plan(1, steps=9))[0]
        assert folder.target(other, ".gif") != job.target
        assert isinstance(folder, SweepFolder)
