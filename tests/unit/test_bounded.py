"""The bounded samplers on an exact linear denoiser: both ends, the calls, loops, symmetry, and a known mean."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from svd_core.errors import Cancelled, InputError
from svd_core.sampling import BETWEEN_METHODS, Bounded, Direction, make_schedule, sample_bounded, solver_noise
from svd_core.sampling.bounded import estimate_on_the_way_back, mpd, trf, vibid
from svd_core.types import StepInfo
from tests.brownian import FRAMES, SHAPE, Walk, directions, pictures

STEPS = 8
SIGMAS = make_schedule("karras", STEPS, 0.02, 80.0)
EXACT = 1e-5
RAW = {"vibid": vibid, "mpd": mpd, "trf": trf}


def noise(seed: int = 1) -> Tensor:
    return 80 * torch.randn(FRAMES, *SHAPE, generator=torch.Generator().manual_seed(seed))


def sampled(method: str, ways: tuple[Direction, Direction], x: Tensor | None = None, **told) -> Tensor:
    source = solver_noise([5], (FRAMES, *SHAPE), torch.device("cpu"))
    return sample_bounded(Bounded(method=method, **told), *ways, noise() if x is None else x, SIGMAS, noise=source)


@pytest.mark.parametrize("method", BETWEEN_METHODS)
def test_both_pictures_are_reached(method: str) -> None:
    """The method itself gets there; nothing has been put in place yet."""
    start, end = pictures()
    source = solver_noise([5], (FRAMES, *SHAPE), torch.device("cpu"))
    steps = RAW[method](Bounded(method=method), directions(start, end), noise(), SIGMAS, source)
    x = list(steps)[-1][0]
    assert float((x[0] - start).abs().max()) <= EXACT
    assert float((x[-1] - end).abs().max()) <= EXACT
    finished = sampled(method, directions(start, end))
    assert torch.equal(finished[0], start) and torch.equal(finished[-1], end)
    assert float((finished[1:-1] - x[1:-1]).abs().max()) == 0, "more than the ends was put in place"


@pytest.mark.parametrize(
    ("method", "told", "calls"),
    [
        ("vibid", {}, (STEPS, STEPS)),
        ("mpd", {"early": 0.5, "renoise": 1}, (2 * 4 + 4, 4)),
        ("mpd", {"early": 0.5, "renoise": 0}, (8, 4)),
        ("trf", {"early": 0.25, "renoise": 2}, (STEPS + 4, STEPS + 4)),
        ("trf", {"early": 0.0}, (STEPS, STEPS)),
    ],
)
def test_network_calls(method: str, told: dict[str, float], calls: tuple[int, int]) -> None:
    ways = directions(*pictures())
    sampled(method, ways, **told)
    counted = tuple(len(way.predict.calls) for way in ways)
    assert counted == calls
    assert sum(counted) == Bounded(method=method, **told).calls(STEPS)
    assert max(ways[0].predict.calls) == float(SIGMAS[0]) and min(ways[0].predict.calls) == float(SIGMAS[-2])


@pytest.mark.parametrize("method", BETWEEN_METHODS)
def test_one_picture_at_both_ends_closes_the_loop(method: str) -> None:
    start, _ = pictures()
    clip = sampled(method, directions(start, start))
    assert torch.equal(clip[0], clip[-1])
    assert float((clip[1:-1] - start).abs().mean()) > 0.05, "nothing moves: the loop closes by itself"


@pytest.mark.parametrize("method", BETWEEN_METHODS)
def test_the_mean_of_many_clips_lies_between_the_pictures(method: str) -> None:
    """The exact answer for this world is the straight line; a clip made from one picture alone stays at it."""
    start, end = pictures()
    runs = [sampled(method, directions(start, end), noise(seed)) for seed in range(24)]
    mean = torch.stack(runs).mean(0)
    line = torch.lerp(start, end, torch.linspace(0, 1, FRAMES).view(-1, 1, 1, 1))
    off = float((mean - line)[1:-1].square().mean().sqrt())
    apart = float((end - start).square().mean().sqrt())
    assert off < 0.25 * apart, f"{off / apart:.2f} of the way between the pictures off the straight line"


def test_reversed_noise_and_swapped_pictures_give_the_reversed_clip() -> None:
    """Only fusing is symmetric in each clip: where passes take turns, one of them goes first."""
    start, end = pictures()
    weights = torch.linspace(1, 2, FRAMES)
    there = sampled_with("trf", directions(start, end, weights), noise(), drawn())
    back = sampled_with("trf", directions(end, start, weights), noise().flip(0), (one.flip(0) for one in drawn()))
    assert float((there - back.flip(0)).abs().max()) <= EXACT


def sampled_with(method: str, ways: tuple[Direction, Direction], x: Tensor, draws: Iterator[Tensor]) -> Tensor:
    return sample_bounded(Bounded(method=method), *ways, x, SIGMAS, noise=lambda: next(draws))


def drawn() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(8)
    return (torch.randn(FRAMES, *SHAPE, generator=generator) for _ in itertools.count())


def test_the_way_back_is_the_recursion_of_the_paper() -> None:
    """Frame by frame as MPD writes it, against the shift it comes down to."""
    start, end = pictures()
    x, sigma = noise(2).double(), 7.0
    forward = Walk(start)(x, torch.tensor(sigma, dtype=torch.float64))[1]
    residual = (x - forward) / sigma
    reversed_x = x.flip(0)
    back = [(reversed_x[0] - end) / sigma]
    for i in range(1, FRAMES):
        back.append(back[-1] - (residual[FRAMES - i] - residual[FRAMES - 1 - i]))
    estimate = (reversed_x - sigma * torch.stack(back)).flip(0)
    assert float((estimate - estimate_on_the_way_back(forward, end)).abs().max()) < 1e-9


def test_weights_rise_away_from_each_directions_own_picture() -> None:
    """A frame's guidance depends on how far the pass that guides it has come from its picture, not on the clock."""
    seen: list[Tensor] = []

    class Recording(Walk):
        def __call__(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros_like(x), torch.ones_like(x)

    weights = torch.linspace(1, 2, FRAMES)
    ways = tuple(Direction(predict=Recording(p), weights=weights, far=torch.zeros(SHAPE)) for p in pictures())
    for way in ways:
        seen.append(way.estimate(noise(), torch.tensor(1.0))[1][:, 0, 0, 0])
    assert torch.allclose(seen[0], weights) and torch.allclose(seen[1], weights)
    (x, estimate), *_ = trf(Bounded(method="trf"), ways, noise(), SIGMAS, lambda: noise(2))
    assert torch.allclose(estimate, estimate.flip(0)), "the two ramps do not mirror each other"
    assert x.shape == (FRAMES, *SHAPE)


def test_a_seed_is_a_clip() -> None:
    ways = directions(*pictures())
    assert torch.equal(sampled("vibid", ways), sampled("vibid", ways))
    assert not torch.equal(sampled("vibid", ways), sampled("vibid", ways, noise(2)))


def test_steps_are_told_and_can_stop() -> None:
    told: list[StepInfo] = []

    def stop(step: StepInfo) -> None:
        told.append(step)
        if step.index == 2:
            raise Cancelled

    source = solver_noise([5], (FRAMES, *SHAPE), torch.device("cpu"))
    with pytest.raises(Cancelled):
        sample_bounded(Bounded(), *directions(*pictures()), noise(), SIGMAS, noise=source, on_step=stop)
    assert [step.index for step in told] == [0, 1, 2] and told[0].total == STEPS


@pytest.mark.parametrize(
    "told", [{"method": "magic"}, {"early": 1.5}, {"early": float("nan")}, {"renoise": -1}, {"distillation": 2.0}]
)
def test_what_makes_no_sense_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(InputError, match="found"):
        Bounded(**told)


def test_a_single_frame_has_nothing_between() -> None:
    ways = directions(*pictures())
    with pytest.raises(InputError, match="2 frames"):
        sample_bounded(Bounded(), *ways, noise()[:1], SIGMAS, noise=noise)
