"""The picture's way in: every layout, range, transparency, size and crop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from svd_core.errors import InputError
from svd_core.source_image import check_size, fit_image, to_pixels

PIXELS = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", ["b h w c", "b c h w", "h w c", "c h w"])
@pytest.mark.parametrize("kind", ["tensor", "numpy", "double"])
def test_layouts(layout: str, kind: str) -> None:
    image = PIXELS if layout.startswith("b") else PIXELS[:1]
    given = image.permute(0, 2, 3, 1) if layout.endswith("c") else image
    given = given if layout.startswith("b") else given[0]
    given = given.numpy() if kind == "numpy" else given.double() if kind == "double" else given
    pixels = to_pixels(given)
    assert pixels.dtype == torch.float32 and torch.equal(pixels, image)


def test_bytes_and_pil_agree() -> None:
    array = (PIXELS[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    expected = torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255
    assert torch.equal(to_pixels(array), expected)
    assert torch.equal(to_pixels(Image.fromarray(array)), expected)


def test_grey_palette_and_rotated_pil_images() -> None:
    grey = Image.new("L", (6, 4), 51)
    assert torch.equal(to_pixels(grey), torch.full((1, 3, 4, 6), 0.2))
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = Image.new("RGB", (6, 4), (255, 0, 0))
    rotated.putpixel((0, 0), (0, 0, 255))
    rotated.getexif().update(exif)
    upright = to_pixels(rotated)
    assert upright.shape == (1, 3, 6, 4) and upright[0, :, 0, 3].tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="mode I;16"):
        to_pixels(Image.new("I;16", (8, 8)))


def test_transparency_goes_over_black_or_the_asked_colour() -> None:
    rgba = torch.ones(8, 8, 4)
    rgba[..., 3] = 0.25
    assert torch.equal(to_pixels(rgba), torch.full((1, 3, 8, 8), 0.25))
    over_red = to_pixels(rgba, background=(1.0, 0.0, 0.0))
    assert over_red[0, :, 0, 0].tolist() == [1.0, 0.25, 0.25]
    pil = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    assert not to_pixels(pil).any()


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (PIXELS * 2 - 1, "values in"),
        (PIXELS * 255, "values in"),
        (PIXELS * math.nan, "values in"),
        (torch.ones(5, 5), "shape"),
        (torch.ones(2, 5, 5, 2), "shape"),
        (torch.ones(0, 3, 5, 5), "shape"),
        (torch.ones(5, 5, 3, dtype=torch.int32), "int32"),
    ],
)
def test_wrong_images_are_refused(image: torch.Tensor, word: str) -> None:
    with pytest.raises(InputError, match=word):
        to_pixels(image)


def test_slight_overshoot_is_clipped() -> None:
    pixels = to_pixels(PIXELS * 1.1 - 0.05)
    assert float(pixels.min()) == 0 and float(pixels.max()) == 1


def test_size_on_the_grid() -> None:
    assert check_size((1024, 576), 8) == (1024, 576)
    assert check_size((72, 104), 8) == (72, 104)
    with pytest.raises(InputError, match=r"multiples of 8; found 1023x577\. .*1016x576 or 1024x584"):
        check_size((1023, 577), 8)
    with pytest.raises(InputError, match="nearest sizes are 8x8"):
        check_size((0, -5), 8)
    with pytest.raises(InputError, match="1024x576"):
        check_size((64,), 8)


def test_right_size_passes_untouched() -> None:
    assert fit_image(PIXELS, 30, 20) is not None
    assert torch.equal(fit_image(PIXELS, 30, 20), PIXELS)


def test_centre_crop_keeps_proportions() -> None:
    wide = torch.zeros(1, 3, 20, 60)
    wide[..., 20:40] = 1
    assert torch.equal(fit_image(wide, 20, 20), torch.ones(1, 3, 20, 20))
    tall = wide.transpose(-1, -2)
    assert torch.equal(fit_image(tall, 20, 20), torch.ones(1, 3, 20, 20))


def test_reduction_is_antialiased() -> None:
    """A one-pixel checkerboard becomes even grey; nearest or plain bicubic would keep black or white."""
    board = ((torch.arange(128)[:, None] + torch.arange(128)[None]) % 2).float().expand(1, 3, 128, 128)
    small = fit_image(board, 24, 24)
    assert float((small - 0.5).abs().max()) < 0.02
    plain = torch.nn.functional.interpolate(board, (24, 24), mode="bicubic")
    assert float((plain - 0.5).abs().max()) > 0.1


@pytest.mark.parametrize(("width", "height"), [(8, 8), (16, 80), (80, 16), (256, 256), (33, 7)])
def test_any_target_size_stays_in_range(width: int, height: int) -> None:
    fitted = fit_image((PIXELS > 0.5).float(), width, height)
    assert fitted.shape == (2, 3, height, width)
    assert float(fitted.min()) >= 0 and float(fitted.max()) <= 1
