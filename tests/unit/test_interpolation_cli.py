"""`svd interpolate` from file to file."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from svd_core.errors import FileFormatError
from svd_core.interpolation.audio import add_sound
from svd_core.video_io import iter_frames, probe, read_clip, revisiting, write_frames
from tests.command_line import assert_refused, run_here
from tests.interpolation_scenes import scene

COUNT = 4


@pytest.fixture(scope="module")
def frames() -> list[Tensor]:
    shown = scene("translate", 1, (32, 48))
    return [shown.at(index / 4) for index in range(COUNT)]


@pytest.fixture(scope="module")
def clip(frames: list[Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(iter(frames), tmp_path_factory.mktemp("clip") / "clip.mp4", Fraction(8))


@pytest.fixture(scope="module")
def folder(frames: list[Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(iter(frames), tmp_path_factory.mktemp("frames") / "frames", Fraction(8))


def leftovers(path: Path) -> list[str]:
    return [file.name for file in path.iterdir()]


def test_a_folder_keeps_its_frames_bit_for_bit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_here(capsys, "interpolate", folder, tmp_path / "out", "--factor", "2.5", "--json", "--quiet")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["frames"], facts["source_frames"], facts["fps_out"]) == (8, COUNT, 20.0)
    made, source = list(iter_frames(tmp_path / "out")), list(iter_frames(folder))
    assert torch.equal(made[0], source[0]) and torch.equal(made[5], source[2])
    assert probe(tmp_path / "out").fps == 20


def test_target_rate_loop_and_drop(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def frames_of(name: str, *arguments: str) -> tuple[int, Fraction]:
        done = run_here(capsys, "interpolate", clip, tmp_path / name, "--engine", "blend", *arguments)
        assert done.code == 0, done.err
        made = read_clip(tmp_path / name)
        return len(made), made.fps

    assert frames_of("target.mp4", "--fps", "20") == (8, 20)
    assert frames_of("loop.gif", "--loop", "--factor", "3") == (12, 24)
    assert frames_of("pong.webp", "--ping-pong") == (12, 16)
    assert frames_of("whole.mp4", "--keep-duration") == (8, 16)
    assert frames_of("times.mp4", "--times", "0.5,0.75") == (10, 24)
    assert frames_of("half.mp4", "--fps", "4") == (2, 4)


def test_sound_is_copied(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound, source = tmp_path / "sound.mp4", tmp_path / "source.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        wave = np.sin(np.arange(4096) / 9, dtype=np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    add_sound(clip, sound, source, "mp4")

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            tracks = container.streams.audio
            return [bytes(packet) for packet in container.demux(tracks[0]) if packet.size] if tracks else []

    target = tmp_path / "with.mp4"
    done = run_here(capsys, "interpolate", source, target, "--engine", "blend", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["sound"] == "aac"
    assert packets(target) == packets(sound) != []
    assert len(read_clip(target)) == 7
    for name, option in (("mute.mp4", "--no-sound"), ("loop.mp4", "--loop")):
        assert run_here(capsys, "interpolate", source, tmp_path / name, "--engine", "blend", option).code == 0
        assert packets(tmp_path / name) == []
    assert not [name for name in leftovers(tmp_path) if name.startswith(".")]


def test_sound_that_cannot_be_copied_costs_no_frames(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise FileFormatError("Expected sound, found noise. Do without.")

    monkeypatch.setattr("svd_core.interpolation.audio.sound_of", lambda *_: "aac")
    monkeypatch.setattr("svd_core.interpolation.audio.add_sound", fails)
    target = tmp_path / "made.mp4"
    done = run_here(capsys, "interpolate", clip, target, "--engine", "blend")
    assert done.code == 0 and "no sound. Expected sound" in done.err
    assert len(read_clip(target)) == 7 and leftovers(tmp_path) == ["made.mp4"]


@pytest.mark.parametrize("name", ["made", "made.webm", "made.webp"])
def test_transparency_goes_along(
    name: str, frames: list[Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cover = torch.linspace(0, 1, 48).expand(32, 48)[..., None]
    clear = write_frames([torch.cat((frame, cover), dim=-1) for frame in frames], tmp_path / "clear", Fraction(8))
    done = run_here(capsys, "interpolate", clear, tmp_path / name, "--factor", "2", "--quiet")
    assert done.code == 0, done.err
    assert probe(clear).alpha and probe(tmp_path / name).alpha
    made = list(iter_frames(tmp_path / name, alpha=True))
    assert len(made) == 7 and all(frame.shape == (32, 48, 4) for frame in made)
    assert all(float((frame[..., 3:] - cover).abs().mean()) < 0.02 for frame in made)
    done = run_here(capsys, "interpolate", clear, tmp_path / "flat.mp4", "--engine", "blend")
    assert done.code == 0 and "holds no transparency" in done.err
    flat = next(iter_frames(tmp_path / "flat.mp4"))
    assert float((flat - frames[0] * cover).abs().mean()) < 0.03


def test_engines_by_scale_and_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_here(capsys, "interpolate", folder, tmp_path / "half", "--flow-scale", "0.5", "--quiet")
    assert done.code == 0 and len(list(iter_frames(tmp_path / "half"))) == 7, done.err
    (tmp_path / "refiner.safetensors").write_bytes(b"nothing")
    engine = f"flow:{tmp_path / 'refiner.safetensors'}"
    done = run_here(capsys, "interpolate", folder, tmp_path / "none", "--engine", engine, "--quiet")
    assert_refused(done, "a refiner in", "svd train refiner")


def test_one_frame_passes_through(frames: list[Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single = write_frames(frames[:1], tmp_path / "single", Fraction(8))
    done = run_here(capsys, "interpolate", single, tmp_path / "out", "--factor", "4", "--loop", "--quiet")
    assert done.code == 0 and torch.equal(next(iter_frames(tmp_path / "out")), next(iter_frames(single)))
    assert len(list(iter_frames(tmp_path / "out"))) == 1


def test_there_and_back_of_pictures_and_clips(
    folder: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in (folder, clip):
        target = tmp_path / f"{source.stem}_back"
        done = run_here(capsys, "interpolate", source, target, "--ping-pong", "--engine", "blend", "--quiet")
        assert done.code == 0, done.err
        made, given = list(iter_frames(target)), list(iter_frames(source))
        assert len(made) == 12
        for place, index in enumerate((0, 1, 2, 3, 2, 1)):
            assert torch.equal(made[2 * place], given[index])
    monkeypatch.setattr(revisiting, "_MOST_BYTES", 1000)
    done = run_here(capsys, "interpolate", clip, tmp_path / "long", "--ping-pong", "--quiet")
    assert_refused(done, "up to 4 GB", "--factor 1")
    assert not (tmp_path / "long").exists()


def test_failure_leaves_nothing_under_the_final_name(
    frames: list[Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = write_frames(iter(frames), tmp_path / "mixed", Fraction(8))
    write_frames(iter([frames[0][:16]]), tmp_path / "small", Fraction(8))
    (tmp_path / "small" / "0000.png").rename(mixed / "0004.png")
    before = leftovers(tmp_path)
    for target in ("out.mp4", "out"):
        done = run_here(capsys, "interpolate", mixed, tmp_path / target, "--engine", "blend", "--quiet")
        assert_refused(done, "every frame 48x32", "48x16 at frame 4")
    assert leftovers(tmp_path) == before


def test_bad_requests_are_one_line(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.mp4"
    cases: list[tuple[list[str], tuple[str, ...]]] = [
        (["--fps", "0"], ("--fps", "'0'")),
        (["--factor", "-2"], ("--factor as frames for one, above 0", "'-2'", "2.5")),
        (["--factor", "2", "--fps", "24"], ("--factor and --fps",)),
        (["--loop", "--ping-pong"], ("--loop and --ping-pong",)),
        (["--engine", "magic"], ("flow, blend, nearest, flow:FILE, rife:FILE, svd", "'magic'")),
        (["--cut-guard", "maybe"], ("cut guard", "'maybe'")),
        (["--ease", "bounce"], ("ease", "'bounce'")),
        (["--pairs", "x"], ("'x'",)),
    ]
    for arguments, words in cases:
        joined = [f"{name}" for name in arguments]
        if joined[0] == "--factor" and joined[1].startswith("-"):
            joined = ["--factor=-2"]
        assert_refused(run_here(capsys, "interpolate", clip, target, "--quiet", *joined), *words)
    assert_refused(run_here(capsys, "interpolate", clip, clip, "--quiet"), "beside the input")
    assert_refused(run_here(capsys, "interpolate", tmp_path / "no.mp4", target, "--quiet"), "nothing at")
    assert not target.exists() and math.isclose(float(probe(clip).fps or 0), 8)
