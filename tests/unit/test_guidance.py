"""Guidance: curves in closed form, the text a user writes, and the combination per frame and per clip."""

from __future__ import annotations

import pytest
import torch

from svd_core.errors import InputError
from svd_core.sampling.guidance import (
    GuidanceCurve,
    combine,
    guidance_weights,
    guided_in_turn,
    guided_together,
    needs_unconditional,
    parse_guidance,
)
from svd_core.sampling.points import CurvePoints


def test_linear_rises_over_the_clip() -> None:
    weights = GuidanceCurve("linear", 1.0, 2.5).weights(14)
    assert weights[0] == 1 and weights[-1] == 2.5
    assert float(weights[1]) == pytest.approx(1.1154, abs=1e-4)
    torch.testing.assert_close(weights, torch.linspace(1, 2.5, 14))


def test_triangle_peaks_in_the_middle() -> None:
    weights = GuidanceCurve("triangle", 1.0, 2.5).weights(21)
    assert float(weights[1]) == pytest.approx(1.15) and float(weights[10]) == 2.5
    torch.testing.assert_close(weights, weights.flip(0))
    assert weights[0] == 1


def test_single_frame_gets_the_minimum() -> None:
    for shape in ("constant", "linear", "triangle"):
        assert GuidanceCurve(shape, 1.5, 3.0).weights(1).tolist() == [1.5]


@pytest.mark.parametrize(
    ("text", "curve"),
    [
        ("linear:1:2.5", GuidanceCurve("linear", 1, 2.5)),
        (" triangle:1:3 ", GuidanceCurve("triangle", 1, 3)),
        ("constant:2", GuidanceCurve("constant", 2, 2)),
        ("1.5", GuidanceCurve("constant", 1.5, 1.5)),
    ],
)
def test_parse(text: str, curve: GuidanceCurve) -> None:
    assert parse_guidance(text) == curve
    assert parse_guidance(str(curve)) == curve


@pytest.mark.parametrize("text", ["", "linear", "linear:1", "linear:1:2:3", "constant:1:2", "wave:1:2", "linear:a:b"])
def test_parse_refuses_with_the_syntax(text: str) -> None:
    with pytest.raises(InputError, match="`guidance` as constant"):
        parse_guidance(text)
    with pytest.raises(InputError, match="finite"):
        parse_guidance("nan")


def test_weights_per_clip() -> None:
    weights = guidance_weights(["linear:1:3", GuidanceCurve("constant", 2, 2), torch.tensor([5.0, 6, 7])], 3, 3)
    assert weights.tolist() == [[1, 2, 3], [2, 2, 2], [5, 6, 7]]
    assert guidance_weights("linear:1:3", 2, 3).tolist() == [[1, 2, 3], [1, 2, 3]]
    with pytest.raises(InputError, match="2 for 3 clips"):
        guidance_weights(["1", "2"], 3, 3)
    with pytest.raises(InputError, match="weight a frame"):
        guidance_weights(torch.ones(4), 1, 3)


def test_unconditional_half_is_needed_unless_every_weight_is_one() -> None:
    """Below 1 and mixed weights need it too: looking at the maximum alone would skip them."""
    assert not needs_unconditional(torch.ones(2, 4))
    assert needs_unconditional(torch.tensor([[1.0, 0.5, 1.0]]))
    assert needs_unconditional(torch.tensor([[1.0, 1.0, 1.5]]))


def test_combine_weighs_each_frame_of_each_clip() -> None:
    unconditional, conditional = torch.zeros(6, 1, 2, 2), torch.ones(6, 1, 2, 2)
    weights = torch.tensor([[0.0, 1.0, 2.0], [0.5, 1.5, 3.0]])
    combined = combine(unconditional, conditional, weights)
    assert combined[:, 0, 0, 0].tolist() == [0, 1, 2, 0.5, 1.5, 3]


def test_batched_and_sequential_agree_and_put_the_unconditional_first() -> None:
    x = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    weights, sigma = torch.tensor([[0.0, 1.0, 2.0], [0.5, 1.5, 3.0]]), torch.tensor(1.0)

    def unconditional(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x * 2

    def conditional(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x * 3

    def both(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2)
        return torch.cat([unconditional(first, sigma), conditional(second, sigma)])

    in_turn = guided_in_turn(unconditional, conditional, weights)(x, sigma)
    assert torch.equal(in_turn, guided_together(both, weights)(x, sigma))
    torch.testing.assert_close(in_turn[0], 2 * x[0])
    torch.testing.assert_close(in_turn[5], 5 * x[5])


@pytest.mark.parametrize(
    ("shape", "weights"),
    [
        ("trapezoid", [1, 3, 3, 3, 3, 3, 1]),
        ("hold", [1, 5 / 3, 7 / 3, 3, 3, 3, 3]),
        ("cosine", [1, 1.134, 1.5, 2, 2.5, 2.866, 3]),
    ],
)
def test_the_other_shapes(shape: str, weights: list[float]) -> None:
    curve = parse_guidance(f"{shape}:1:3").weights(7)
    if shape == "trapezoid":  # a quarter of six steps lies between frames 1 and 2
        weights[1] = weights[-2] = 1 + 2 * 4 / 6
    assert curve.tolist() == pytest.approx(weights, abs=1e-3)


def test_points_are_joined_by_lines() -> None:
    assert CurvePoints.parse("0:1, 0.5:3, 1:1").weights(5).tolist() == [1, 2, 3, 2, 1]
    assert CurvePoints.parse("0.25:2; 0.75:4").weights(5).tolist() == [2, 2, 3, 4, 4]
    assert CurvePoints.parse("0.5:2").weights(3).tolist() == [2, 2, 2]
    assert CurvePoints.parse("0:1,1:2").weights(1).tolist() == [1]


@pytest.mark.parametrize("text", ["", "1", "0:1,0:2", "0.5:1,0.2:1", "0:1,1.5:2", "0:nan", "a:b", "0:1:2"])
def test_points_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"0:1, 0.5:3, 1:1"):
        CurvePoints.parse(text)
