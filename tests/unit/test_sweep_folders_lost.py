"""A sweep whose folder is deleted ends; one whose folder cannot be looked at for a while does not."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from svd_core.errors import InputError, SvdError
from svd_core.sweep.host_api import Finished
from svd_core.sweep.live import without_plan
from svd_core.sweep.state import State, read_state, write_state
from tests.sweep_bench import Bench
from tests.sweep_server import Server


class Share:
    """A file system on which looking at one plan can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away: dict[Path, OSError] = {}
        stat = Path.stat

        def look(path: Path, **more: bool) -> object:
            if path in self.away:
                raise self.away[path]
            return stat(path, **more)

        monkeypatch.setattr(Path, "stat", look)


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    yield Share(monkeypatch)


def windows(number: int) -> OSError:
    error = FileNotFoundError(errno.ENOENT, "The network path was not found")
    error.winerror = number  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "trouble",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.ELOOP, "Too many levels of symbolic links"),
        OSError(errno.EIO, "Input/output error"),
        windows(53),
    ],
    ids=lambda error: str(error.strerror),
)
def test_trouble_is_no_deletion(trouble: OSError, share: Share, tmp_path: Path) -> None:
    share.away[tmp_path / "plan.json"] = trouble
    with pytest.raises(OSError, match=str(trouble.strerror)):
        without_plan(tmp_path)


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert without_plan(tmp_path) and without_plan(tmp_path / "none") and without_plan(tmp_path / "file")
    (tmp_path / "plan.json").write_bytes(b"")
    assert not without_plan(tmp_path)


def test_a_share_that_comes_back_costs_nothing(tmp_path: Path, share: Share) -> None:
    bench = Bench(tmp_path)
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    share.away[sweep.path / "plan.json"] = OSError(errno.ESTALE, "Stale file handle")
    for _ in range(5):
        assert bench.feeder.tick()
    assert sweep.state.wish == "running"
    share.away.clear()
    bench.run()
    assert sweep.index.counts["done"] == 4 and len(bench.host.prompts) == 4


def test_a_share_that_stays_away_is_told_of_and_holds_no_other_sweep_up(tmp_path: Path, share: Share) -> None:
    bench = Bench(tmp_path, names=("one", "two"))
    one, two = bench.sweeps
    share.away[one.path / "plan.json"] = PermissionError(errno.EACCES, "Permission denied")
    for _ in range(12):
        bench.feeder.tick()
    assert one.state.wish == "paused" and not one.held
    assert "the folder of sweep one; found Permission denied. Its clips wait" in str(one.state.note)
    bench.run()
    assert two.index.counts["done"] == 4 and one.index.counts["failed"] == 0


def test_a_clip_that_could_not_be_saved_for_the_share_waits(tmp_path: Path, share: Share) -> None:
    bench = Bench(tmp_path)
    (sweep,) = bench.sweeps
    bench.feeder.tick()
    bench.host.begin()
    share.away[sweep.path / "plan.json"] = OSError(errno.ESTALE, "Stale file handle")
    bench.host.end(Finished(status="failed", error="SVDStudioSaveClip: Stale file handle"))
    bench.feeder.tick()
    assert sweep.index.counts == {"waiting": 4, "running": 0, "done": 0, "failed": 0}
    assert sweep.state.wish == "paused" and "Stale file handle" in str(sweep.state.note)


def test_a_sweep_that_cannot_be_seen_hides_no_other(
    tmp_path: Path, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("svd_core.sweep.service._PAUSE", 0.01)
    server = Server(tmp_path / "svd_sweeps")
    server.start()
    server.until("sweep", "finished")
    (server.root / "away").mkdir()
    share.away[server.root / "away" / "plan.json"] = OSError(errno.ESTALE, "Stale file handle")
    assert [one["id"] for one in server.sweeps.listed()] == ["sweep"]
    assert server.sweeps.detail("sweep")["counts"]["done"] == 4


@pytest.mark.parametrize("write", [lambda folder: write_state(folder, State(wish="paused"))], ids=["state"])
def test_what_is_written_late_brings_no_folder_back(write: Callable[[Path], None], tmp_path: Path) -> None:
    """Somebody may delete a folder between the look at it and the writing."""
    folder = tmp_path / "sweep"
    folder.mkdir()
    write(folder)
    assert read_state(folder).wish == "paused"
    shutil.rmtree(folder)
    with pytest.raises(SvdError):
        write(folder)
    assert not folder.exists()


def test_a_deleted_sweep_is_told_of_as_such(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (sweep,) = bench.sweeps
    shutil.rmtree(sweep.path)
    with pytest.raises(InputError, match="found none"):
        sweep.failed(sweep.index.rows[0], "x")
    bench.feeder.tick()
    assert sweep.state.wish == "cancelled" and not sweep.path.exists()
