"""Pictures and clips: what goes in comes out, damaged files get a sentence, and outputs are whole or absent."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from svd_core.errors import FileFormatError, InputError, OutputError, SvdError
from svd_core.types import Frames
from svd_core.video_io import (
    atomic,
    atomic_file,
    check_writable,
    iter_frames,
    probe,
    read_clip,
    read_image,
    read_metadata,
    read_picture,
    write_clip,
    write_frames,
)
from svd_core.video_io import writers as writers_module
from svd_core.video_io.codecs import Encoding, encoder_for

SUFFIXES = (".mp4", ".webm", ".gif", ".webp", "")
RATES = (Fraction(7), Fraction(30000, 1001), Fraction(25, 2))
# Lossy codecs on a smooth clip; measured 33 to 59 dB (gif 26, for its 256 colours).
FLOOR = {".mp4": 32.0, ".webm": 33.0, ".gif": 24.0, ".webp": 33.0, "": 58.0}


def smooth_clip(frames: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(1, 3, 4, 6, generator=generator)
    still = torch.nn.functional.interpolate(base, size=(height, width + 3 * frames), mode="bicubic").clamp(0, 1)[0]
    return torch.stack([still[:, :, 3 * t : 3 * t + width].permute(1, 2, 0) for t in range(frames)])


def psnr(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float(-10 * torch.log10((actual - expected).square().mean().clamp_min(1e-12)))


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


# Pictures


def gradient(height: int = 20, width: int = 30) -> np.ndarray:
    return np.linspace(0, 65535, height * width).reshape(height, width).astype(np.uint16)


def png16(path: Path, colour_type: int, values: np.ndarray) -> Path:
    """A 16-bit PNG by hand: Pillow writes grey only."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(data)
    return path


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = gradient()
    expected = torch.from_numpy(values.astype(np.float32) / 65535)[..., None].expand(-1, -1, 3)
    grey = read_image(png16(tmp_path / "grey.png", 0, values))
    assert float((grey - expected).abs().max()) <= 1e-4, "16-bit grey keeps its depth"
    colour = read_image(png16(tmp_path / "rgb.png", 2, values[..., None].repeat(3, -1)))
    assert float((colour - expected).abs().max()) <= 1 / 255
    tiff = tmp_path / "grey.tif"
    Image.fromarray(values).save(tiff)
    assert float((read_image(tiff) - expected).abs().max()) <= 1e-4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    """All eight, against the definition in EXIF 2.3: 6 means turn a quarter clockwise to stand upright, ..."""
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :12] = 255
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(undo[orientation](upright))).save(path, exif=exif)
    assert torch.equal(read_image(path), torch.from_numpy(upright).float() / 255)


def test_modes(tmp_path: Path) -> None:
    rgb = Image.fromarray((smooth_clip(1)[0] * 255).to(torch.uint8).numpy())
    reference = read_image(_saved(rgb, tmp_path / "rgb.png"))
    for mode, suffix, limit in (
        ("P", "gif", 0.3),
        ("CMYK", "tif", 0.02),
        ("L", "png", 1.0),
        ("1", "png", 1.0),
        ("LA", "png", 1.0),
    ):
        pixels = read_image(_saved(rgb.convert(mode), tmp_path / f"{mode}.{suffix}"))
        assert pixels.shape == reference.shape
        assert float((pixels - reference).abs().max()) <= limit, mode


def _saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def test_transparency_is_kept_apart(tmp_path: Path) -> None:
    rgba = np.full((10, 12, 4), 200, np.uint8)
    rgba[:5, :, 3] = 0
    rgba[5:, :, 3] = 255
    path = _saved(Image.fromarray(rgba), tmp_path / "a.png")
    picture = read_picture(path)
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 0 and picture.alpha[-1, 0] == 1
    assert float(read_image(path)[0, 0, 0]) == 0.0
    assert float(read_image(path, background=1.0)[0, 0, 0]) == 1.0
    assert float(read_image(path)[-1, 0, 0]) == pytest.approx(200 / 255)
    assert read_picture(_saved(Image.new("RGB", (9, 9)), tmp_path / "b.png")).alpha is None


def test_animation_gives_first_frame_and_says_so(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), (value, 0, 0)) for value in (250, 10)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / "a.gif")
    assert float(picture.pixels[0, 0, 0]) > 0.9
    assert "2 frames" in picture.notices[0]


def _huge_png(path: Path) -> Path:
    """A header that promises 30000 x 30000 pixels over a handful of bytes."""
    body = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    head = b"IHDR" + body
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\0\0IDAT"
    )
    return path


def test_bad_pictures_get_three_parts(tmp_path: Path) -> None:
    good = _saved(Image.fromarray((smooth_clip(1)[0] * 255).to(torch.uint8).numpy()), tmp_path / "good.png")
    truncated = tmp_path / "cut.png"
    truncated.write_bytes(good.read_bytes()[:200])
    text = tmp_path / "text.jpg"
    text.write_text("no picture at all")
    empty = tmp_path / "empty.png"
    empty.touch()
    large = _saved(Image.new("1", (10000, 9000)), tmp_path / "large.png")
    cases = [
        (truncated, FileFormatError, "damaged"),
        (text, FileFormatError, "damaged or unknown"),
        (empty, FileFormatError, "an empty file"),
        (_saved(Image.new("RGB", (1, 1)), tmp_path / "one.png"), InputError, "1x1"),
        (_huge_png(tmp_path / "bomb.png"), InputError, "89 megapixels"),
        (large, InputError, "89 megapixels"),
        (tmp_path / "nowhere.png", InputError, "nothing at"),
        (tmp_path, InputError, "the folder"),
    ]
    for path, kind, words in cases:
        with pytest.raises(kind) as caught:
            read_image(path)
        message = str(caught.value)
        assert words in message and message.startswith("Expected ") and "; found " in message, message


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


# Whole or absent


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
