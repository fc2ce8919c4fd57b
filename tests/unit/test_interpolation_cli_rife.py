"""`svd interpolate --engine rife:FILE`."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from svd_core.video_io import iter_frames, read_metadata, write_frames
from tests.command_line import assert_refused, run_here
from tests.interpolation_scenes import scene
from tests.rife import recorded, weights

SIZE = (40, 56)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rife")
    shown = scene("translate", 1, SIZE)
    write_frames((shown.at(index / 4) for index in range(3)), folder / "in", Fraction(8))
    torch.save(weights(recorded()["4.17 lite"].shapes), folder / "flownet.pkl")
    return folder


def test_a_pickled_file_makes_the_frames(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = f"rife:{places / 'flownet.pkl'}"
    arguments = (places / "in", places / "out", "--engine", engine, "--factor", "2.5", "--cut-guard", "off")
    done = run_here(capsys, "interpolate", *arguments, "--batch", "2", "--json", "--quiet")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["frames"], facts["synthesised"], facts["fps_out"]) == (6, 4, 20.0)
    source, made = (list(iter_frames(places / name)) for name in ("in", "out"))
    assert torch.equal(made[0], source[0]) and torch.equal(made[5], source[2])
    assert (made[1] - source[0]).abs().mean() > 0.01
    assert read_metadata(places / "out")["interpolated"] == "rife 4.13", "no path of this machine in the file"


def test_bad_requests_are_one_line(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "page.pth").write_bytes(b"<html>")
    engine = f"rife:{places / 'flownet.pkl'}"
    cases: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("rife:",), ("a file of RIFE weights", "rife:flownet.pkl")),
        ((f"rife:{places / 'gone.pth'}",), ("RIFE weights", "nothing at", "gone.pth")),
        ((f"rife:{places / 'page.pth'}",), ("web page",)),
        ((engine, "--flow-scale", "0.7"), ("flow scale of 0.25, 0.5, 1, 2",)),
        ((engine, "--batch", "0"), ("--batch",)),
    ]
    for arguments, words in cases:
        done = run_here(capsys, "interpolate", places / "in", places / "no", "--quiet", "--engine", *arguments)
        assert_refused(done, *words)
    assert not (places / "no").exists()
