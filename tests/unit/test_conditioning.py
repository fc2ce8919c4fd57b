"""Conditioning: the numbers behind the vector, the noise on the picture, one picture a clip."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from svd_core.conditioning import (
    Orbit,
    assemble_vector,
    augment,
    check_controls,
    condition_on_images,
    condition_values,
    orbit_degrees,
)
from svd_core.config import SV3D_P, SV3D_U, SVD
from svd_core.errors import InputError, NumericsError
from svd_core.sinusoid import sinusoid
from svd_core.types import MotionControls

CONTROLS = MotionControls(fps=7, motion_bucket=127, augmentation=0.02, seed=3)


def pictures(count: int, height: int = 16, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(5)) * 2 - 1


def encode_latent(pixels: Tensor) -> Tensor:
    assert pixels.shape[0] == 1, "clips are encoded one by one"
    return pixels[:, :1, ::8, ::8].repeat(1, 4, 1, 1)


def encode_image(pixels: Tensor) -> Tensor:
    return pixels.mean(dim=(2, 3)).repeat(1, 8)


def condition(pixels: Tensor, controls: list[MotionControls], **changes):
    options = {"frames": 5, "vector": SVD.unet.vector, "encode_latent": encode_latent, "encode_image": encode_image}
    return condition_on_images(pixels, controls, **(options | changes))


def test_sinusoid_matches_the_published_values() -> None:
    small, six = sinusoid(torch.tensor([0.02]), 256)[0], sinusoid(torch.tensor([6.0]), 256)[0]
    expected = {0: 0.9998, 1: 0.999827, 128: 0.019999, 129: 0.01861}
    for index, value in expected.items():
        assert float(small[index]) == pytest.approx(value, abs=1e-6)
    for index, value in {0: 0.96017, 1: 0.765001, 128: -0.279415, 129: -0.644029}.items():
        assert float(six[index]) == pytest.approx(value, abs=2e-6)


def test_svd_vector_is_fps_minus_one_then_bucket_then_augmentation() -> None:
    vector = assemble_vector(SVD.unet.vector, condition_values([CONTROLS], None), 14)
    by_hand = torch.cat([sinusoid(torch.tensor([value]), 256) for value in (6.0, 127.0, 0.02)], dim=1)
    assert vector.shape == (1, 768) and torch.equal(vector, by_hand)
    off_by_one = assemble_vector(SVD.unet.vector, condition_values([dataclasses.replace(CONTROLS, fps=8)], None), 14)
    assert float((vector - off_by_one).norm() / vector.norm()) > 0.05


def test_widths_follow_the_config() -> None:
    values = condition_values([CONTROLS, CONTROLS], None)
    narrow = tuple(dataclasses.replace(condition, width=64) for condition in SVD.unet.vector)
    assert assemble_vector(narrow, values, 3).shape == (2, 192)
    assert assemble_vector(SV3D_U.unet.vector, values, 21).shape == (2, 256)


def test_sv3d_p_has_one_vector_a_frame() -> None:
    orbit = Orbit.turntable(21, elevation=10.0)
    vector = assemble_vector(SV3D_P.unet.vector, condition_values([CONTROLS, CONTROLS], orbit), 21)
    assert vector.shape == (2, 21, 1280) and torch.equal(vector[0], vector[1])
    for frame in range(21):
        azimuth = math.radians(360 * (frame + 1) / 21 % 360)
        numbers = [(0.02, 256), (math.radians(80), 512), (azimuth, 512)]
        by_hand = torch.cat([sinusoid(torch.tensor(value), width) for value, width in numbers])
        torch.testing.assert_close(vector[0, frame], by_hand, atol=2e-6, rtol=0)


def test_orbit_angles_are_relative_to_the_last_view() -> None:
    orbit = Orbit.around([0, 10, 20], [30, 150, 270])
    torch.testing.assert_close(orbit.azimuth, torch.tensor([math.radians(120), math.radians(240), 0.0]))
    torch.testing.assert_close(orbit.polar, torch.tensor([math.radians(angle) for angle in (90, 80, 70)]))
    with pytest.raises(InputError, match="3 elevations and 2 azimuths"):
        Orbit.around([0, 0, 0], [1, 2])


def test_a_full_turn_in_both_conventions() -> None:
    elevations, azimuths = orbit_degrees(4, "10")
    assert elevations == [10, 10, 10, 10] and azimuths == [90, 180, 270, 0], "the last frame is the picture's view"
    # The host's own node: from 0 to 360 with both ends the same.
    assert orbit_degrees(5, "10", "", "comfyui")[1] == [0, 90, 180, 270, 0]


def test_orbits_along_curves() -> None:
    elevations, azimuths = orbit_degrees(3, "0:0, 0.5:30, 1:10", "0:360, 1:0")
    assert elevations == [0, 30, 10] and azimuths == [0, 180, 0]
    swing = "0:-30, 0.5:30, 1:-30"
    assert orbit_degrees(3, "0", swing, "comfyui")[1] == [330, 30, 330]
    assert orbit_degrees(3, "0", swing, "sv3d")[1] == [0, 60, 0]
    assert orbit_degrees(3, "0", "45", "sv3d")[1] == [0, 0, 0]


@pytest.mark.parametrize(
    ("elevation", "azimuth", "convention", "words"),
    [
        ("91", "", "sv3d", "`elevation` from -90 to 90"),
        ("high", "", "sv3d", "`elevation` as degrees"),
        ("0", "0:1, 0:2", "sv3d", "`azimuth` as degrees"),
        ("0", "", "zero123", "sv3d, comfyui"),
    ],
)
def test_impossible_orbits_are_a_sentence(elevation: str, azimuth: str, convention: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        orbit_degrees(5, elevation, azimuth, convention)  # pyright: ignore[reportArgumentType]


def test_per_frame_values_are_required_and_counted() -> None:
    with pytest.raises(InputError, match="orbit"):
        assemble_vector(SV3D_P.unet.vector, condition_values([CONTROLS], None), 21)
    with pytest.raises(InputError, match="each of 21 frames"):
        assemble_vector(SV3D_P.unet.vector, condition_values([CONTROLS], Orbit.turntable(20)), 21)


def test_augmentation_has_the_asked_strength_in_minus_one_to_one() -> None:
    clean = torch.zeros(1, 3, 128, 128)
    noisy = augment(clean, [dataclasses.replace(CONTROLS, augmentation=0.1)])
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.02) and abs(float(noisy.mean())) < 2e-3
    assert torch.equal(augment(clean, [dataclasses.replace(CONTROLS, augmentation=0)]), clean)


def test_a_clip_in_a_batch_equals_the_clip_alone() -> None:
    pixels = pictures(3)
    controls = [dataclasses.replace(CONTROLS, seed=seed, motion_bucket=20.0 * seed) for seed in (3, 9, 3)]
    batch = condition(pixels, controls)
    for index in range(3):
        alone = condition(pixels[index : index + 1], [controls[index]])
        for name in ("context", "concat_latents", "vector"):
            assert torch.equal(getattr(batch, name)[index], getattr(alone, name)[0]), name
    assert not torch.equal(batch.concat_latents[0] - batch.concat_latents[1], torch.zeros_like(batch.concat_latents[0]))


def test_clip_sees_the_clean_picture_and_the_autoencoder_the_noisy_one() -> None:
    pixels = pictures(1)
    strong = condition(pixels, [dataclasses.replace(CONTROLS, augmentation=0.5)])
    torch.testing.assert_close(strong.context[:, 0], encode_image(pixels))
    error = float((strong.concat_latents - encode_latent(pixels)).std())
    assert 0.2 < error < 0.9
    assert strong.context.shape == (1, 1, 24) and strong.frames == 5


def test_unconditional_half_keeps_the_vector_only() -> None:
    nothing = condition(pictures(2), [CONTROLS] * 2).unconditional()
    assert not nothing.context.any() and not nothing.concat_latents.any() and bool(nothing.vector.any())


@pytest.mark.parametrize(
    ("name", "value"),
    [("fps", 0), ("fps", 1001), ("motion_bucket", -1.0), ("motion_bucket", math.nan), ("augmentation", -0.1)],
)
def test_controls_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"`{name}`"):
        check_controls(dataclasses.replace(CONTROLS, **{name: value}))


def test_broken_encoders_are_named() -> None:
    with pytest.raises(NumericsError, match="image encoder"):
        condition(pictures(1), [CONTROLS], encode_image=lambda pixels: encode_image(pixels) * math.nan)
    with pytest.raises(NumericsError, match="autoencoder"):
        condition(pictures(1), [CONTROLS], encode_latent=lambda pixels: encode_latent(pixels) / 0.0)


def test_one_set_of_controls_a_picture() -> None:
    with pytest.raises(InputError, match="1 for 2 pictures"):
        condition(pictures(2), [CONTROLS])
