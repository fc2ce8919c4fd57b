"""`svd animate` on a small model with random weights: what it writes, and what it says to bad input."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image

from svd_core.cli import animate as command
from svd_core.cli import render as render_module
from svd_core.errors import NumericsError
from svd_core.sampling import GUIDANCE_SHAPES, SCHEDULE_NAMES, SOLVER_NAMES
from svd_core.types import Frames
from svd_core.video_io import read_clip, read_metadata
from svd_core.video_io import writers as writers_module
from tests.command_line import ROOT, Outcome, assert_refused, picture, run_here, run_there, small_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return picture(tmp_path / "cat.png")


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp", ""])
def test_every_kind_of_clip(
    suffix: str, model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"clip{suffix}"
    outcome = run_here(capsys, "animate", image, "-o", out, "--model", model, "--seed", "5", "--fps", "6")
    assert outcome.code == 0, outcome.err
    assert str(out) in outcome.out
    clip = read_clip(out)
    assert (len(clip), clip.fps) == (4, 6)
    assert clip.pixels.shape[1:3] == (24, 32)
    settings = read_metadata(out)
    expected = {"image": "cat.png", "model": "small", "seed": 5, "fps": "6", "size": "32x24", "steps": 3, "frames": 4}
    assert {key: settings[key] for key in expected} == expected
    assert settings["versions"]["torch"] == torch.__version__
    assert len(settings["sigmas"]) == 4 and settings["sigmas"][-1] == 0
    if not suffix:
        assert sorted(os.listdir(out)) == [f"{index:04d}.png" for index in range(4)]


def test_options_reach_the_clip(model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {
        "--size": "40x24",
        "--frames": "3",
        "--fps": "9",
        "--playback-fps": "30000/1001",
        "--motion-bucket": "33.5",
        "--augmentation": "0.1",
        "--steps": "2",
        "--solver": "heun",
        "--schedule": "align_your_steps",
        "--guidance": "triangle:1:2",
        "--decode-chunk": "2",
        "--dtype": "fp32",
        "--device": "cpu",
    }
    words = [word for pair in options.items() for word in pair]
    outcome = run_here(capsys, "animate", image, "-o", tmp_path / "a.webp", "--model", model, "--json", *words)
    assert outcome.code == 0, outcome.err
    (clip,) = json.loads(outcome.out)["clips"]
    settings = clip["settings"]
    expected = {
        "size": "40x24",
        "frames": 3,
        "fps_hint": 9,
        "motion_bucket": 33.5,
        "augmentation": 0.1,
        "steps": 2,
        "solver": "heun",
        "schedule": "align_your_steps",
        "guidance": [1.0, 2.0, 1.0],
        "decode_chunk": 2,
        "device": "cpu",
        "dtype": "float32",
    }
    assert {key: settings[key] for key in expected} == expected
    assert clip["fps"] == "30000/1001"
    assert read_clip(tmp_path / "a.webp").fps == Fraction(30000, 1001)


def test_several_pictures_and_one_bad_one(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders and doubled names included; what is broken costs its own clip only, and the exit code says so."""
    folder = tmp_path / "in"
    folder.mkdir()
    picture(folder / "cat.png", seed=1)
    (folder / "broken.jpg").write_text("no picture")
    out = tmp_path / "clips"
    outcome = run_here(capsys, "animate", image, folder, "-o", out, "--model", model, "--format", "gif", "--json")
    assert outcome.code == 1
    assert "1 of 3 pictures failed" in outcome.err and "broken.jpg" in outcome.err and "Traceback" not in outcome.err
    result = json.loads(outcome.out)
    assert sorted(os.listdir(out)) == ["cat-2.gif", "cat.gif"]
    assert [Path(entry["file"]).name for entry in result["clips"]] == ["cat.gif", "cat-2.gif"]
    assert [Path(entry["image"]).name for entry in result["failed"]] == ["broken.jpg"]
    assert not torch.equal(read_clip(out / "cat.gif").pixels, read_clip(out / "cat-2.gif").pixels)


def test_same_seed_same_bytes_in_another_process(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_there("animate", image, "-o", tmp_path / "there.mp4", "--model", model, "--seed", "3")
    assert outcome.code == 0, outcome.err
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed, same in (("3", True), ("4", False)):
            run_here(capsys, "animate", image, "-o", tmp_path / "here.mp4", "--model", model, "--seed", seed)
            assert ((tmp_path / "here.mp4").read_bytes() == (tmp_path / "there.mp4").read_bytes()) == same
    finally:
        torch.set_num_threads(threads)


BAD_VALUES = [
    (("--frames", "0"), "2 .. 256", "'0'"),
    (("--frames", "1"), "2 .. 256", "'1'"),
    (("--frames", "500"), "2 .. 256", "'500'"),
    (("--size", "33x24"), "multiples of 4", "33x24", "32x24"),
    (("--size", "big"), "WIDTHxHEIGHT", "'big'"),
    (("--fps", "0"), "--fps", "'0'"),
    (("--motion-bucket", "300"), "0 .. 255", "'300'"),
    (("--augmentation", "-1"), "--augmentation"),
    (("--seed", "-1"), "--seed", "'-1'"),
    (("--steps", "0"), "--steps", "'0'"),
    (("--solver", "ode"), "euler", "'ode'"),
    (("--schedule", "linear"), "karras", "'linear'"),
    (("--guidance", "steep:1:2"), "linear:", "'steep:1:2'"),
    (("--decode-chunk", "0"), "--decode-chunk", "'0'"),
    (("--dtype", "int8"), "fp16", "int8"),
    (("--device", "toaster"), "cuda", "'toaster'"),
    (("--device", "cuda:99"), "cuda:99"),
    (("--model", "nowhere.safetensors"), "nowhere.safetensors"),
    (("--camera", "pan_lef"), "pan_left", "'pan_lef'"),
    (("--camera", "pan_left:fast"), "number", "'pan_left:fast'"),
    (("--camera", "pan_left:8:20-30"), "0-", "20-30"),
    (("--camera", "nowhere.json"), "nowhere.json"),
    (("--camera-lora", "nowhere.safetensors:0.5"), "nowhere.safetensors"),
    (("--freedom", "0"), "0.1 .. 10", "'0'"),
    (("--camera-folder", "nowhere"), "--camera-folder", "nowhere"),
]


@pytest.mark.parametrize("case", BAD_VALUES, ids=lambda case: " ".join(case[0]))
def test_bad_values(
    case: tuple[tuple[str, ...], ...], model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, *words = case
    outcome = run_here(capsys, "animate", image, "-o", tmp_path / "out.mp4", "--model", model, *options)
    assert_refused(outcome, *words)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["cat.png"]


def test_bad_outputs(model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "note").touch()

    def animate(*words: str | Path) -> Outcome:
        return run_here(capsys, "animate", *words, "--model", model)

    assert_refused(animate(image, "-o", tmp_path / "a.avi"), ".mp4", "a.avi")
    assert_refused(animate(image, "-o", image / "a.mp4"), "cat.png")
    assert_refused(animate(image, "-o", full), "with files in it")
    assert_refused(animate(image, image, "-o", tmp_path / "a.mp4"), "a folder for 2 clips")
    assert_refused(animate(image), "-o")
    assert_refused(animate(tmp_path / "none.png", "-o", tmp_path / "a.mp4"), "none.png")
    assert_refused(animate(full, "-o", tmp_path / "a.mp4"), "none in")
    if os.name != "nt":
        # Not even root may create files there.
        assert_refused(animate(image, "-o", "/proc/a.mp4"), "/proc/a.mp4")
    assert sorted(os.listdir(tmp_path)) == ["cat.png", "full"]


def test_pictures_are_never_replaced(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = tmp_path / "dog.gif"
    Image.open(image).save(moving)
    before = moving.read_bytes()
    for words in ((moving, "-o", moving), (image, moving, "-o", tmp_path, "--format", "gif")):
        assert_refused(run_here(capsys, "animate", *words, "--model", model), "dog.gif", "another name")
    assert moving.read_bytes() == before and sorted(os.listdir(tmp_path)) == ["cat.png", "dog.gif"]


def test_bad_models(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (
        ("empty.safetensors", b""),
        ("text.safetensors", b"hello" * 99),
        ("a.ckpt", b"\x80\x02}q\x00."),
    ):
        (tmp_path / name).write_bytes(content)
        outcome = run_here(capsys, "animate", image, "-o", tmp_path / "o.mp4", "--model", tmp_path / name)
        assert_refused(outcome, name)
    assert not (tmp_path / "o.mp4").exists()


def test_full_disk(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writers_module, "_write_video", full)
    outcome = run_here(capsys, "animate", image, "-o", tmp_path / "o.mp4", "--model", model, "--quiet")
    assert_refused(outcome, "a full disk", "Free some space", code=1)
    assert os.listdir(tmp_path) == ["cat.png"]


def test_ctrl_c_while_writing(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a clip is on disk when the user stops: nothing of it stays, and clips finished before do."""
    write = render_module.write_clip
    (tmp_path / "o.mp4").write_bytes(b"of yesterday")

    def stopped(frames: Frames, path: Path, metadata: dict[str, object]) -> Path:
        def half() -> Iterator[torch.Tensor]:
            yield from frames.pixels[:2]
            raise KeyboardInterrupt

        return writers_module.write_frames(half(), path, frames.fps, metadata)

    monkeypatch.setattr(render_module, "write_clip", stopped)
    outcome = run_here(capsys, "animate", image, "-o", tmp_path / "o.mp4", "--model", model, "--quiet")
    assert_refused(outcome, "Stopped", code=130)
    assert sorted(os.listdir(tmp_path)) == ["cat.png", "o.mp4"]
    assert (tmp_path / "o.mp4").read_bytes() == b"of yesterday"

    second = picture(tmp_path / "dog.png", seed=2)

    def stopped_at_second(frames: Frames, path: Path, metadata: dict[str, object]) -> Path:
        return (write if path.stem == "cat" else stopped)(frames, path, metadata)

    monkeypatch.setattr(render_module, "write_clip", stopped_at_second)
    outcome = run_here(
        capsys, "animate", image, second, "-o", tmp_path / "clips", "--model", model, "--json", "--quiet"
    )
    assert_refused(outcome, "Stopped", code=130)
    assert os.listdir(tmp_path / "clips") == ["cat.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_from_outside(model: Path, image: Path, tmp_path: Path) -> None:
    """A real SIGINT in the middle of sampling."""
    # A child of a background job may ignore SIGINT; a terminal's does not.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from svd_core.cli import render\n"
        "inner = render.animate_latents\n"
        "def told(*a, **k):\n    print('sampling', flush=True)\n    return inner(*a, **k)\n"
        "render.animate_latents = told\n"
        "from svd_core.cli.main import entry; entry()"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "animate",
        image,
        "-o",
        tmp_path / "o.mp4",
        "--model",
        model,
        "--steps",
        "1000",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None and process.stdout.readline() == "sampling\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "svd: Stopped." in err
    assert os.listdir(tmp_path) == ["cat.png"]


def test_failure_in_the_network_is_one_line(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise NumericsError("Expected finite latents; found NaN. Use float32.")

    monkeypatch.setattr(render_module, "animate_latents", broken)
    outcome = run_here(capsys, "animate", image, "-o", tmp_path / "o.mp4", "--model", model)
    assert_refused(outcome, "finite latents", code=1)


def test_help_lists_what_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """The names are written by hand so that help needs no torch; here they are held against the truth."""
    with pytest.raises(SystemExit):
        run_here(capsys, "animate", "--help")
    shown = capsys.readouterr().out
    for name in (*SOLVER_NAMES, *SCHEDULE_NAMES, *GUIDANCE_SHAPES):
        assert name in shown, name


def test_cautions(model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("animate", image, "-o", tmp_path / "o.gif", "--model", model, "--steps", "1")
    assert "trained on" in run_here(capsys, *words, "--frames", "6").err
    assert "own size of 32x24" in run_here(capsys, *words, "--size", "64x48").err
    assert run_here(capsys, *words, "--size", "36x24", "--frames", "4").err == ""
    assert run_here(capsys, *words, "--frames", "6", "--quiet").err == ""


def test_names_that_would_collide(tmp_path: Path) -> None:
    pictures = [Path(name) for name in ("a/x.png", "b/X.jpg", "c/x.gif", "x-2.png")]
    names = [path.name for path in command.plan_outputs(pictures, tmp_path / "out", "webp")]
    assert names == ["x.webp", "X-2.webp", "x-3.webp", "x-2-2.webp"]
