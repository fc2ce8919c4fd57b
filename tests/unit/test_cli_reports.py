"""The commands that look and tell: inspect, measure, demo, selftest, bench."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from PIL import Image

from svd_core.cli import benches, checks, demo, yardstick
from svd_core.cli import measure as measure_command
from svd_core.cli.checks import Result
from svd_core.cli.stopwatch import Timing, compare
from svd_core.errors import InputError
from svd_core.types import Frames
from svd_core.video_io import read_clip, read_metadata, write_clip
from tests.command_line import ROOT, assert_refused, picture, run_here, small_checkpoint

DIRECTIONS = ("pan", "tilt", "zoom", "roll")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("model"))


# inspect


def test_inspect(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(capsys, "inspect", model, "--json")
    facts = json.loads(outcome.out)
    keys = ("kind", "family", "layout", "dtype", "tensors", "parameters", "missing", "unexpected", "mismatched")
    assert set(keys) <= set(facts)
    assert (facts["kind"], facts["family"], facts["missing"]) == ("model", "svd", [])
    shown = run_here(capsys, "inspect", model).out
    assert f"{facts['parameters']:,}" in shown and "family" in shown
    assert json.loads(run_here(capsys, "inspect", "nano", "--json").out)["variant"] == "nano"


def test_inspect_is_quick_and_without_torch(model: Path) -> None:
    code = (
        "import sys\n"
        "from svd_core.cli.main import main\n"
        f"code = main(['inspect', {str(model)!r}])\n"
        "sys.exit(3 if 'torch' in sys.modules else code)\n"
    )
    started = time.process_time()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert time.process_time() - started < 5


def test_inspect_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("empty.safetensors", b""), ("cut.safetensors", b"\xff" * 8), ("p.pt", b"\x80\x02}q\x00.")):
        (tmp_path / name).write_bytes(content)
        assert_refused(run_here(capsys, "inspect", tmp_path / name, "--json"), name)
    assert_refused(run_here(capsys, "inspect", tmp_path / "none"), "none")


# measure


def panning(path: Path, frames: int = 6, step: int = 3) -> Path:
    """A camera that looks right by `step` pixels of 120 a frame."""
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(1, 3, 20, 40, generator=generator)
    wide = torch.nn.functional.interpolate(base, size=(80, 120 + step * frames), mode="bicubic").clamp(0, 1)[0]
    clip = torch.stack([wide[:, :, step * t : step * t + 120].permute(1, 2, 0) for t in range(frames)])
    return write_clip(Frames(clip, Fraction(10)), path)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ""])
def test_measure(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = panning(tmp_path / f"clip{suffix}")
    facts = json.loads(run_here(capsys, "measure", path, "--json").out)
    assert (facts["frames"], facts["fps"]) == (6, 10)
    for key in ("per_frame", "mean", "per_second"):
        assert set(facts[key]) == set(DIRECTIONS), key
    assert all(len(facts["per_frame"][axis]) == 5 for axis in DIRECTIONS)
    assert all(isinstance(facts[key], float) for key in ("motion", "flicker", "colour_drift", "sharpness"))
    assert facts["mean"]["pan"] == pytest.approx(2.5, abs=0.1), facts["mean"]
    assert facts["per_second"]["pan"] == pytest.approx(25, abs=1)
    assert abs(facts["mean"]["tilt"]) < 0.1
    shown = run_here(capsys, "measure", path).out
    assert "pan" in shown and "per second" in shown


def test_measure_folder_without_a_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, frame in enumerate(read_clip(panning(tmp_path / "clip.webp")).pixels):
        Image.fromarray((frame * 255).to(torch.uint8).numpy()).save(folder / f"{index}.png")
    outcome = run_here(capsys, "measure", folder, "--json")
    assert json.loads(outcome.out)["fps"] == 24
    assert "stores no rate" in outcome.err
    outcome = run_here(capsys, "measure", folder, "--json", "--fps", "12.5")
    assert json.loads(outcome.out)["fps"] == 12.5
    assert "stores no rate" not in outcome.err


def test_measure_without_texture_does_not_print_zeros(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plain.mp4"
    write_clip(Frames(torch.full((4, 48, 48, 3), 0.5), Fraction(8)), path)
    shown = run_here(capsys, "measure", path).out
    assert "could not be measured" in shown and "per second" not in shown
    assert json.loads(run_here(capsys, "measure", path, "--json").out)["trusted"] == 0


def test_measure_reduces_large_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from svd_core.cli.output import Console

    monkeypatch.setattr(measure_command, "_LONGEST_SIDE", 60)
    clip = measure_command.read(panning(tmp_path / "a.webp"), None, Console(quiet=True))
    assert clip.pixels.shape[1:] == (40, 60, 3)
    monkeypatch.setattr(measure_command, "_MOST_BYTES", 100_000)
    with pytest.raises(InputError, match="fits into memory"):
        measure_command.read(tmp_path / "a.webp", None, Console(quiet=True))


def test_measure_bad_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = picture(tmp_path / "still.png")
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 500)
    (tmp_path / "bare").mkdir()
    assert_refused(run_here(capsys, "measure", still), "at least 2 frames")
    assert_refused(run_here(capsys, "measure", tmp_path / "broken.mp4"), "broken.mp4")
    assert_refused(run_here(capsys, "measure", tmp_path / "bare"), "none in")
    assert_refused(run_here(capsys, "measure", tmp_path / "gone.mp4"), "gone.mp4")
    assert_refused(run_here(capsys, "measure", still, "--fps", "0"), "--fps")


# demo


def test_demo(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_ASSETS", tmp_path)
    out = tmp_path / "out"
    assert_refused(run_here(capsys, "demo", "--out", out, "--model", model), "bundled picture")
    picture(tmp_path / "harbour.png")
    outcome = run_here(capsys, "demo", "--out", out, "--model", model)
    assert outcome.code == 0, outcome.err
    assert str(out) in outcome.out and "sheet.png" in outcome.out
    report = json.loads((out / "report.json").read_text())
    assert len(report["clips"]) == 10
    moves = [clip["settings"]["camera"][0]["preset"] for clip in report["clips"] if "camera" in clip["settings"]]
    assert moves == ["static", "pan_left", "tilt_up", "zoom_in"]
    assert {clip["settings"]["motion_bucket"] for clip in report["clips"]} == {48, 90, 127}
    for clip in report["clips"]:
        assert clip["seed"] == clip["settings"]["seed"] and clip["seconds"] > 0
        assert set(clip["track"]["mean"]) == set(DIRECTIONS) and clip["track"]["frames"] == 4
        assert clip["track"]["pairs_lost"] == sum(value < 0.15 for value in clip["track"]["confidence"])
        frames = read_clip(out / clip["file"])
        # 32 x 24 pixels, ten times as large for the player.
        assert tuple(frames.pixels.shape) == (4, 240, 320, 3)
        assert read_metadata(out / clip["file"])["seed"] == clip["seed"]
    assert "torch" in report["versions"]
    assert sorted(os.listdir(out)) == sorted([*(clip["file"] for clip in report["clips"]), "report.json", "sheet.png"])
    again = run_here(capsys, "demo", "--out", out, "--model", model, "--json")
    assert [clip["file"] for clip in json.loads(again.out)["clips"]] == [clip["file"] for clip in report["clips"]]


def test_demo_somewhere_it_cannot_write(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = picture(tmp_path / "taken.png")
    assert_refused(run_here(capsys, "demo", "--out", taken, "--model", model, "--image", taken), "taken.png")


# selftest


def test_selftest_passes(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # The comparison with diffusers has parity tests of its own, and importing it takes longer than all the rest.
    monkeypatch.setattr(yardstick, "available", lambda: False)
    two_levels = dataclasses.replace(checks.SMALL_UNET, channels=(32, 64), attention=(True, True))
    monkeypatch.setattr(checks, "SMALL_UNET", two_levels)
    outcome = run_here(capsys, "selftest", "--device", "cpu", "--model", model, "--json")
    facts = json.loads(outcome.out)
    failed = [check for check in facts["checks"] if check["verdict"] == "fail"]
    assert outcome.code == 0 and not failed, failed
    assert {check["group"] for check in facts["checks"]} >= {"unet", "precision", "model"}
    measured = [check for check in facts["checks"] if check["verdict"] == "pass"]
    assert len(measured) >= 8 and all(check["measured"] <= check["limit"] for check in measured)


def test_selftest_fails_aloud(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong number and a check that cannot run: both in the table, exit code 1, the others still run."""
    for name in ("against_diffusers", "halves", "decoding", "unet_paths"):
        if hasattr(checks, name):
            monkeypatch.setattr(checks, name, lambda _: iter([Result(name="too far", measured=2.0, limit=1.0)]))
    outcome = run_here(capsys, "selftest", "--device", "cpu", "--model", "nowhere.safetensors")
    assert outcome.code == 1
    assert "too far" in outcome.out and "FAIL" in outcome.out and "nowhere.safetensors" in outcome.out
    assert "Traceback" not in outcome.err


def test_nan_is_no_pass() -> None:
    assert not Result(name="a", measured=float("nan"), limit=1.0).passed
    assert Result(name="a", measured=1.0, limit=1.0).passed
    assert not Result(name="a", measured=1.1, limit=1.0).passed


def test_checks_notice_a_broken_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proofs must be able to fail: a hoisted path with another context is caught."""
    honest = checks.HoistedUNet

    def wrong(unet: object, context: torch.Tensor, *rest: object, **more: object) -> object:
        return honest(unet, context * 1.01, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(checks, "HoistedUNet", wrong)
    with torch.no_grad():
        verdicts = {result.name: result.passed for result in checks.unet_paths(torch.device("cpu"))}
    assert not verdicts["hoisted constants = full path"]
    assert verdicts["collapsed attention = full attention"]


# bench


def test_compare_takes_turns() -> None:
    calls: list[str] = []
    ways = {"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), time.sleep(0.01))}
    timings = compare(ways, torch.device("cpu"), rounds=3)
    assert calls == ["a", "b"] * 4
    assert timings[1].seconds >= 0.01 > timings[0].seconds
    assert timings[0].peak_bytes is None


def test_bench_prints_ratios(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(_: torch.device) -> list[Timing]:
        """Two ways."""
        return [Timing(name=name, seconds=s, peak_bytes=None) for name, s in (("slow", 2.0), ("fast", 1.0))]

    monkeypatch.setitem(benches.BENCHES, "plans", quick)
    facts = json.loads(run_here(capsys, "bench", "plans", "--json", "--device", "cpu").out)
    assert [way["ratio"] for way in facts["benches"]["plans"]] == [1.0, 0.5]
    assert "0.500" in run_here(capsys, "bench", "plans", "--device", "cpu").out


def test_bench_bad_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(run_here(capsys, "bench", "warp"), "plans", "'warp'")
    assert_refused(run_here(capsys, "bench", "real-size", "--device", "cpu"), "CUDA")
    with pytest.raises(SystemExit):
        run_here(capsys, "bench", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    for name in benches.BENCHES:
        assert name in shown, name


@pytest.mark.slow
def test_selftest_against_diffusers() -> None:
    pytest.importorskip("diffusers")
    with torch.no_grad():
        (result,) = checks.against_diffusers(torch.device("cpu"))
    assert not result.skipped and result.passed, result


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in benches.BENCHES if name != "real-size"])
def test_every_bench_runs(name: str) -> None:
    with torch.no_grad():
        timings = benches.BENCHES[name](torch.device("cpu"))
    assert len(timings) >= 2 and all(timing.seconds > 0 for timing in timings)
