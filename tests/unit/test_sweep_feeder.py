"""The feeder against a host that queues, runs, fails, forgets and is interfered with like a real one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from svd_core.errors import InputError, OutputError
from svd_core.sweep.feeder import AHEAD
from svd_core.sweep.host_api import Finished, HostGone
from svd_core.sweep.live import Sweep
from svd_core.sweep.manifest import Manifest
from svd_core.sweep.state import read_state
from tests.sweep_bench import Bench, save_clip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def records(sweep: Sweep) -> dict[str, str]:
    return {key: record.status for key, record in Manifest(sweep.path / "manifest.jsonl").latest().items()}


def test_every_cell_is_made_once_and_few_wait(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.run()
    assert sweep.standing == "finished" and not sweep.held
    assert sweep.index.counts == {"waiting": 0, "running": 0, "done": 4, "failed": 0}
    assert bench.host.most == AHEAD and len(bench.host.prompts) == 4
    assert [seconds for _, seconds in bench.measured] == [1.5] * 4
    assert set(records(sweep).values()) == {"done"}
    assert bench.told[-1] == ("one", None)
    cells = [bench.host.mark(name)["cell"] for name in bench.host.prompts]
    assert cells == [row.cell.key for row in sweep.index.rows], "not in the plan's order"


def test_each_prompt_tells_what_it_is(bench: Bench) -> None:
    bench.feeder.clients["one"] = "page"
    bench.feeder.tick()
    first, second = bench.host.prompts["p0"], bench.host.prompts["p1"]
    assert first[1]["client_id"] == "page"
    assert first[1]["svd_studio"]["values"] == {"image": "photos/a.png", "seed": 10}
    assert second[1]["extra_pnginfo"]["workflow"]["nodes"][0]["widgets_values"] == ["seed", 1]
    assert bench.host.mark("p0")["attempt"] != bench.host.mark("p1")["attempt"]


def test_one_that_fails_costs_no_other(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.begin()
    bench.host.end(Finished(status="failed", error="LoadImage: cannot identify image file", seconds=0.1))
    bench.run()
    assert sweep.index.counts == {"waiting": 0, "running": 0, "done": 3, "failed": 1}
    (failed,) = [row for row in sweep.index.rows if row.status == "failed"]
    assert failed.record and failed.record.error == "LoadImage: cannot identify image file"
    sweep.retry()
    bench.open(sweep.path)
    assert Sweep(sweep.path).index.counts["failed"] == 1, "forgiven on disk only once it is wanted"


def test_retry_takes_what_failed_and_outlives_the_server(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.begin()
    bench.host.end(Finished(status="failed", error="once"))
    bench.run()
    assert len(sweep.retry()) == 1
    sweep.wants("running")
    # Killed and started again before the cell was tried.
    bench.feeder.sweeps.clear()
    again = bench.open(sweep.path)
    assert again.index.counts["waiting"] == 1
    bench.run()
    assert again.index.counts["done"] == 4 and len(bench.host.prompts) == 5


def test_a_prompt_the_host_refuses_is_a_failed_cell(tmp_path: Path) -> None:
    bench = Bench(tmp_path, text="1, 99")
    bench.run()
    assert bench.sweeps[0].index.counts == {"waiting": 0, "running": 0, "done": 2, "failed": 2}


def test_a_graph_that_saves_nothing_fails_with_a_sentence(bench: Bench) -> None:
    bench.feeder.tick()
    bench.host.begin()
    bench.host.end(save=False)
    bench.feeder.tick()
    row = bench.sweeps[0].index.rows[0]
    assert row.status == "failed" and row.record and "clip from Save Clip" in str(row.record.error)


def test_pause_takes_back_what_waits_and_lets_run_what_runs(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.begin()
    bench.feeder.tick()
    assert sweep.index.counts["running"] == 1
    sweep.wants("paused")
    bench.feeder.tick()
    bench.feeder.tick()
    assert bench.host.waiting == [] and bench.host.running == "p0"
    assert sweep.index.counts == {"waiting": 3, "running": 1, "done": 0, "failed": 0}
    bench.host.end()
    bench.run()
    assert sweep.standing == "paused" and not sweep.held and sweep.state.note is None
    assert sweep.index.counts["done"] == 1
    sweep.take()
    sweep.wants("running")
    bench.feeder.add(sweep)
    bench.run()
    assert sweep.index.counts["done"] == 4 and len(records(sweep)) == 4


def test_cancelling_the_rest_keeps_what_is_done(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.step()
    bench.feeder.tick()
    sweep.wants("cancelled")
    bench.run()
    assert sweep.standing == "cancelled" and sweep.index.counts["done"] == 1
    assert read_state(sweep.path).wish == "cancelled"


@pytest.mark.parametrize("all_of_them", [True, False])
def test_clearing_the_queue_pauses(bench: Bench, all_of_them: bool) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.waiting = [] if all_of_them else bench.host.waiting[:-1]
    bench.run()
    assert sweep.standing == "paused" and "taken out" in str(sweep.state.note)
    assert sweep.index.counts == {"waiting": 4, "running": 0, "done": 0, "failed": 0}
    assert bench.host.waiting == []


def test_interrupting_fails_the_cell_and_pauses(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.begin()
    bench.host.end(Finished(status="failed", error="It was interrupted on the host.", interrupted=True))
    bench.run()
    assert sweep.standing == "paused" and "interrupted" in str(sweep.state.note)
    assert sweep.index.counts == {"waiting": 3, "running": 0, "done": 0, "failed": 1}


def test_a_cleared_history_is_no_loss(bench: Bench) -> None:
    bench.feeder.tick()
    bench.host.step()
    bench.host.ended.clear()
    bench.run()
    assert bench.sweeps[0].index.counts["done"] == 4 and len(bench.host.prompts) == 4


def test_a_host_that_does_not_answer_is_asked_again(bench: Bench) -> None:
    bench.host.gone = True
    with pytest.raises(HostGone):
        bench.feeder.tick()
    bench.host.gone = False
    bench.run()
    assert bench.sweeps[0].index.counts["done"] == 4


def test_sweeps_come_one_after_the_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path, names=("one", "two"))
    bench.run()
    assert [bench.host.mark(name)["sweep"] for name in bench.host.prompts] == ["one"] * 4 + ["two"] * 4
    assert bench.host.most == AHEAD


def test_a_full_disk_pauses_and_blames_no_cell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.step()
    # Both have ended when the feeder looks: the good one must not take the reason with it.
    row = sweep.index.by_key[bench.host.mark(bench.host.begin())["cell"]]
    row.blocked = "Expected room on the disk; found a full disk. Free some space."
    bench.host.end(Finished(status="failed", error="SVDStudioSaveClip: full"))
    bench.run()
    assert (
        sweep.standing == "paused"
        and sweep.state.note == "Expected room on the disk; found a full disk. Free some space."
    )
    assert sweep.index.counts == {"waiting": 3, "running": 0, "done": 1, "failed": 0} and len(records(sweep)) == 1


def test_a_record_that_cannot_be_written_pauses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (sweep,) = bench.sweeps

    def full(*_: object) -> None:
        raise OutputError("full")

    bench.feeder.tick()
    bench.host.begin()
    bench.host.end(Finished(status="failed", error="some reason"))
    monkeypatch.setattr(sweep, "failed", full)
    bench.run()
    assert sweep.standing == "paused" and sweep.state.note == "full" and sweep.index.counts["waiting"] == 4


def test_failures_without_end_pause(tmp_path: Path) -> None:
    bench = Bench(tmp_path, seeds=15)
    for _ in range(40):
        if not bench.feeder.tick():
            break
        if bench.host.waiting:
            bench.host.begin()
            bench.host.end(Finished(status="failed", error="no such file"))
    sweep = bench.sweeps[0]
    assert sweep.standing == "paused" and "20 clips failed" in str(sweep.state.note)
    assert sweep.index.counts["failed"] <= 20 + AHEAD


def test_a_killed_server_loses_nothing(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.step()
    bench.feeder.tick()
    # The clip is whole, its line is not: killed in between.
    bench.host.begin()
    row = sweep.index.rows[1]
    whole = save_clip(sweep, row)
    lines = (sweep.path / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (sweep.path / "manifest.jsonl").write_bytes(lines[0] + lines[1][:30])
    before = {path: (path.stat().st_mtime_ns, digest(path)) for path in (sweep.path / "cells").glob("*.gif")}
    sweep.release()

    fresh = Sweep(sweep.path)
    assert fresh.standing == "stopped", "a server that starts renders nothing by itself"
    bench.host.__init__()
    bench.feeder.sent.clear()
    bench.feeder.sweeps.clear()
    again = bench.open(sweep.path)
    assert again.index.counts["done"] == 2 and again.index.rows[1].record is not None
    bench.run()
    assert again.index.counts["done"] == 4 and len(bench.host.prompts) == 2
    after = {path: (path.stat().st_mtime_ns, digest(path)) for path in before}
    assert after == before and whole in after
    assert len(records(again)) == 4


def test_two_servers_on_one_folder(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    with pytest.raises(InputError, match="no other sweep"):
        Sweep(sweep.path).take()
    other = Sweep(sweep.path)
    bench.run()
    assert other.index.refresh() and other.index.counts["done"] == 4, "the other one sees what was made"
    other.take()
    other.release()


def test_a_clip_that_was_deleted_is_made_again(bench: Bench) -> None:
    (sweep,) = bench.sweeps
    bench.run()
    clip = sweep.clip(sweep.index.rows[2])
    assert clip is not None
    clip.unlink()
    again = bench.open(sweep.path)
    assert again.index.counts["waiting"] == 1
    bench.run()
    assert clip.exists() and len(bench.host.prompts) == 5


def test_the_record_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, seeds=20)
    (sweep,) = bench.sweeps
    read: list[int] = []
    take = sweep.index._take  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(sweep.index, "_take", lambda *given: (read.append(1), take(*given)))
    bench.run()
    assert sweep.index.counts["done"] == 40 and len(read) == 40


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
