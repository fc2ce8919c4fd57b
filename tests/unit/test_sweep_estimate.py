"""What a plan will take: by rule of thumb before anything is made, by measurement after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from svd_core.sweep.cells import cells_of
from svd_core.sweep.estimate import Estimate, duration, estimate, room
from svd_core.sweep.manifest import Manifest, Record
from svd_core.sweep.plan import Plan, parse_plan
from tests.command_line import ROOT, picture, run_here, small_checkpoint


def plan(count: int = 4, **settings: Any) -> Plan:
    template = {"kind": "animate", "settings": {"image": "a.png", "size": "64x64", "frames": 2, "steps": 2, **settings}}
    return parse_plan({"version": 1, "template": template, "axes": [{"name": "seed", "count": count}]}, Path())


def finish(folder: Path, plan: Plan, count: int, *, seconds: float, bytes: int, **settings: Any) -> None:
    """The first `count` cells of a plan, made with `settings`."""
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    for cell in cells_of(plan)[:count]:
        clip = folder / f"cells/{cell.name}.mp4"
        clip.write_bytes(b"x" * bytes)
        clip.with_suffix(".json").write_text(json.dumps({"settings": settings}))
        file = f"cells/{clip.name}"
        Manifest(folder / "manifest.jsonl").append(
            Record(cell=cell.key, index=cell.index, status="done", values=cell.values, file=file, seconds=seconds)
        )


def test_before_anything_is_made(tmp_path: Path) -> None:
    told = estimate(plan(), tmp_path / "none")
    assert (told.clips, told.total, told.seconds) == (4, 4, None)
    assert told.bytes == round(0.12 * 4 * 2 * 64 * 64) and "first clip" in told.notes[0]
    frames = estimate(plan(format="png"))
    assert frames.bytes is not None and frames.bytes > 10 * told.bytes
    # Size and frames of the embedded model, from the head of its file.
    usual = estimate(plan(size=None, frames=None)).bytes
    assert usual is not None and usual > told.bytes


def test_what_is_finished_tells_about_the_rest(tmp_path: Path) -> None:
    finish(tmp_path, plan(10), 4, seconds=3.0, bytes=500, frames=2, steps=2)
    told = estimate(plan(10), tmp_path)
    assert (told.clips, told.total) == (6, 10)
    assert told.seconds == pytest.approx(6 * 3.0) and told.bytes == 6 * 500
    assert estimate(plan(10), tmp_path, workers=2).seconds == pytest.approx(9.0)
    # No more workers than clips.
    assert estimate(plan(5), tmp_path, workers=8).seconds == pytest.approx(3.0)


def test_other_sizes_lengths_and_steps_cost_in_proportion(tmp_path: Path) -> None:
    finish(tmp_path, plan(2), 2, seconds=3.0, bytes=500, size="64x64", frames=2, steps=2)
    longer = estimate(plan(1, size="128x64", frames=6, steps=10), tmp_path)
    assert longer.seconds == pytest.approx(3.0 * 2 * 3 * 5) and longer.bytes == 500 * 2 * 3
    axes = [{"name": "steps", "values": [2, 4]}]
    template = {"kind": "animate", "settings": {"image": "b.png", "size": "64x64", "frames": 2}}
    mixed = estimate(parse_plan({"version": 1, "template": template, "axes": axes}, Path()), tmp_path)
    assert mixed.seconds == pytest.approx(3.0 + 6.0)


def test_a_graph_tells_by_its_inputs(tmp_path: Path) -> None:
    def graph(frames: int) -> Plan:
        inputs = {"seed": 0, "frames": frames, "width": 64, "height": 64}
        template = {
            "kind": "graph",
            "prompt": {"3": {"class_type": "SVDStudioSampler", "inputs": inputs}},
            "bindings": {"seed": ["3", "seed"], "length": ["3", "frames"]},
        }
        axes = [{"name": "seed", "count": 2}, {"name": "length", "values": [frames]}]
        return parse_plan({"version": 1, "template": template, "axes": axes}, Path())

    assert estimate(graph(4)).bytes == round(0.12 * 2 * 4 * 64 * 64)
    finish(tmp_path, graph(4), 1, seconds=2.0, bytes=100, frames=4, width=64, height=64)
    told = estimate(graph(8), tmp_path)
    assert told.seconds == pytest.approx(8.0) and told.bytes == 400


def test_a_damaged_folder_is_an_empty_one(tmp_path: Path) -> None:
    finish(tmp_path, plan(2), 1, seconds=1.0, bytes=9)
    (tmp_path / "manifest.jsonl").write_bytes(b"\xff\xfe rubbish")
    assert estimate(plan(2), tmp_path).clips == 2
    finish(tmp_path, plan(2), 1, seconds=1.0, bytes=9)
    for rubbish in ("[]", "{", '{"settings": 3}', '{"settings": {"size": [1], "frames": "x", "steps": 1e999}}'):
        next((tmp_path / "cells").glob("*.json")).write_text(rubbish)
        assert estimate(plan(2), tmp_path).clips == 1
    next((tmp_path / "cells").glob("*.mp4")).unlink()
    assert estimate(plan(2), tmp_path).clips == 2


def test_in_words() -> None:
    told = Estimate(clips=3, total=8, seconds=4000.0, bytes=71_000)
    assert told.words() == "3 of 8 clips, about 67 min, 71 kB" and told.to_json()["gigabytes"] == 71e-6
    assert Estimate(clips=8, total=8, seconds=None, bytes=None).words() == "8 clips"
    assert [duration(s) for s in (4.2, 40, 3600 * 3.5, 86400 * 3)] == ["4.2 s", "40 s", "3.5 h", "3 days"]
    assert [room(b) for b in (1, 5_000_000, 2_500_000_000)] == ["1 kB", "5 MB", "2.5 GB"]


def write_plan(folder: Path) -> Path:
    model = small_checkpoint(folder)
    picture(folder / "a.png")
    settings = {"model": model.name, "steps": 1, "frames": 2, "size": "64x64", "image": "a.png"}
    document = {"version": 1, "name": "test", "template": {"kind": "animate", "settings": settings}}
    path = folder / "plan.json"
    path.write_text(json.dumps({**document, "axes": [{"name": "seed", "count": 3}]}))
    return path


def test_the_command_tells_before_and_after_the_first_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_plan(tmp_path), tmp_path / "out"
    made = run_here(capsys, "sweep", path, "--out", out, "--device", "cpu")
    assert made.out.startswith("3 clips, 3 kB, on cpu") and "By the first clip: 2 of 3 clips, about" in made.err
    (out / "cells/test_seed1.mp4").unlink(missing_ok=True)
    next((out / "cells").glob("*seed2.mp4")).unlink()
    again = run_here(capsys, "sweep", path, "--out", out, "--device", "cpu", "--resume", "--json")
    facts = json.loads(again.out)
    assert facts["estimate"]["clips"] + facts["kept"] == 3 and facts["estimate"]["seconds"] > 0
    assert facts["left"] == 0 and facts["failures"] == []


MEASURED = """
import resource, sys
from pathlib import Path
from svd_core.cli.main import main
code = main(["sweep", "plan.json", "--out", "out", "--dry-run", "--json", "--quiet"])
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(code, used.ru_utime + used.ru_stime, int(peak.split()[1]) / 1024, file=sys.stderr)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak memory")
def test_ten_thousand_cells_are_planned_hashed_and_listed_in_a_moment(tmp_path: Path) -> None:
    images = [picture(tmp_path / f"{name}.png").name for name in ("a", "b")]
    template = {"kind": "animate", "settings": {"frames": 14, "size": "1024x576"}}
    axes = [{"name": "image", "values": images}, {"name": "seed", "count": 5000}]
    (tmp_path / "plan.json").write_text(json.dumps({"version": 1, "template": template, "axes": axes}))
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEASURED]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=variables, check=True)
    facts = json.loads(made.stdout)
    assert facts["total"] == len({cell["cell"] for cell in facts["cells"]}) == 10_000
    code, seconds, megabytes = map(float, made.stderr.split()[-3:])
    # Of the processor, since the machine may be busy with something else; 1 s and 55 MB when this was written.
    assert code == 0 and seconds < 5 and megabytes < 200, made.stderr
