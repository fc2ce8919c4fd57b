"""Codecs and their qualities: each file holds what was asked for, and what cannot be is a sentence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from svd_core.errors import InputError
from svd_core.types import Frames
from svd_core.video_io import codecs, read_clip, read_metadata, write_clip
from svd_core.video_io.codecs import QUALITIES, Encoding, encoder_for
from tests.smooth_clips import psnr, smooth_clip

# Measured 36 dB and more at `high`.
FLOOR = 33.0


def written(folder: Path, suffix: str, encoding: Encoding) -> Path:
    try:
        return write_clip(Frames(smooth_clip(), Fraction(8)), folder / f"clip{suffix}", {"seed": 1}, encoding=encoding)
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("suffix", "codec", "inside"),
    [
        (".mp4", "h264", "h264"),
        (".mp4", "h265", "hevc"),
        (".mp4", "vp9", "vp9"),
        (".mp4", "av1", "av1"),
        (".webm", "vp9", "vp9"),
        (".webm", "av1", "av1"),
    ],
)
def test_every_codec_comes_back(tmp_path: Path, suffix: str, codec: codecs.Codec, inside: str) -> None:
    path = written(tmp_path, suffix, Encoding(codec))
    with av.open(str(path)) as container:
        found = container.streams.video[0].codec_context
        assert found.name.removeprefix("lib").startswith(inside) or inside in found.codec.canonical_name
        if codec == "h265":
            assert found.codec_tag == "hvc1", "Apple's players look for this tag"
    back = read_clip(path)
    assert psnr(back.pixels, smooth_clip()) > FLOOR and back.fps == 8
    assert read_metadata(path)["seed"] == 1


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".webp"])
def test_better_quality_is_nearer_and_larger(tmp_path: Path, suffix: str) -> None:
    noise = 0.2 * torch.rand(6, 48, 64, 3, generator=torch.Generator().manual_seed(1))
    clip = Frames((smooth_clip() + noise).clamp(0, 1), Fraction(8))
    found = []
    for quality in QUALITIES:
        path = write_clip(clip, tmp_path / f"{quality}{suffix}", encoding=Encoding(quality=quality))
        found.append((psnr(read_clip(path).pixels, clip.pixels), path.stat().st_size))
    assert found == sorted(found, reverse=True) and found[0][1] > 1.5 * found[-1][1], found


def test_what_a_container_does_not_hold_is_refused_before_a_file_exists(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"codec that webm holds; found h264. Choose one of vp9, av1"):
        write_clip(Frames(smooth_clip(2), Fraction(8)), tmp_path / "clip.webm", encoding=Encoding("h264"))
    assert not list(tmp_path.iterdir())


def test_a_missing_encoder_names_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_is_here", lambda name: name == "libx264")
    with pytest.raises(InputError, match=r"encoder for h265; found none of libx265. This PyAV can write h264"):
        encoder_for(".mp4", Encoding("h265"))
    with pytest.raises(InputError, match="no video at all"):
        encoder_for(".webm", Encoding())


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(InputError, match="auto, h264"):
        Encoding("mpeg2")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="best, high"):
        Encoding(quality="fine")  # pyright: ignore[reportArgumentType]


def test_equal_small_clips_are_equal_files(tmp_path: Path) -> None:
    """Sweeps compare clips by their bytes; by its macroblock tree libx264 wrote three in ten of this size otherwise."""
    stills = torch.rand(14, 3, 9, 16, generator=torch.Generator().manual_seed(0))
    pixels = torch.nn.functional.interpolate(stills, size=(96, 96), mode="bicubic").clamp(0, 1).movedim(1, -1)
    written = {write_clip(Frames(pixels, Fraction(8)), tmp_path / "clip.mp4").read_bytes() for _ in range(12)}
    assert len(written) == 1
    encoder = encoder_for(".mp4", Encoding())
    assert encoder.options_at(96, 96)["x264-params"] == "mbtree=0" and "x264-params" not in encoder.options_at(
        1024, 576
    )
