"""A server killed in the middle of a sweep: what is finished stays as it is, the rest is made when it is resumed."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

from svd_core.config import NANO
from svd_core.sweep.manifest import Manifest
from svd_core.weights.save import save_model
from tests.host.server import install_pack, serving
from tests.host.sweeping import Client, graph, photos
from tests.hosting import find_host
from tests.models import random_model

NAME, CELLS = "killed", 12


def finished(folder: Path) -> dict[str, tuple[str, int]]:
    """Clips under their final names: hash and time."""
    clips = (folder / "cells").glob("*.mp4")
    return {clip.name: (hashlib.sha256(clip.read_bytes()).hexdigest(), clip.stat().st_mtime_ns) for clip in clips}


def test_killed_at_three_moments(tmp_path: Path) -> None:
    host = find_host()
    install_pack(tmp_path / "custom_nodes" / "svd-studio")
    for folder in ("input", "output", "models/checkpoints", "models/loras"):
        (tmp_path / folder).mkdir(parents=True)
    save_model(random_model(NANO, seed=5), tmp_path / "models" / "checkpoints" / "random.safetensors")
    photos(tmp_path, "photos", 2)
    before: dict[str, tuple[str, int]] = {}
    # So many clips finished, and so much later: at the start of one, in the middle, while one is written.
    for round_, (done, later) in enumerate(((1, 0.0), (4, 0.15), (7, 0.3), (CELLS, 0.0))):
        with serving(host, tmp_path) as server:
            page = Client(server)
            if round_ == 0:
                told = page.start(graph(NAME, "6 from 0"))
                assert told["total"] == CELLS
            else:
                told = page.detail(NAME)
                assert told["state"] == "stopped", "a server that starts renders nothing by itself"
                assert told["counts"]["done"] >= len(before) - 1, "what the killed server had on record"
                told = page.act(NAME, "resume")
                assert told["counts"]["done"] == len(finished(page.folder(NAME)))
            if done == CELLS:
                page.until(NAME, "finished")
            else:
                page.until(NAME, "finished", done=done)
                time.sleep(later)
                os.kill(server.process, signal.SIGKILL)
        now = finished(page.folder(NAME))
        assert before.items() <= now.items(), "a finished clip was touched"
        before = now
    records = Manifest(page.folder(NAME) / "manifest.jsonl").latest()
    assert len(records) == CELLS and {record.status for record in records.values()} == {"done"}
    assert {Path(str(record.file)).name: record.sha256 for record in records.values()} == {
        name: digest for name, (digest, _) in before.items()
    }
    assert list((page.folder(NAME) / "cells").glob(".*")) == [], "half a clip was left"
