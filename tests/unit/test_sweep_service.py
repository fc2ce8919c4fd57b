"""All sweeps of a server, with a host that renders in no time: started, told about, stopped, and hindered."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from svd_core.errors import InputError
from svd_core.sweep import manifest as manifest_module
from svd_core.sweep.graph import GraphError
from svd_core.sweep.hash_store import file_hash
from svd_core.sweep.identity import folder_name
from svd_core.sweep.manifest import Manifest, Record
from tests.sweep_graphs import two_by
from tests.sweep_server import Server, wait


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("svd_core.sweep.service._PAUSE", 0.01)
    yield Server(tmp_path / "svd_sweeps")


def test_from_the_button_to_the_last_number(server: Server) -> None:
    told = server.sweeps.estimate(two_by(2), "3")
    assert (told["cells"], told["exists"], told["resumable"]) == (4, False, False)
    assert server.start()["total"] == 4
    told = server.until("sweep", "finished")
    assert told["counts"] == {"waiting": 0, "running": 0, "done": 4, "failed": 0}
    assert {"motion", "flicker", "colour_drift", "sharpness"} <= set(told["metrics"])
    page = server.sweeps.cells("sweep", 1, 2, "index", "")
    assert page["total"] == 4 and [row["index"] for row in page["cells"]] == [1, 2]
    row = page["cells"][0]
    assert row["values"] == {"image": "a", "seed": "11"} and row["seconds"] == 0.25
    assert server.sweeps.clip("sweep", row["cell"]).name == "a_seed11.gif"
    thumbnail = server.sweeps.thumbnail("sweep", row["cell"])
    assert thumbnail.read_bytes()[8:12] == b"WEBP"
    assert server.sweeps.file("sweep", "a_seed11.gif") == server.sweeps.clip("sweep", row["cell"])
    with pytest.raises(InputError, match="a clip of sweep"):
        server.sweeps.file("sweep", "a_seed12.gif")
    told = server.sweeps.estimate(two_by(2), "3")
    assert told["resumable"] and told["done"] == 4
    states = [event["state"] for event in server.events]
    assert states[0] == "running" and states[-1] == "finished"
    statuses = [event["cell"]["status"] for event in server.events if event["cell"] and event["cell"]["index"] == 0]
    assert statuses[0] == "waiting" and statuses[-1] == "done"


def test_orders(server: Server) -> None:
    server.start()
    server.until("sweep", "finished")
    rows = server.sweeps.cells("sweep", 0, 10, "-motion", "done")["cells"]
    motions = [row["metrics"]["motion"] for row in rows]
    assert motions == sorted(motions, reverse=True)
    key = rows[-1]["cell"]
    assert server.sweeps.star("sweep", key, True) == [key]
    assert server.sweeps.cells("sweep", 0, 1, "starred", "")["cells"][0]["cell"] == key
    assert Server(server.root).sweeps.detail("sweep")["stars"] == [key], "stars are on disk"
    assert server.sweeps.star("sweep", key, False) == []
    with pytest.raises(InputError, match="sort"):
        server.sweeps.cells("sweep", 0, 10, "beauty", "")
    with pytest.raises(InputError, match="status"):
        server.sweeps.cells("sweep", 0, 10, "index", "gone")


def test_a_camera_axis_is_measured_against_what_was_asked(server: Server) -> None:
    prompt = two_by(1)
    prompt["1"]["inputs"] |= {"name": "camera", "kind": "camera", "values": "pan_left:12\nstatic"}
    prompt["4"]["inputs"]["axis"] = "camera"
    prompt["6"]["inputs"] = {"camera": ["4", 4], "width": 64}
    prompt["8"]["inputs"]["notes"] = ""
    server.sweeps.start(prompt, {}, "3", None)
    server.until("sweep", "finished")
    errors = {
        row["values"]["camera"]: row["metrics"]["camera_error"]
        for row in server.sweeps.cells("sweep", 0, 9, "", "")["cells"]
    }
    # The clip stands still: held as asked, and 12 % a second at 8 frames a second short of the pan.
    assert errors["static"] < 0.3 < errors["pan_left:12"]
    assert errors["pan_left:12"] == pytest.approx(12 / 8, rel=0.35)


def test_a_plan_that_was_edited_touches_nothing(server: Server) -> None:
    server.start(2)
    server.until("sweep", "finished")
    before = {path: path.read_bytes() for path in (server.root / "sweep").rglob("*") if path.is_file()}
    with pytest.raises(GraphError, match=r"another \(axes\).*another name") as error:
        server.start(3)
    assert error.value.node == "3"
    assert {path: path.read_bytes() for path in (server.root / "sweep").rglob("*") if path.is_file()} == before
    assert server.start(2)["counts"]["done"] == 4, "the same plan goes on"
    server.until("sweep", "finished")
    assert server.host.queued == 4


def test_two_names_of_one_folder(server: Server) -> None:
    server.start(1, name="a:b")
    with pytest.raises(GraphError, match=r"another \(name\)"):
        server.start(1, name="a_b")


def test_a_clip_that_goes_while_it_is_measured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = threading.Event()

    def gone(clip: Path, asked: object) -> dict[str, float]:
        measured.set()
        return {"motion": 1.0}

    def hash_while_there(path: Path) -> str:
        if measured.is_set():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return file_hash(path)

    # Both are taken back together: a measurement still under way must find nothing left to change.
    with monkeypatch.context() as patched:
        patched.setattr("svd_core.sweep.measured.measure_clip", gone)
        patched.setattr("svd_core.sweep.folder.file_hash", hash_while_there)
        server.start(1)
        server.until("sweep", "paused", "finished")
    server.sweeps.act("sweep", "resume", None)
    assert server.until("sweep", "finished")["counts"]["done"] == 2


def test_a_folder_of_something_else_is_left_alone(server: Server) -> None:
    (server.root / "sweep").mkdir(parents=True)
    (server.root / "sweep" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="another name"):
        server.start()
    assert server.sweeps.listed() == []


def test_a_folder_deleted_while_it_is_worked_in_stays_deleted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # All of them run, so that they come to save their clips.
    monkeypatch.setattr(server.host, "placed", lambda: (set(server.host.waiting), set[str]()))
    server.host.hold.clear()
    server.start(3)
    wait(lambda: len(server.host.waiting) == 3)
    shutil.rmtree(server.root / "sweep")
    with pytest.raises(InputError, match="deleted while it was worked in"):
        server.start(3)
    server.host.hold.set()
    wait(lambda: not server.busy("sweep"))
    assert not (server.root / "sweep").exists() and not server.host.waiting
    server.start(3)
    assert server.until("sweep", "finished")["counts"]["done"] == 6


def test_two_servers_one_folder(server: Server) -> None:
    server.host.hold.clear()
    server.start()
    other = Server(server.root)
    with pytest.raises(InputError, match="no other sweep"):
        other.start()
    with pytest.raises(InputError, match="no other sweep"):
        other.sweeps.act("sweep", "resume", None)
    server.host.hold.set()
    server.until("sweep", "finished")
    assert other.sweeps.detail("sweep")["counts"]["done"] == 4
    assert {record.status for record in Manifest(server.root / "sweep" / "manifest.jsonl").records()} == {"done"}


def test_a_full_disk(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(manifest_module.os, "fsync", full)
    server.start()
    told = server.until("sweep", "paused")
    assert "full disk" in told["note"] and told["counts"]["failed"] == 0
    assert told["counts"]["waiting"] == 4
    monkeypatch.undo()
    monkeypatch.setattr("svd_core.sweep.service._PAUSE", 0.01)
    server.sweeps.act("sweep", "resume", None)
    assert server.until("sweep", "finished")["counts"]["done"] == 4
    names = sorted(path.name for path in (server.root / "sweep" / "cells").glob("*.gif"))
    assert names == ["a_seed10.gif", "a_seed11.gif", "b_seed10.gif", "b_seed11.gif"], "a clip was made twice"


def test_whatever_stumbles_the_artist_hears_of_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure nobody thought of must leave no sweep that says it runs and does not."""

    def broken(*_: object) -> tuple[set[str], set[str]]:
        raise KeyError("a host that answers otherwise")

    server.host.hold.clear()
    monkeypatch.setattr(server.host, "placed", broken)
    server.start()
    deadline = time.monotonic() + 60
    while (told := server.sweeps.detail("sweep"))["state"] != "paused":
        assert time.monotonic() < deadline, told
        time.sleep(0.01)
    assert "a host that answers otherwise" in told["note"]
    monkeypatch.undo()
    monkeypatch.setattr("svd_core.sweep.service._PAUSE", 0.01)
    server.host.hold.set()
    server.sweeps.act("sweep", "resume", None)
    assert server.until("sweep", "finished")["counts"]["done"] == 4


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(server: Server) -> None:
    server.root.mkdir()
    server.root.chmod(0o500)
    with pytest.raises(InputError, match="can be written"):
        server.start()


def test_a_place_that_is_none(server: Server, tmp_path: Path) -> None:
    server.root.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(InputError, match="Expected a"):
        server.start()
    assert server.sweeps.listed() == []


def test_a_clock_that_goes_backwards(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    server.start()
    assert server.until("sweep", "finished")["counts"]["done"] == 4


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Ü 東京 🎬", "Ü 東京 🎬"),
        ("a/b\\c:d", "a_b_c_d"),
        ("..", "_"),
        ("CON", "CON_"),
        ("con.txt", "con.txt_"),
        ("", "sweep"),
    ],
)
def test_names(server: Server, name: str, folder: str) -> None:
    server.start(1, name=name)
    assert server.until(folder, "finished")["counts"]["done"] == 2
    assert (server.root / folder / "manifest.jsonl").is_file()


def test_long_names() -> None:
    assert len(folder_name("東" * 200).encode()) <= 120 and folder_name("x" * 300) == "x" * 80


@pytest.mark.parametrize("name", ["..", "../sweep", "/etc", "sweep/../sweep", "sweep/cells", ".", ""])
def test_no_name_leads_out(server: Server, name: str) -> None:
    server.start()
    server.until("sweep", "finished")
    with pytest.raises(InputError, match="a sweep that is there"):
        server.sweeps.path(name)
    with pytest.raises(InputError, match="a cell of sweep"):
        server.sweeps.clip("sweep", f"../{name}")
    forged = Record(
        cell=server.sweeps.cells("sweep", 0, 1, "", "")["cells"][0]["cell"],
        index=0,
        status="done",
        values={},
        file="../../secret",
    )
    Manifest(server.root / "sweep" / "manifest.jsonl").append(forged)
    (server.root.parent / "secret").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="a finished clip"):
        server.sweeps.clip("sweep", forged.cell)


def test_a_damaged_sweep_hides_no_other(server: Server) -> None:
    server.start()
    server.until("sweep", "finished")
    (server.root / "broken").mkdir()
    (server.root / "broken" / "plan.json").write_text("{", encoding="utf-8")
    assert [one["id"] for one in server.sweeps.listed()] == ["sweep"]


def test_many_sweeps_are_told_of_without_reading_them_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"sweep {number}" for number in range(11)]
    for name in names:
        server.start(1, name=name)
        server.until(name, "finished")
    fresh = Server(server.root)
    assert {one["id"] for one in fresh.sweeps.listed()} == set(names)
    monkeypatch.setattr("svd_core.sweep.service.Sweep", lambda path, _: pytest.fail(f"read {path} again"))
    assert {one["counts"]["done"] for one in fresh.sweeps.listed()} == {2}
    assert len(fresh.sweeps._open) <= 8  # pyright: ignore[reportPrivateUsage]


def test_an_exchanged_picture_makes_another_cell(server: Server) -> None:
    folder = server.root / "photos"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"first")
    server.start()
    server.until("sweep", "finished")
    before = {path.name: path.stat().st_mtime_ns for path in (server.root / "sweep" / "cells").glob("*.gif")}
    (folder / "a.png").write_bytes(b"second")
    server.sweeps.act("sweep", "resume", None)
    assert server.until("sweep", "finished")["counts"]["done"] == 4
    after = {path.name: path.stat().st_mtime_ns for path in (server.root / "sweep" / "cells").glob("*.gif")}
    assert len(after) == 6 and before.items() <= after.items(), "a clip of the earlier picture was touched"


def test_an_exchanged_model_makes_other_cells(server: Server) -> None:
    """A checkpoint trained anew keeps its name, as LoRAs and saved cameras do."""
    path = server.root / "models" / "svd.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"first")
    prompt = two_by(1)
    prompt["7"]["inputs"]["ckpt_name"] = "svd.safetensors"
    server.sweeps.start(prompt, {}, "3", None)
    server.until("sweep", "finished")
    assert server.sweeps.estimate(prompt, "3")["done"] == 2
    path.write_bytes(b"second")
    assert server.sweeps.estimate(prompt, "3")["done"] == 0
    server.sweeps.act("sweep", "resume", None)
    assert server.until("sweep", "finished")["counts"]["done"] == 2 and server.host.queued == 4
    assert len(list((server.root / "sweep" / "cells").glob("*.gif"))) == 4, "the clips of the first model stay"


def test_ten_thousand_cells(server: Server) -> None:
    """Planning, starting and asking stay quick and small; a finished cell costs the same as in a sweep of ten."""
    server.host.hold.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    assert server.start(5000)["total"] == 10_000
    page = server.sweeps.cells("sweep", 9_900, 100, "index", "")
    assert page["total"] == 10_000 and page["cells"][-1]["index"] == 9_999
    assert time.process_time() - began < 5
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200
    began = time.process_time()
    for _ in range(20):
        server.sweeps.cells("sweep", 5_000, 200, "index", "")
        server.sweeps.listed()
    assert (time.process_time() - began) / 20 < 0.1
    server.sweeps.act("sweep", "cancel", None)
    server.until("sweep", "cancelled")


def test_what_is_known_of_a_cell_is_json(server: Server) -> None:
    server.start()
    server.until("sweep", "finished")
    record = server.sweeps._open["sweep"].index.rows[0].record  # pyright: ignore[reportPrivateUsage]
    assert record is not None
    Manifest(server.root / "sweep" / "manifest.jsonl").append(replace(record, track={"motion": float("nan")}))
    rows = server.sweeps.cells("sweep", 0, 9, "-motion", "")["cells"]
    json.dumps([rows, server.sweeps.listed(), server.events], allow_nan=False)
    assert rows[-1]["index"] == 0, "what was not measured comes last"
