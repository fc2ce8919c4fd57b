"""Sizes for any picture, the four ways of framing, and the way back."""

from __future__ import annotations

import math

import pytest
import torch

from svd_core.errors import InputError
from svd_core.framing import FRAMINGS, check_picture, check_volume, choose_size, frame_picture, restore
from svd_core.source_image import fit_image

NATIVE = 1024 * 576


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        ((1920, 1080), (1024, 576)),
        ((1080, 1920), (576, 1024)),
        ((500, 500), (768, 768)),
        ((3000, 2000), (960, 640)),
        ((2000, 3000), (640, 960)),
    ],
)
def test_common_shapes_get_their_native_size(picture: tuple[int, int], size: tuple[int, int]) -> None:
    assert choose_size(*picture, NATIVE) == size


@pytest.mark.parametrize("aspect", [0.3, 0.56, 0.8, 1.0, 1.33, 1.9, 2.39, 3.5])
def test_any_shape_is_met_on_the_grid(aspect: float) -> None:
    width, height = choose_size(round(1000 * aspect), 1000, NATIVE)
    assert width % 64 == 0 and height % 64 == 0
    assert abs(math.log(width / height / aspect)) < 0.06, f"{width}x{height} for {aspect}"
    assert abs(math.log(width * height / NATIVE)) < 0.2, (
        f"{width}x{height} has {width * height / NATIVE:.2f} x the area"
    )


def test_extremes_stop_at_four_to_one() -> None:
    width, height = choose_size(20000, 100, NATIVE)
    assert 3.5 <= width / height <= 4


def test_a_small_area_has_a_finer_grid() -> None:
    assert choose_size(100, 100, 64 * 64) == (64, 64)
    width, height = choose_size(160, 90, 64 * 64)
    assert (width, height) != (64, 64) and width % 16 == 0 and height % 16 == 0


def picture(width: int, height: int) -> torch.Tensor:
    across = torch.linspace(0.2, 0.8, width).expand(height, width)
    down = torch.linspace(0.8, 0.2, height)[:, None].expand(height, width)
    return torch.stack([across, down, (across + down) / 2]).expand(2, 3, height, width)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_has_the_asked_size(framing: str) -> None:
    framed = frame_picture(picture(90, 160), 128, 64, framing)
    assert framed.pixels.shape == (2, 3, 64, 128)
    assert framed.pixels.min() >= 0 and framed.pixels.max() <= 1


def test_crop_is_what_the_command_line_does() -> None:
    framed = frame_picture(picture(90, 160), 128, 64, "crop")
    assert torch.equal(framed.pixels, fit_image(picture(90, 160), 128, 64))
    assert framed.kept == pytest.approx(90 / 160 / 2)


@pytest.mark.parametrize("framing", ["pad", "blur", "stretch"])
def test_restoring_gives_the_picture_back(framing: str) -> None:
    source = picture(90, 160)
    framed = frame_picture(source, 128, 64, framing)
    back = restore(framed.pixels.movedim(1, -1), framed.box).movedim(-1, 1)
    assert back.shape[-1] / back.shape[-2] == pytest.approx(90 / 160, rel=0.05)
    small = torch.nn.functional.interpolate(source, back.shape[-2:], mode="bicubic", antialias=True)
    assert (back - small).abs().max() < 0.03, f"off by {(back - small).abs().max():.3f}"


def test_padding_is_black_and_blur_is_not() -> None:
    bars = {way: frame_picture(picture(90, 160), 128, 64, way).pixels[..., :20] for way in ("pad", "blur")}
    assert bars["pad"].max() == 0
    assert bars["blur"].mean() > 0.2


def test_bars_may_be_white() -> None:
    assert frame_picture(picture(90, 160), 128, 64, "pad", bars=1.0).pixels[..., :20].min() == 1


def test_restoring_follows_an_upscaler() -> None:
    framed = frame_picture(picture(90, 160), 128, 64, "pad")
    twice = framed.pixels.repeat_interleave(2, 2).repeat_interleave(2, 3).movedim(1, -1)
    assert restore(twice, framed.box).shape[1:3] == (128, 2 * framed.box.width)


@pytest.mark.parametrize("size", [(1, 1), (4, 400), (20000, 20000)])
def test_impossible_pictures_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"{size[0]}x{size[1]}"):
        check_picture(*size)


def test_impossible_clips_are_refused() -> None:
    check_volume(1000, 1024, 576)
    with pytest.raises(InputError, match="1000 frames of 8192x8192"):
        check_volume(1000, 8192, 8192)


def test_an_unknown_framing_is_refused() -> None:
    with pytest.raises(InputError, match="crop, pad"):
        frame_picture(picture(9, 9), 64, 64, "letterbox")
