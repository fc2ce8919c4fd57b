"""The weight-free engine on exact synthetic truth: a small fixed-seed version of `tests.bench.test_interpolation`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from svd_core.errors import InputError
from svd_core.interpolation.cuts import is_cut, is_repeat
from svd_core.interpolation.engines import Flow, Gap
from svd_core.interpolation.flow import both_flows
from svd_core.interpolation.layers import find_layers
from svd_core.interpolation.resample import blur, median3, positions
from svd_core.interpolation.splat import fill, splat
from svd_core.interpolation.synthesis import draw, find_motion
from tests.interpolation_scenes import CLASSES, TIMES, psnr, scene

# The reference's floors; the bench over random seeds asserts them too and prints how far above them we are.
FLOORS = {"translate": 42, "zoom": 34, "rotate": 34, "large": 30, "occlude": 38, "occl_large": 29.5}
CUT_SIZE = (96, 168)


def planes(frame: Tensor) -> Tensor:
    return frame.permute(2, 0, 1)[None]


def between(first: Tensor, second: Tensor, times: tuple[float, ...] = TIMES) -> list[Tensor]:
    motion = find_motion(planes(first), planes(second))
    return [draw(planes(first), planes(second), motion, time)[0].permute(1, 2, 0) for time in times]


@pytest.mark.parametrize("kind", CLASSES)
def test_new_frames_meet_the_truth(kind: str) -> None:
    for seed in (0, 1):
        shown = scene(kind, seed)
        made = between(shown.at(0), shown.at(1))
        found = sum(psnr(frame, shown.at(time)) for frame, time in zip(made, TIMES, strict=True)) / len(TIMES)
        assert found >= FLOORS[kind], f"{kind}, seed {seed}: {found:.1f} dB, at least {FLOORS[kind]}"


@pytest.mark.parametrize(("kind", "gain"), [("waves", 10), ("perspective", 10), ("noise", 1), ("title_thick", 5)])
def test_what_no_affine_layer_fits_is_still_better_than_a_blend(kind: str, gain: float) -> None:
    shown = scene(kind, 1, (128, 224))
    first, second = shown.ends()
    flow, blend = (
        sum(psnr(frame, shown.at(time)) for frame, time in zip(frames, TIMES, strict=True)) / len(TIMES)
        for frames in (between(first, second), [torch.lerp(first, second, time) for time in TIMES])
    )
    assert flow > blend + gain, f"{kind}: {flow:.1f} dB, a blend {blend:.1f}"


def test_motion_looked_for_at_half_the_size_serves_the_whole() -> None:
    shown = scene("rotate", 2, (160, 256))
    first, second = shown.ends()
    whole, half = (next(Flow(scale=scale).between([Gap(first, second, (0.5,))])) for scale in (1.0, 0.5))
    truth = shown.at(0.5)
    assert whole.shape == half.shape and psnr(half, truth) > psnr(torch.lerp(first, second, 0.5), truth) + 8
    assert not torch.equal(whole, half)
    with pytest.raises(InputError, match="flow scale"):
        Flow(scale=0.0)


def test_both_directions_agree() -> None:
    shown = scene("occlude", 5, (128, 192))
    first, second = shown.at(0), shown.at(1)
    there, back = between(first, second, (0.25,))[0], between(second, first, (0.75,))[0]
    assert psnr(there, back) >= 50


def test_a_change_of_light_is_even() -> None:
    shown = scene("translate", 3, (128, 192))
    for second, truth in ((shown.at(0), lambda _: shown.at(0)), (shown.at(1), shown.at)):
        for time, made in zip(TIMES, between(shown.at(0), second * 0.75 + 0.05), strict=True):
            expected = truth(time) * (1 - 0.25 * time) + 0.05 * time
            assert abs(float((made - expected).mean())) < 1 / 510
            assert psnr(made, expected) > 45


def test_titles_stand_still_on_a_moving_picture() -> None:
    shown = scene("translate", 4, (128, 192))
    title = torch.zeros(128, 192, 1)
    title[20:28, 20:120] = 1
    title[22:26, 24:116:8] = 0
    first, second = (torch.where(title > 0, torch.ones(3), shown.at(time)) for time in (0.0, 1.0))
    made = between(first, second, (0.5,))[0]
    wobble = float((made - 1).abs()[title[..., 0] > 0].mean())
    assert wobble < 0.02, f"the title differs by {wobble:.3f}"


def test_alpha_goes_along() -> None:
    shown = scene("translate", 6, (96, 128))
    first, second = shown.at(0), shown.at(1)
    rgba = [torch.cat((frame, frame[..., :1]), dim=-1) for frame in (first, second)]
    motion = find_motion(planes(first), planes(second))
    made = draw(planes(rgba[0]), planes(rgba[1]), motion, 0.5)[0]
    torch.testing.assert_close(made[3], made[0])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (23, 24), (25, 47), (33, 100)])
def test_any_size(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(sum(size))
    first, second = torch.rand(2, *size, 3, generator=generator)
    made = between(first, second, (0.5,))[0]
    assert made.shape == first.shape and bool(made.isfinite().all())
    assert float(made.min()) >= 0 and float(made.max()) <= 1


def test_layers_are_exact_and_bend_with_turns() -> None:
    shown = scene("rotate", 0)
    flows, _ = both_flows(planes(shown.at(0)), planes(shown.at(1)))
    layers = find_layers(flows[:1], flows[1:])
    half = layers.between(0.0, 0.5)
    torch.testing.assert_close(half @ half, layers.maps)
    # A turn keeps lengths, a straight line between the ends of an arc does not.
    assert abs(float(torch.linalg.det(half[0, :2, :2])) - 1) < 1e-4


def test_cuts_are_told_from_motion() -> None:
    missed = false = 0
    for index in range(7):
        for number, kind in enumerate(CLASSES):
            first = scene(kind, 100 + index, CUT_SIZE)
            # Fast pans of up to 72 of 448 pixels are among the continuous pairs.
            end = 1.5 if kind in ("large", "occl_large") else 1.0
            false += is_cut(first.at(0), first.at(end))
            missed += not is_cut(first.at(0), scene(CLASSES[(number + index + 1) % 6], 200 + index, CUT_SIZE).at(1))
    assert missed == 0, f"{missed} of 42 cuts missed"
    assert false <= 1, f"{false} of 42 continuous pairs taken for cuts"


def test_repeats_survive_encoding_noise_only() -> None:
    frame = scene("translate", 0, (48, 64)).at(0)
    noise = (torch.rand(frame.shape, generator=torch.Generator().manual_seed(1)) - 0.5) / 255
    assert is_repeat(frame, frame + noise)
    assert not is_repeat(frame, scene("translate", 0, (48, 64)).at(0.05))


def test_splat_carries_and_fill_completes() -> None:
    values = torch.rand(1, 2, 9, 11, generator=torch.Generator().manual_seed(0))
    here = positions(9, 11, values)
    mean, weight = splat(values, torch.ones(1, 1, 9, 11), here + torch.tensor([2.0, -1.0])[None, :, None, None])
    torch.testing.assert_close(mean[..., :8, 2:], values[..., 1:, :9])
    assert float(weight[..., 8, :].max()) == 0 and float(weight[..., :, :2].max()) == 0
    flat = fill(torch.full((1, 1, 9, 11), 3.0) * (weight > 0), (weight > 0).float())
    torch.testing.assert_close(flat, torch.full((1, 1, 9, 11), 3.0))


def test_filters_are_what_they_say() -> None:
    values = torch.rand(1, 1, 12, 14, generator=torch.Generator().manual_seed(2))
    padded = torch.nn.functional.pad(values, (1, 1, 1, 1), mode="replicate")
    expected = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(-2).median(dim=-1).values
    assert torch.equal(median3(values), expected)
    torch.testing.assert_close(blur(torch.ones(1, 1, 5, 5), 1.0), torch.ones(1, 1, 5, 5))
