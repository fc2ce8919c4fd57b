"""What a disk can do to a sweep: fill up, refuse writing, be used twice, tell wrong dates, have strange names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from svd_core.errors import InputError, OutputError
from svd_core.sweep.cells import cells_of
from svd_core.sweep.folder import SweepFolder, open_folder
from svd_core.sweep.hash_store import file_hash
from svd_core.sweep.local import LocalExecutor
from svd_core.sweep.manifest import Manifest, Record
from svd_core.sweep.plan import Plan, parse_plan
from svd_core.sweep.run import run_plan
from tests import sweep_workers
from tests.command_line import assert_refused, run_here

ROOT = Path(__file__).resolve().parents[2]


def plan(count: int = 4, images: tuple[str, ...] = ("a.png",), folder: Path = Path(), **settings: Any) -> Plan:
    template = {"kind": "animate", "settings": {"format": "gif", **settings}}
    axes = [{"name": "image", "values": list(images)}, {"name": "seed", "count": count}]
    return parse_plan({"version": 1, "name": "test", "template": template, "axes": axes}, folder)


def workers() -> LocalExecutor:
    return LocalExecutor(["cpu"], sweep_workers.make_render)


def states(folder: Path) -> dict[str, tuple[str, int]]:
    return {clip.name: (file_hash(clip), clip.stat().st_mtime_ns) for clip in sorted((folder / "cells").glob("*.gif"))}


def done(folder: Path) -> list[Record]:
    return [record for record in Manifest(folder / "manifest.jsonl").records() if record.status == "done"]


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[None]:
    """A mount for the time of a test."""
    place.mkdir(exist_ok=True)
    try:
        made = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount on this system")
    if made.returncode:
        pytest.skip(f"this user may not mount: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


@pytest.mark.parametrize("blocks", range(8, 22, 2))
def test_a_full_disk_ends_the_run_and_nothing_is_lost(blocks: int, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    # Full while the plan, the lock, a clip, a sidecar or the manifest is written, as it happens.
    with mounted(disk, "-t", "tmpfs", "-o", f"size={4 * blocks}k", "tmpfs"):
        out = disk / "out"
        for _ in range(2):
            with pytest.raises(OutputError, match="full disk"):
                run_plan(plan(12), out, workers(), resume=True)
        before = states(out)
        assert all(_whole(out / "cells" / name) for name in before)
        assert all(record.status == "done" for record in Manifest(out / "manifest.jsonl").records())
        assert not list((out / "cells").glob(".*.part"))
        remount(disk, "size=4m")
        progress = run_plan(plan(12), out, workers(), resume=True)
        after = states(out)
        assert progress.kept == len(before) and len(after) == 12 and before.items() <= after.items()
        assert sorted(record.cell for record in done(out)) == sorted(cell.key for cell in cells_of(plan(12)))


def _whole(clip: Path) -> bool:
    with Image.open(clip) as image:
        image.load()
        return image.size == (16, 16)


def test_a_folder_that_may_only_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run_plan(plan(2), out, workers())
    before = states(out)
    with mounted(out, "--bind", str(out)):
        remount(out, "ro,bind")
        with pytest.raises(InputError, match=r"a place that can be written .*Choose another place"):
            run_plan(plan(3), out, workers(), resume=True)
        with pytest.raises(InputError, match="a place that can be written"):
            run_plan(plan(3), out / "new", workers())
        assert_refused(run_here(capsys, "sheet", out), "a place that can be written")
    assert states(out) == before


def test_a_second_process_is_sent_away(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan(4, wait=0.3).document()))
    command = [sys.executable, "-m", "tests.sweep_workers", str(tmp_path / "plan.json"), str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(InputError, match=r"no other sweep works in .* Wait for it, stop it"):
            run_plan(plan(4, wait=0.3), tmp_path / "out", workers(), resume=True)
        assert "finished 4 0 0" in first.communicate(timeout=60)[0]
    assert len(done(tmp_path / "out")) == 4


def test_another_plan_in_a_used_folder_loses_nothing(tmp_path: Path) -> None:
    run_plan(plan(3), tmp_path, workers(), resume=True)
    before, sidecars = states(tmp_path), [path.read_text() for path in sorted((tmp_path / "cells").glob("*.json"))]
    run_plan(plan(3, format="webp"), tmp_path, _AsGif(), resume=True)
    assert before.items() <= states(tmp_path).items()
    assert [path.read_text() for path in sorted((tmp_path / "cells").glob("a_seed?.json"))] == sidecars
    assert json.loads((tmp_path / "plan-1.json").read_text()) == plan(3).document()
    # Back to the first plan: all there.
    assert run_plan(plan(3), tmp_path, _AsGif(), resume=True).kept == 3


class _AsGif:
    """Writes what the tests' workers write under whatever name is wanted."""

    def run(self, jobs: Any) -> Iterator[Any]:
        render = sweep_workers.make_render("cpu")
        return (render(job) for job in jobs)


def test_a_clip_under_its_second_name_is_known_again(tmp_path: Path) -> None:
    with open_folder(tmp_path / "out", resume=False) as folder:
        (mine,), (other,) = cells_of(plan(1)), cells_of(plan(1, steps=9))
        render = sweep_workers.make_render("cpu")
        for cell in (other, mine):
            from svd_core.sweep.jobs import Job

            render(Job(cell=cell, settings={}, folder=Path(), target=folder.target(cell, ".gif")))
        # Killed before either was recorded.
        assert len(states(tmp_path / "out")) == 2 and set(folder.finished([mine, other])) == {mine.key, other.key}
        assert isinstance(folder, SweepFolder)


def test_dates_play_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_plan(plan(3), tmp_path, workers(), resume=True)
    for path in [tmp_path, *tmp_path.rglob("*")]:
        os.utime(path, (4e9, 4e9))
    before = states(tmp_path)
    backwards = iter(range(10**6, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))
    progress = run_plan(plan(5), tmp_path, _AsGif(), resume=True)
    assert (progress.kept, progress.made) == (3, 2) and before.items() <= states(tmp_path).items()
    assert all((record.seconds or 0) >= 0 for record in done(tmp_path))


def test_names_of_any_language_and_length(tmp_path: Path) -> None:
    longest = "長" * 83 + ".png"
    assert 250 <= len(longest.encode()) <= 255
    images = (longest, "é.png", "e\u0301.png", "Straße.png", "STRASSE.png", "🎬" * 60 + ".png", "a\u202eb.png", ".png")
    for image in images:
        (tmp_path / image).write_bytes(image.encode())
    out = tmp_path / "out"
    progress = run_plan(plan(2, images, tmp_path), out, workers())
    assert (progress.made, progress.failed) == (2 * len(images), 0)
    assert len(states(out)) == 2 * len(images)
    assert run_plan(plan(2, images, tmp_path), out, workers(), resume=True).kept == 2 * len(images)
    from svd_core.sweep.sheet_files import draw

    assert draw(out)[1] == [out / "sheet.html"]


def test_pictures_of_one_content_have_a_clip_each(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"same")
    wanted = plan(1, ("a.png", "b.png"), tmp_path)
    assert run_plan(wanted, tmp_path / "out", workers()).made == 2
    assert set(states(tmp_path / "out")) == {"a.gif", "b.gif"}
    assert run_plan(wanted, tmp_path / "out", workers(), resume=True).kept == 2


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count a process's bytes")
def test_a_finished_cell_costs_the_record_the_same_at_any_length(tmp_path: Path) -> None:
    def moved() -> int:
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counts["rchar"]) + int(counts["wchar"]) + int(counts["syscr"]) + int(counts["syscw"])

    def cost(manifest: Manifest) -> int:
        before = moved()
        for index in range(20):
            manifest.append(Record(cell=f"{index:020}", index=index, status="done", values={"seed": index}))
        return moved() - before

    short, long = Manifest(tmp_path / "short.jsonl"), Manifest(tmp_path / "long.jsonl")
    line = json.dumps({"cell": "k", "index": 1, "status": "done", "values": {"seed": 1}}) + "\n"
    long.path.write_text(line * 10_000)
    # The counters count the looks at them, too.
    assert cost(long) == pytest.approx(cost(short), rel=0.02)
    assert sum(1 for _ in long.records()) == 10_020
