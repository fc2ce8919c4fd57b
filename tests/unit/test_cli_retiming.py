"""`svd animate --interpolate` and `--target-fps`: the model's frames, and new ones between them, in the file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from svd_core.video_io import read_clip, read_metadata
from tests.command_line import assert_refused, picture, run_here, small_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoint(tmp_path_factory.mktemp("model"))


def test_rates(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "cat.png")

    def made(name: str, *arguments: str) -> tuple[torch.Tensor, Fraction, dict[str, object]]:
        out = tmp_path / name
        done = run_here(capsys, "animate", image, "-o", out, "--model", model, "--fps", "6", *arguments, "--quiet")
        assert done.code == 0, done.err
        clip = read_clip(out)
        return clip.pixels, clip.fps, read_metadata(out)

    plain, rate, _ = made("plain")
    assert (len(plain), rate) == (4, 6)
    doubled, rate, told = made("doubled", "--interpolate", "2")
    assert (len(doubled), rate) == (7, 12) and told["interpolate"] == "2" and told["frames"] == 4
    assert torch.equal(doubled[::2], plain)
    exact, rate, told = made("exact", "--target-fps", "24")
    assert (len(exact), rate) == (13, 24) and told["target_fps"] == "24"
    assert torch.equal(exact[::4], plain)
    fewer, rate, _ = made("fewer", "--target-fps", "3")
    assert torch.equal(fewer, plain[::2]) and rate == 3


def test_nonsense_is_told_before_the_model_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, out = picture(tmp_path / "cat.png"), tmp_path / "out.mp4"
    for arguments, words in (
        (("--interpolate", "2", "--target-fps", "24"), ("--interpolate and --target-fps", "both")),
        (("--interpolate", "0"), ("--interpolate", "'0'")),
        (("--target-fps=-3",), ("--target-fps", "'-3'")),
    ):
        done = run_here(capsys, "animate", image, "-o", out, *arguments, "--quiet")
        assert_refused(done, *words)
    assert not out.exists()
