"""Outputs are whole or absent, whatever stops the writing."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from svd_core.errors import InputError, OutputError
from svd_core.types import Frames
from svd_core.video_io import (
    atomic,
    atomic_file,
    check_writable,
    write_clip,
    write_frames,
)
from svd_core.video_io import writers as writers_module
from svd_core.video_io.codecs import Encoding, encoder_for
from tests.smooth_clips import SUFFIXES, smooth_clip


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_interrupted_write_leaves_nothing(tmp_path: Path, suffix: str, stop: type[BaseException]) -> None:
    clip = smooth_clip()

    def interrupted() -> object:
        yield from clip[:3]
        raise stop

    old = tmp_path / f"clip{suffix}"
    if suffix:
        old.write_bytes(b"the clip of yesterday")
    with pytest.raises(stop):
        write_frames(interrupted(), old, Fraction(8))  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ([old.name] if suffix else [])
    assert not suffix or old.read_bytes() == b"the clip of yesterday"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("_write_video", "_write_gif", "_write_webp", "_write_pngs"):
        monkeypatch.setattr(writers_module, name, full)
    with pytest.raises(OutputError, match="a full disk"):
        write_clip(Frames(smooth_clip(), Fraction(8)), tmp_path / f"clip{suffix}")
    assert os.listdir(tmp_path) == []


def test_encoder_errors_carry_their_cause(tmp_path: Path) -> None:
    """FFmpeg's own exceptions become sentences too: /dev/full says "no space" as a full disk does."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError) as caught:
        writers_module._write_video(
            [np.zeros((64, 64, 3), np.uint8)],
            Path("/dev/full"),
            Fraction(8),
            {},
            "webm",
            encoder_for(".webm", Encoding()),
        )
    assert isinstance(atomic.output_error(Path("x.webm"), caught.value), OutputError)
    assert "full disk" in str(atomic.output_error(Path("x.webm"), caught.value))


def test_sharing_violation_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, replace = [], os.replace

    def busy(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) < 4:
            raise PermissionError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", busy)
    monkeypatch.setattr(atomic.time, "sleep", lambda _: None)
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("done")
    assert (tmp_path / "a.txt").read_text() == "done"
    assert len(calls) == 4


def test_lasting_sharing_violation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Path) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(atomic.os, "replace", busy)
    monkeypatch.setattr(atomic.time, "sleep", lambda _: None)
    with pytest.raises(InputError, match="in use"), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("done")
    assert os.listdir(tmp_path) == []


def test_folder_must_be_empty(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    write_clip(Frames(smooth_clip(2), Fraction(8)), folder)
    assert sorted(os.listdir(folder)) == ["0000.png", "0001.png"]
    with pytest.raises(InputError, match="with files in it"):
        write_clip(Frames(smooth_clip(2), Fraction(8)), folder)
    assert sorted(os.listdir(folder)) == ["0000.png", "0001.png"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("")
    for path in (taken / "clip.mp4", tmp_path / ("n" * 300 + ".mp4"), tmp_path):
        with pytest.raises(InputError, match=r"Expected .*; found "):
            check_writable(path)
        with pytest.raises(InputError, match=r"Expected .*; found "):
            write_clip(Frames(smooth_clip(2), Fraction(8)), path)
    check_writable(tmp_path / "new" / "clip.mp4")
    assert os.listdir(tmp_path / "new") == []
