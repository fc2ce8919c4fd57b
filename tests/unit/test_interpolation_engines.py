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
from svd_core.interpolation.engines import Gap, Halving
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
