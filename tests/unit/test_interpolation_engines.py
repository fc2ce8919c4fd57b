"""Engines with a network inside: any size and channels, batches, what is computed once, and times by halving."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import svd_core
from svd_core.errors import OutOfMemoryError
from svd_core.interpolation import Plan, retime
from svd_core.interpolation.engines import Blend, Engine, Flow, Gap, Halving
from svd_core.interpolation.learned import LearnedEngine
from svd_core.types import Frames
from svd_core.weights import load_interpolator
from tests.interpolation_scenes import scene
from tests.rife import frames, recorded, weights

SIZE = (50, 70)
CPU = torch.device("cpu")


class Mixer:
    """A network whose frames are known: first + time * (second - first), counted."""

    multiple = 32

    def __init__(self, room: int = 99) -> None:
        self.sizes: list[int] = []
        self.encodings = 0
        self.room = room

    def encoded(self, frames: Tensor) -> Tensor:
        assert frames.shape[1] == 3
        self.encodings += 1
        return frames[:, :1] * 2

    def frames_at(self, first: Tensor, second: Tensor, times: Tensor, encoded: tuple[Tensor, Tensor]) -> Tensor:
        assert first.shape[-2] % 32 == 0 and first.shape[-1] % 32 == 0
        assert torch.equal(encoded[0], first[:, :1] * 2) and torch.equal(encoded[1], second[:, :1] * 2)
        if len(first) > self.room:
            raise torch.cuda.OutOfMemoryError("out of memory")
        self.sizes.append(len(first))
        return torch.lerp(first, second, times.to(first.dtype).view(-1, 1, 1, 1))


def clip(count: int = 5, channels: int = 3) -> Tensor:
    shown = scene("translate", 1, SIZE)
    colours = torch.stack([shown.at(index / 4) for index in range(count)])
    return torch.cat((colours, colours), dim=-1)[..., :channels]


def engine_of(network: Mixer, batch: int = 1) -> LearnedEngine:
    return LearnedEngine(network, "mixer", device=CPU, dtype=torch.float32, batch=batch)


def shown_by(engine: LearnedEngine | Halving | str, given: Tensor, plan: Plan) -> Tensor:
    return torch.stack([one.pixels for one in retime(given, len(given), plan, engine=engine)])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_and_channels_at_exact_times(channels: int, batch: int) -> None:
    given = clip(5, channels)
    plan = Plan(factor=Fraction(5, 2), loop="close")
    made = shown_by(engine_of(Mixer(), batch), given, plan)
    assert made.shape == (13, *SIZE, channels)
    torch.testing.assert_close(made, shown_by("blend", given, plan))


ENGINES = ("mixer", "rife", "flow", "blend")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "rife":
        save_file(weights(recorded()["4.17 lite"].shapes), tmp_path / "rife.safetensors")
        return load_interpolator(tmp_path / "rife.safetensors")
    return engine_of(Mixer()) if request.param == "mixer" else Flow() if request.param == "flow" else Blend()


@pytest.mark.parametrize("channels", [2, 4])
def test_hidden_colours_colour_nothing(engine: Engine, channels: int) -> None:
    """A frame whose subject is cut out gives the same whatever stands in its hidden pixels, and no fringe."""
    colours = clip(2, 3)[..., : channels - 1]
    rows, columns = torch.meshgrid(torch.arange(50) - 25.0, torch.arange(70) - 30.0, indexing="ij")
    alpha = torch.stack([(18.5 - torch.hypot(rows, columns - shift)).clamp(0, 1) for shift in (0, 3)])[..., None]

    def made(hidden: Tensor) -> Tensor:
        one, two = (torch.cat((torch.where(a > 0, c, hidden), a), dim=-1) for c, a in zip(colours, alpha, strict=True))
        return next(engine.between([Gap(one, two, (0.4,))]))

    black, white = made(torch.zeros(())), made(torch.ones(()))
    assert torch.equal(black, white)
    seen = black[..., -1:] > 0.05
    assert 0.05 < float(seen.float().mean()) < 0.5, "nothing to look at"
    # What is seen are mixtures of seen colours: none darker or brighter than all of them (bicubic reading rings a bit).
    shown = torch.cat([frame[a[..., 0] > 0] for frame, a in zip(colours, alpha, strict=True)])
    low, high = shown.amin(), shown.amax()
    inner = black[..., :-1][seen.expand_as(black[..., :-1])]
    assert low - 0.02 <= inner.amin() and inner.amax() <= high + 0.02


def test_opaque_frames_are_made_as_frames_without_alpha(engine: Engine) -> None:
    given = clip(2, 3)
    one, two = (torch.cat((frame, torch.ones(*SIZE, 1)), dim=-1) for frame in given)
    (plain,), (opaque,) = (engine.between([Gap(*pair, (0.4,))]) for pair in (tuple(given), (one, two)))
    torch.testing.assert_close(opaque[..., :3], plain, atol=1e-6, rtol=0)
    torch.testing.assert_close(opaque[..., 3], torch.ones(SIZE), atol=1e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_flow_follows_a_change_of_light_in_any_channels(channels: int) -> None:
    """Half seen pixels take half of what the light adds; grey stays one channel."""
    count = channels - 1 if channels % 2 == 0 else channels
    shown = scene("translate", 1, SIZE)
    first, second = shown.at(0)[..., :count], (shown.at(1) * 0.7 + 0.1)[..., :count]
    if channels % 2 == 0:
        alpha = torch.full((*SIZE, 1), 0.5)
        first, second = (torch.cat((frame, alpha), dim=-1) for frame in (first, second))
    made = next(Flow().between([Gap(first, second, (0.5,))]))
    truth = (shown.at(0.5) * 0.85 + 0.05)[..., :count]
    assert made.shape == (*SIZE, channels)
    assert float((made[..., :count] - truth).abs().mean()) < 0.01


def test_pairs_and_times_are_batched_and_frames_encoded_once() -> None:
    network = Mixer()
    shown_by(engine_of(network, batch=4), clip(9), Plan(factor=Fraction(2)))
    assert network.sizes == [4, 4] and network.encodings == 9
    network = Mixer()
    shown_by(engine_of(network, batch=4), clip(3), Plan(factor=Fraction(6)))
    assert network.sizes == [4, 4, 2] and network.encodings == 3


def test_memory_that_runs_out_makes_batches_small() -> None:
    network, given = Mixer(room=1), clip(4)
    engine = engine_of(network, batch=3)
    made = shown_by(engine, given, Plan(factor=Fraction(3)))
    torch.testing.assert_close(made, shown_by("blend", given, Plan(factor=Fraction(3))))
    assert set(network.sizes) == {1} and engine.gaps_at_once == 1 and "Memory ran out" in engine.notices[0]
    with pytest.raises(OutOfMemoryError, match="making frames"):
        shown_by(engine_of(Mixer(room=0)), given, Plan())


def test_cuts_are_kept_from_the_network() -> None:
    ends = torch.cat((clip(2), torch.stack([scene("translate", 9, SIZE).at(index / 4) for index in range(2)])))
    network = Mixer()
    made = shown_by(engine_of(network, batch=8), ends, Plan(factor=Fraction(2)))
    assert len(made) == 7 and torch.equal(made[3], ends[1]) and sum(network.sizes) == 2


def test_rife_runs_through_interpolate_at_any_size(tmp_path: Path) -> None:
    save_file(weights(recorded()["4.17 lite"].shapes), tmp_path / "rife.safetensors")
    given = frames(3, SIZE)[0].permute(0, 2, 3, 1).contiguous()
    one = load_interpolator(tmp_path / "rife.safetensors")
    several = load_interpolator(tmp_path / "rife.safetensors", batch=4)
    clips = [
        svd_core.interpolate(Frames(given, Fraction(8)), Plan(factor=Fraction(5, 2)), engine=engine, cut_guard="off")
        for engine in (one, several)
    ]
    assert len(clips[0]) == 6 and clips[0].fps == 20 and clips[0].pixels.shape[1:3] == SIZE
    torch.testing.assert_close(clips[0].pixels, clips[1].pixels, atol=2e-5, rtol=0)
    assert torch.equal(clips[0].pixels[5], given[2])
    assert (clips[0].pixels[1] - given[0]).abs().mean() > 0.02


def test_flow_scale_makes_room_and_half_precision_stays_close(tmp_path: Path) -> None:
    save_file(weights(recorded()["4.17 lite"].shapes), tmp_path / "rife.safetensors")
    gap = Gap(*(frame[0].permute(1, 2, 0) for frame in frames(1, SIZE)), times=(0.4,))
    small = load_interpolator(tmp_path / "rife.safetensors", flow_scale=0.5)
    assert small.network.multiple == 64
    (full,) = load_interpolator(tmp_path / "rife.safetensors").between([gap])
    (coarse,) = small.between([gap])
    (half,) = load_interpolator(tmp_path / "rife.safetensors", dtype=torch.bfloat16).between([gap])
    assert coarse.shape == half.shape == full.shape == (*SIZE, 3) and half.dtype == torch.float32
    assert (full - half).abs().mean() < 0.02 < (full - coarse).abs().mean()


@pytest.mark.parametrize("steps", [(0.5,), (0.25, 0.5, 0.75)])
def test_fixed_times_reach_others_by_halving(steps: tuple[float, ...]) -> None:
    asked: list[tuple[float, float]] = []

    def make(first: Tensor, second: Tensor) -> Sequence[Tensor]:
        asked.append((float(first.mean()), float(second.mean())))
        return [torch.lerp(first, second, step) for step in steps]

    depth = 4 if steps == (0.5,) else 2
    engine = Halving("fixed", make, steps, depth)
    first, second = torch.zeros(4, 4, 3), torch.ones(4, 4, 3)
    times = (1 / 16, 0.25, 1 / 3, 0.5, 0.7, 15 / 16)
    made = [float(frame.mean()) for frame in engine.between([Gap(first, second, times)])]
    for time, value in zip(times, made, strict=True):
        exact = (time * 16).is_integer()
        assert abs(value - time) < (1e-6 if exact else 1 / 32 + 1e-6)
    assert len(asked) == len(set(asked)), "a part was asked for twice"
    assert len(shown_by(engine, clip(3), Plan(factor=Fraction(4)))) == 9
