"""A disk that fills while frames are written: a clear message, nothing under the final name. Mounts a tiny disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from svd_core.video_io import write_frames
from tests.command_line import assert_refused, run_here
from tests.fake_host import on_fake_host

KILOBYTES = 120


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", f"size={KILOBYTES}k", "tmpfs", str(place)]
    if sys.platform != "linux" or mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.gif", "out"])
def test_streaming_onto_a_full_disk(
    name: str, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = torch.rand(6, 160, 240, 3, generator=torch.Generator().manual_seed(0))
    source = write_frames(noise, tmp_path / "source", Fraction(8))
    words = ("--engine", "blend", "--cut-guard", "off", "--factor", "4", "--quiet")
    done = run_here(capsys, "interpolate", source, small_disk / name, *words)
    assert_refused(done, "room on the disk", code=1)
    assert list(small_disk.iterdir()) == []


def test_a_node_takes_its_room_before_it_works(small_disk: Path) -> None:
    """A page of a mapped file that finds no room would end the whole program."""
    host, load = on_fake_host()
    host.folder_paths.get_temp_directory = lambda: str(small_disk)
    work, errors = load("nodes.interpolating"), load("svd_core.errors")
    work._SPARE = 0
    assert work.new_frames((2, 16, 16, 3), "disk").shape == (2, 16, 16, 3)
    work.shutil = type("Blind", (), {"disk_usage": staticmethod(lambda _: type("Usage", (), {"free": 10**12})())})
    with pytest.raises(errors.OutputError, match="svd_studio_frames"):
        work.new_frames((40, 64, 64, 3), "disk")
    assert list(small_disk.iterdir()) == []
