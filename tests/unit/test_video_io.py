"""Clips: what goes in comes out, and damaged files get a sentence."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from svd_core.errors import InputError, SvdError
from svd_core.types import Frames
from svd_core.video_io import (
    iter_frames,
    probe,
    read_clip,
    read_metadata,
    write_clip,
    write_frames,
)
from tests.smooth_clips import SUFFIXES, psnr, smooth_clip

RATES = (Fraction(7), Fraction(30000, 1001), Fraction(25, 2))
# Lossy codecs on a smooth clip; measured 33 to 59 dB (gif 26, for its 256 colours).
FLOOR = {".mp4": 32.0, ".webm": 33.0, ".gif": 24.0, ".webp": 33.0, "": 58.0}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("fps", RATES)
def test_clip_comes_back(tmp_path: Path, suffix: str, fps: Fraction) -> None:
    clip = smooth_clip()
    metadata = {"seed": 3, "name": "Grüße 🙂", "list": [1, 2]}
    path = write_clip(Frames(clip, fps), tmp_path / f"clip{suffix}", metadata)
    back = read_clip(path)
    assert back.fps == fps
    assert probe(path).fps == fps
    assert back.pixels.shape == clip.shape
    assert back.pixels.dtype == torch.float32
    quality = psnr(back.pixels, clip)
    assert quality >= FLOOR[suffix], f"{quality:.1f} dB below {FLOOR[suffix]} in {suffix}"
    bias = float((back.pixels - clip).mean().abs())
    assert bias <= 0.004, f"mean brightness moved by {bias:.4f} in {suffix}"
    assert {key: read_metadata(path)[key] for key in metadata} == metadata
    assert os.listdir(tmp_path) == [path.name]


def test_colours_survive_video(tmp_path: Path) -> None:
    """A wrong matrix or range shows as a shift of flat colours."""
    colours = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0.2, 0.5, 0.8]])
    clip = colours.repeat_interleave(16, 0).repeat(64, 1, 1)[None].repeat(3, 1, 1, 1)
    for suffix in (".mp4", ".webm"):
        back = read_clip(write_clip(Frames(clip, Fraction(8)), tmp_path / f"c{suffix}")).pixels
        # Away from the borders, where chroma is shared by neighbours.
        centres = back[1, 32, 8::16]
        worst = float((centres - colours).abs().max())
        assert worst <= 0.02, f"a flat colour is off by {worst:.3f} in {suffix}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_repeated_frames_are_kept(tmp_path: Path, suffix: str) -> None:
    clip = smooth_clip(frames=5)
    clip[2] = clip[1]
    clip[4] = clip[3]
    path = write_clip(Frames(clip, Fraction(7)), tmp_path / f"clip{suffix}", {"frames": 5})
    assert len(read_clip(path)) == 5
    assert probe(path).fps == 7


def test_odd_sizes_are_widened_in_video_only(tmp_path: Path) -> None:
    clip = smooth_clip(height=33, width=47)
    for suffix, shape in (
        (".mp4", (34, 48)),
        (".webm", (34, 48)),
        (".gif", (33, 47)),
        (".webp", (33, 47)),
        ("", (33, 47)),
    ):
        back = read_clip(write_clip(Frames(clip, Fraction(8)), tmp_path / f"odd{suffix}"))
        assert tuple(back.pixels.shape[1:3]) == shape, suffix


def test_same_clip_same_bytes(tmp_path: Path) -> None:
    clip = Frames(smooth_clip(), Fraction(8))
    for suffix in SUFFIXES[:-1]:
        first = write_clip(clip, tmp_path / f"a{suffix}", {"seed": 1}).read_bytes()
        assert first == write_clip(clip, tmp_path / f"b{suffix}", {"seed": 1}).read_bytes(), suffix


def test_retimed_file_keeps_its_own_rate(tmp_path: Path) -> None:
    """The stored rate is believed only while it agrees with the container."""
    path = write_clip(Frames(smooth_clip(), Fraction(24)), tmp_path / "clip.mp4", {"fps": "7"})
    assert read_clip(path).fps == 24
    liar = tmp_path / "liar.gif"
    Image.open(write_clip(Frames(smooth_clip(), Fraction(8)), tmp_path / "c.gif")).save(
        liar, save_all=True, duration=500, comment=b'{"fps":"8"}'
    )
    assert read_clip(liar).fps == 2
    assert len(read_clip(liar)) == Image.open(liar).n_frames


def test_rates_of_strangers_cost_nothing(tmp_path: Path) -> None:
    """Neither a number of a billion digits nor a rate that would repeat every frame a thousand times."""
    frames = [Image.fromarray(np.full((8, 8), shade, np.uint8)) for shade in (0, 200)]
    for rate in ("20000", "1e999999999", "1e-999999999", "9" * 5000):
        path = tmp_path / "clip.gif"
        comment = f'{{"fps":"{rate}"}}'.encode()
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, comment=comment)
        clip = read_clip(path)
        assert (len(clip), clip.fps) == (2, 10), rate


def test_frames_stream_in_and_out_one_at_a_time(tmp_path: Path) -> None:
    clip = smooth_clip(frames=8)
    written = 0

    def counted() -> object:
        nonlocal written
        for frame in clip:
            written += 1
            yield frame

    path = write_frames(counted(), tmp_path / "clip.mp4", Fraction(8))  # type: ignore[arg-type]
    assert written == 8
    reader = iter_frames(path)
    assert next(reader).shape == clip.shape[1:]
    assert sum(1 for _ in reader) == 7


def test_folder_is_counted_like_people_count(tmp_path: Path) -> None:
    for index in (0, 2, 10, 1):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(tmp_path / f"frame {index}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    reds = [round(float(frame[0, 0, 0]) * 255) for frame in iter_frames(tmp_path)]
    assert reds == [0, 1, 2, 10]
    with pytest.raises(InputError, match="none stored"):
        read_clip(tmp_path)
    assert read_clip(tmp_path, fps=Fraction(12)).fps == 12


def test_folder_with_two_sizes_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    Image.new("RGB", (8, 9)).save(tmp_path / "1.png")
    with pytest.raises(InputError, match="8x8 and 8x9"):
        read_clip(tmp_path, fps=Fraction(1))


def test_bad_clips_get_three_parts(tmp_path: Path) -> None:
    good = write_clip(Frames(smooth_clip(), Fraction(8)), tmp_path / "good.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(good.read_bytes()[:-2000])
    noise = tmp_path / "noise.webm"
    noise.write_bytes(bytes(range(256)) * 8)
    broken_gif = tmp_path / "broken.gif"
    broken_gif.write_bytes(write_clip(Frames(smooth_clip(), Fraction(8)), tmp_path / "g.gif").read_bytes()[:900])
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in (cut, noise, broken_gif, bare, tmp_path / "none.mp4"):
        with pytest.raises(SvdError, match=r"Expected .*; found "):
            read_clip(path)


def test_suffix_without_a_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in front of the suffix"):
        write_clip(Frames(smooth_clip(), Fraction(8)), tmp_path / ".mp4")
    assert os.listdir(tmp_path) == []


def test_no_frames_and_unknown_suffix(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        with pytest.raises(InputError, match="at least one frame"):
            write_frames(iter(()), tmp_path / f"none{suffix}", Fraction(8))
    with pytest.raises(InputError, match=r"clip\.avi"):
        write_clip(Frames(smooth_clip(), Fraction(8)), tmp_path / "clip.avi")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.webp", "frames"])
def test_tags_stand_under_their_own_names_beside_ours(name: str, tmp_path: Path) -> None:
    clip = Frames(torch.rand(3, 32, 32, 3, generator=torch.Generator().manual_seed(0)), Fraction(8))
    tags = {"prompt": '{"1": {"inputs": {"text": "\\u00e4"}}}', "workflow": '{"nodes": []}'}
    path = write_clip(clip, tmp_path / name, {"seed": 7}, tags)
    assert read_metadata(path)["seed"] == 7
    if path.suffix in (".mp4", ".webm"):
        with av.open(str(path)) as container:
            found = {key.lower(): value for key, value in container.metadata.items()}
    elif path.suffix == ".webp":
        exif = Image.open(path).getexif()
        found = dict(exif[code].split(":", 1) for code in (0x0110, 0x010F))
    else:
        found = Image.open(path / "0000.png").info
    assert {key: found[key] for key in tags} == tags


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_clip_longer_than_its_settings_keeps_its_rate(tmp_path: Path, suffix: str) -> None:
    """Settings tell the frames that were sampled; retimed and joined clips have others."""
    path = write_clip(Frames(smooth_clip(frames=9), Fraction(8)), tmp_path / f"clip{suffix}", {"frames": 5})
    clip = read_clip(path)
    assert (len(clip), clip.fps) == (9, 8)
