"""A sweep whose clips cost nothing: small pictures made in worker processes like real clips."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from PIL import Image

from svd_core.errors import InputError
from svd_core.sweep.jobs import Job, Outcome, Render
from svd_core.sweep.local import LocalExecutor
from svd_core.sweep.plan import load_plan
from svd_core.sweep.run import run_plan
from svd_core.video_io.atomic import atomic_file
from svd_core.video_io.metadata import to_text


def make_render(device: str) -> Render:
    """A renderer that obeys the settings `wait` (seconds), `refuse` and `crash` (file that is there once)."""

    def render(job: Job) -> Outcome:
        time.sleep(float(job.settings.get("wait", 0)))
        if job.settings.get("image") == "corrupt.png":
            raise InputError("Expected a picture; found none. Give one.")
        fuse = job.settings.get("crash")
        if fuse and Path(str(fuse)).exists():
            Path(str(fuse)).unlink()
            os._exit(7)
        if job.settings.get("always_crash") == job.settings.get("seed") is not None:
            os._exit(9)
        shade = int(job.settings.get("seed", 0))
        with atomic_file(job.target) as temporary:
            frame = Image.new("RGB", (16, 16), (shade, 9, 99))
            frame.save(temporary, "GIF", comment=to_text({"cell": job.cell.key, "device": device}).encode())
        return Outcome(job=job, seconds=0.01, settings={"device": device}, track={"per_second": {"pan": 1.0}})

    return render


def broken(device: str) -> Render:
    """A worker that does not even start."""
    os._exit(3)


if __name__ == "__main__":
    # Line by line, so that a test can kill the process at any moment and know how far it was.
    progress = run_plan(
        load_plan(Path(sys.argv[1])),
        Path(sys.argv[2]),
        LocalExecutor(["cpu"], make_render),
        resume=True,
        on_record=lambda _, record: print(record.index, flush=True),
    )
    print(f"finished {progress.made} {progress.kept} {progress.failed}", flush=True)
