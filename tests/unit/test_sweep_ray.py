"""Plans made by a Ray cluster: the same clips and record as by processes of this machine, whatever dies in between.

The tests with a real cluster start one of two workers here, once; without the optional package they are skipped.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from svd_core.cli.cells import make_render
from svd_core.errors import InputError, SvdError
from svd_core.sweep.clusters import RayExecutor
from svd_core.sweep.local import LocalExecutor
from svd_core.sweep.manifest import Manifest
from svd_core.sweep.plan import Plan, load_plan, parse_plan
from svd_core.sweep.run import run_plan
from tests import sweep_workers
from tests.command_line import assert_refused, picture, run_here, small_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two workers on this machine."""
    ray: Any = pytest.importorskip("ray", reason="the optional package ray is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # The workers must find the tests' own modules.
    told = {"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}}
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env=told,
    )
    yield "auto"
    ray.shutdown()


def plan(count: int = 4, **settings: Any) -> Plan:
    template = {"kind": "animate", "settings": {"format": "gif", **settings}}
    axes = [{"name": "image", "values": ["a.png"]}, {"name": "seed", "count": count}]
    return parse_plan({"version": 1, "name": "test", "template": template, "axes": axes}, Path())


def told(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest without what may differ: order and times."""
    records = Manifest(folder / "manifest.jsonl").records()
    return {record.cell: {**asdict(record), "seconds": None} for record in records}


def clips(folder: Path, kind: str) -> dict[str, bytes]:
    """Every file of a kind among the cells, those in folders of frames too."""
    found = (folder / "cells").rglob(f"*.{kind}")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


# without a cluster


def test_ray_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    picture(tmp_path / "a.png")
    axes = [{"name": "image", "glob": "*.png"}]
    (tmp_path / "plan.json").write_text(json.dumps({"version": 1, "template": {"kind": "animate"}, "axes": axes}))
    refused = run_here(capsys, "sweep", tmp_path / "plan.json", "--out", tmp_path / "out", "--ray", "auto")
    assert_refused(refused, "optional package ray", "none installed", "pip install -e .[ray]")
    assert not (tmp_path / "out").exists()


def test_an_address_where_nobody_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    for address in (nobody, f"ray://{nobody}"):
        with pytest.raises(InputError, match=r"Expected a Ray cluster at .*; found .*refused.* --ray local"):
            run_plan(plan(), tmp_path / "out", RayExecutor(address, sweep_workers.make_render), resume=True)


def test_what_ray_says_against_an_address_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nA page of advice follows.")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(InputError, match=r"found Could not find any running Ray instance\. Start it"):
        next(RayExecutor("auto", sweep_workers.make_render).run(iter(())))


def test_only_a_connection_of_ours_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    resources: dict[str, float] = {}
    ray = SimpleNamespace(
        is_initialized=lambda: "joined" in said,
        init=lambda **options: said.append(f"init {options['address']}"),
        shutdown=lambda: said.append("shutdown"),
        cluster_resources=lambda: resources,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(InputError, match="GPUs or CPUs"):
        next(RayExecutor("auto", sweep_workers.make_render).run(iter(())))
    assert said == ["init auto", "shutdown"]
    said[:] = ["joined"]
    with pytest.raises(InputError, match="GPUs or CPUs"):
        next(RayExecutor("auto", sweep_workers.make_render).run(iter(())))
    assert said == ["joined"]


@pytest.mark.parametrize("others", [("--host", "http://127.0.0.1:1"), ("--device", "cpu")])
def test_one_place_at_a_time(others: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a.png")
    axes = [{"name": "image", "glob": "*.png"}]
    (tmp_path / "plan.json").write_text(json.dumps({"version": 1, "template": {"kind": "animate"}, "axes": axes}))
    command = ("sweep", tmp_path / "plan.json", "--out", tmp_path / "out", "--ray", "local", *others)
    assert_refused(run_here(capsys, *command), "one of --device, --host and --ray")


# with a real one


def test_the_same_clips_and_record_as_on_this_machine(tmp_path: Path, cluster: str) -> None:
    model = small_checkpoint(tmp_path)
    picture(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    settings = {"model": model.name, "steps": 1, "frames": 2, "format": "png"}
    axes = [{"name": "image", "glob": "*.png"}, {"name": "seed", "count": 2}]
    document = {"version": 1, "template": {"kind": "animate", "settings": settings}, "axes": axes}
    (tmp_path / "plan.json").write_text(json.dumps(document))
    wanted = load_plan(tmp_path / "plan.json")
    for name, executor in (("here", LocalExecutor(["cpu"], make_render)), ("ray", RayExecutor(cluster, make_render))):
        progress = run_plan(wanted, tmp_path / name, executor)
        assert (progress.made, progress.failed) == (2, 2)
    assert told(tmp_path / "here") == told(tmp_path / "ray")
    frames = clips(tmp_path / "here", "png")
    assert len(frames) == 4 and frames == clips(tmp_path / "ray", "png")


def test_a_dead_workers_cell_is_made_by_another(tmp_path: Path, cluster: str) -> None:
    fuse = tmp_path / "fuse"
    fuse.write_bytes(b"")
    executor = RayExecutor(cluster, sweep_workers.make_render)
    progress = run_plan(plan(4, crash=str(fuse)), tmp_path / "out", executor)
    assert progress.made == 4 and not fuse.exists()
    records = list(Manifest(tmp_path / "out/manifest.jsonl").records())
    assert len({record.cell for record in records}) == len(records) == 4


def test_a_cell_that_always_kills_its_worker_fails_alone(tmp_path: Path, cluster: str) -> None:
    executor = RayExecutor(cluster, sweep_workers.make_render)
    progress = run_plan(plan(3, always_crash=2), tmp_path / "out", executor)
    assert (progress.made, progress.failed) == (2, 1)
    (failed,) = [record for record in Manifest(tmp_path / "out/manifest.jsonl").records() if record.status == "failed"]
    assert failed.values["seed"] == 2 and "the Ray worker ended" in str(failed.error)


def test_workers_that_cannot_start_end_the_run(tmp_path: Path, cluster: str) -> None:
    with pytest.raises(SvdError, match="a Ray worker that starts"):
        run_plan(plan(2), tmp_path / "out", RayExecutor(cluster, sweep_workers.broken))


def test_the_cluster_goes_on_after_a_run(tmp_path: Path, cluster: str) -> None:
    import ray  # pyright: ignore[reportMissingImports]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan(4), tmp_path / "out", RayExecutor(cluster, sweep_workers.make_render), on_record=stop)
    assert ray.is_initialized()
    progress = run_plan(plan(4), tmp_path / "out", RayExecutor(cluster, sweep_workers.make_render), resume=True)
    assert (progress.made, progress.kept) == (3, 1) and len(clips(tmp_path / "out", "gif")) == 4
