"""`svd sweep` killed with -9 at twenty random moments: what was finished stays, the rest is made, nothing twice.

A network of the embedded model's size with random weights, two steps, twelve cells; some three minutes of one core.
And twenty pictures, one of them corrupt: nineteen clips, and memory that does not grow; another minute.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svd_core.cli.cells import make_render
from svd_core.config import NANO
from svd_core.sweep.cells import cells_of
from svd_core.sweep.hash_store import file_hash
from svd_core.sweep.local import LocalExecutor
from svd_core.sweep.manifest import Manifest
from svd_core.sweep.plan import load_plan, parse_plan
from svd_core.sweep.run import run_plan
from svd_core.video_io import read_clip
from tests.checkpoints import SGM, in_layout, random_networks, save_single
from tests.command_line import ROOT, picture

KILLS = 20
FRAMES = 4
State = dict[str, tuple[str, int]]


def random_model(folder: Path) -> str:
    tensors = in_layout(random_networks(NANO), NANO, SGM)
    return save_single(folder / "random.safetensors", tensors, {"svd_studio.config": NANO.to_json()}).name


def write_plan(folder: Path) -> Path:
    picture(folder / "a.png")
    picture(folder / "b.png", seed=1)
    settings = {"model": random_model(folder), "steps": 2, "frames": FRAMES, "size": "128x96"}
    axes = [{"name": "image", "values": ["a.png", "b.png"]}, {"name": "seed", "count": 6}]
    document = {"version": 1, "name": "kills", "template": {"kind": "animate", "settings": settings}, "axes": axes}
    path = folder / "plan.json"
    path.write_text(json.dumps(document))
    return path


def start(plan: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "svd_core", "sweep", str(plan), "--out", str(out), "--resume", "--device", "cpu"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def look(out: Path) -> State:
    """Every clip under a final name: whole, every frame there; and its hash and date."""
    state: State = {}
    for clip in sorted((out / "cells").glob("*.mp4")) if out.exists() else []:
        assert len(read_clip(clip).pixels) == FRAMES, f"a half clip under its final name: {clip}"
        state[clip.name] = (file_hash(clip), clip.stat().st_mtime_ns)
    return state


def check_finished(plan: Path, out: Path, seen: State) -> None:
    final = look(out)
    cells = cells_of(load_plan(plan))
    assert len(final) == len(cells) == 12 and seen.items() <= final.items(), "a finished clip was touched"
    text = (out / "manifest.jsonl").read_bytes()
    done = [record for record in Manifest(out / "manifest.jsonl").records() if record.status == "done"]
    assert sorted(record.cell for record in done) == sorted(cell.key for cell in cells), "a cell twice, or missing"
    assert {record.file: record.sha256 for record in done} == {f"cells/{name}": final[name][0] for name in final}
    assert text.endswith(b"\n")
    rest = [path.name for path in (out / "cells").iterdir() if path.suffix not in (".mp4", ".json")]
    assert not rest, f"left behind: {rest}"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX word")
def test_twenty_kills(tmp_path: Path) -> None:
    seed = int(os.environ.get("SVD_STUDIO_SEED", random.SystemRandom().randrange(10**6)))
    print(f"seed {seed} (SVD_STUDIO_SEED={seed} repeats the moments)")
    chance = random.Random(seed)
    plan = write_plan(tmp_path)
    # How long a start takes decides which moments are those of work.
    began = time.perf_counter()
    process = start(plan, tmp_path / "trial")
    while not (tmp_path / "trial/manifest.jsonl").exists():
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.01)
    first = time.perf_counter() - began
    process.kill()
    process.communicate()
    kills, sweep, moments = 0, 0, []
    while kills < KILLS:
        sweep += 1
        out, seen, ended = tmp_path / f"out{sweep}", {}, False
        while not ended:
            process = start(plan, out)
            moment = chance.uniform(0, 1.7 * first) if kills < KILLS else 300.0
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
                moments.append(round(moment, 2))
            errors = process.communicate()[1].decode()
            ended = process.returncode == 0
            assert process.returncode in (0, -signal.SIGKILL), errors
            now = look(out)
            assert seen.items() <= now.items(), "a finished clip was touched"
            seen = now
        check_finished(plan, out, seen)
    print(f"{kills} kills at {moments} s over {sweep} sweeps of 12 cells; first cell after {first:.1f} s")


def resident() -> int:
    """Bytes of this process and its workers."""
    pids = ["self", *(str(child.pid) for child in multiprocessing.active_children())]
    told = (Path(f"/proc/{pid}/status").read_text().splitlines() for pid in pids)
    return sum(1024 * int(line.split()[1]) for lines in told for line in lines if line.startswith("VmRSS"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_one_corrupt_picture_among_twenty(tmp_path: Path) -> None:
    for index in range(20):
        # Of all sizes, as in a folder of an artist.
        picture(tmp_path / f"photo {index}.png", width=200 + 31 * index, height=150 + 17 * index, seed=index)
    (tmp_path / "photo 12.png").write_bytes((tmp_path / "photo 12.png").read_bytes()[:200])
    settings = {"model": random_model(tmp_path), "steps": 1, "frames": 8, "size": "256x144"}
    document = {"version": 1, "template": {"kind": "animate", "settings": settings}}
    plan = parse_plan({**document, "axes": [{"name": "image", "glob": "*.png"}]}, tmp_path)
    memory: list[int] = []
    executor = LocalExecutor(["cpu"], make_render)
    progress = run_plan(plan, tmp_path / "out", executor, on_record=lambda *_: memory.append(resident()))
    assert (progress.made, progress.failed) == (19, 1)
    clips = {clip.name for clip in (tmp_path / "out/cells").glob("*.mp4")}
    assert clips == {f"photo {index}.mp4" for index in range(20) if index != 12}
    (failed,) = [record for record in Manifest(tmp_path / "out/manifest.jsonl").records() if record.status == "failed"]
    assert failed.values == {"image": "photo 12.png"} and "photo 12.png" in str(failed.error)
    megabytes = [round(held / 2**20) for held in memory]
    print(f"resident after each cell: {megabytes} MiB")
    # The first three cells warm up; each look finds the worker somewhere in its next clip, so the middle of several
    # looks is what is compared.
    first, last = statistics.median(megabytes[3:9]), statistics.median(megabytes[-6:])
    assert last < 1.05 * first, megabytes
