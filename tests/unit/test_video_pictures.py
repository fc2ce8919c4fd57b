"""Pictures of every kind are read as they are meant, and bad ones get a sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svd_core.errors import FileFormatError, InputError
from svd_core.video_io import (
    read_image,
    read_picture,
)
from tests.smooth_clips import smooth_clip


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
