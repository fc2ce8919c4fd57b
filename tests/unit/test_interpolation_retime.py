"""The walk over a clip: source frames bit for bit, exact counts, cuts, repeats, loops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
from torch import Tensor

import svd_core
from svd_core.errors import InputError
from svd_core.interpolation import Plan, Report, retime
from svd_core.types import Frames
from tests.interpolation_scenes import psnr, scene

SIZE = (48, 64)


def clip(count: int = 5, kind: str = "translate", seed: int = 1, size: tuple[int, int] = SIZE) -> Tensor:
    shown = scene(kind, seed, size)
    return torch.stack([shown.at(index / 4) for index in range(count)])


def run(frames: Tensor, plan: Plan, **settings: str) -> tuple[Tensor, list[bool], Report]:
    report = Report()
    made = list(retime(frames, len(frames), plan, report=report, **settings))
    return torch.stack([frame.pixels for frame in made]), [frame.synthesised for frame in made], report


@pytest.mark.parametrize("engine", ["flow", "blend", "nearest"])
@pytest.mark.parametrize(
    "plan",
    [
        Plan(factor=Fraction(3)),
        Plan(factor=Fraction(5, 2)),
        Plan(factor=Fraction(2), loop="close"),
        Plan(factor=Fraction(2), loop="ping-pong"),
        Plan(factor=Fraction(2), keep_duration=True),
        Plan(times=(Fraction(1, 4),)),
        Plan(factor=Fraction(1, 2)),
    ],
    ids=lambda plan: f"{plan.factor}-{plan.loop}-{len(plan.times)}",
)
def test_source_frames_come_out_bit_for_bit(plan: Plan, engine: str) -> None:
    frames = clip()
    made, new, report = run(frames, plan, engine=engine)
    assert len(made) == plan.count(5) == report.frames
    route = [*range(5), *range(3, 0, -1)] if plan.loop == "ping-pong" else [*range(5), 0]
    for frame, fresh, time in zip(made, new, plan.shown(5), strict=True):
        if time.denominator == 1:
            assert not fresh and torch.equal(frame, frames[route[int(time)]]), f"frame at {time}"
    assert report.synthesised == sum(new) and (engine != "nearest" or not any(new))


def test_interpolate_is_public_and_keeps_the_duration() -> None:
    result = svd_core.interpolate(Frames(clip(), Fraction(24)), Plan(factor=Fraction(5, 2)))
    assert len(result) == 11 and result.fps == 60
    told: list[tuple[int, int]] = []
    svd_core.interpolate(Frames(clip(2), Fraction(7)), Plan(), engine="blend", on_frame=lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("count", [0, 1])
def test_too_short_passes_through(count: int) -> None:
    frames = Frames(clip()[:count], Fraction(8))
    result = svd_core.interpolate(frames, Plan(factor=Fraction(4), loop="close"))
    assert torch.equal(result.pixels, frames.pixels)


def test_chunks_of_four_equal_the_whole() -> None:
    frames, plan = clip(9), Plan(factor=Fraction(5, 2))

    def read() -> Iterator[Tensor]:
        for chunk in frames.split(4):
            yield from chunk.clone()

    chunked = torch.stack([frame.pixels for frame in retime(read(), 9, plan)])
    assert torch.equal(chunked, run(frames, plan)[0])


def test_equal_frames_stay_equal() -> None:
    frames = clip(1).expand(3, -1, -1, -1)
    made, _, _ = run(frames, Plan(factor=Fraction(4)))
    assert torch.equal(made, frames[:1].expand(9, -1, -1, -1))


def test_a_loop_closes_without_a_seam() -> None:
    # Eight views of a scene that turns by 5 degrees a frame are not a loop; 72 small turns of a sine are.
    shown = scene("rotate", 2, (96, 96))
    frames = torch.stack([shown.at(0.5 - 0.5 * math.cos(2 * math.pi * index / 8)) for index in range(8)])
    made, _, _ = run(frames, Plan(factor=Fraction(2), loop="close"))
    assert len(made) == 16
    quality = [psnr(made[2 * index + 1], shown.at(_middle(index))) for index in range(8)]
    # Frame 7 leads back to frame 0 as frame 0 led to frame 1.
    assert quality[7] > quality[0] - 1, quality


def _middle(index: int) -> float:
    ends = [0.5 - 0.5 * math.cos(2 * math.pi * place / 8) for place in (index, index + 1)]
    return sum(ends) / 2


@pytest.mark.parametrize(("guard", "expected"), [("hold", [0, 0, 0]), ("nearest", [0, 1, 1])])
def test_cuts_are_not_morphed(guard: str, expected: list[int]) -> None:
    ends = torch.stack([scene("translate", 1, SIZE).at(0), scene("translate", 9, SIZE).at(0)])
    made, new, report = run(ends, Plan(factor=Fraction(4)), cut_guard=guard)
    for frame, which in zip(made[1:4], expected, strict=True):
        assert torch.equal(frame, ends[which])
    assert not any(new) and report.cuts == [1] and report.held == 3
    assert "new shots begin at source frames 1" in " ".join(report.lines())
    _, new, report = run(ends, Plan(factor=Fraction(4)), cut_guard="off")
    assert sum(new) == 3 and report.cuts == []


def test_pairs_are_left_alone_on_request() -> None:
    frames = clip(4)
    _, new, _ = run(frames, Plan(factor=Fraction(2), pairs=frozenset({1})), engine="blend")
    assert new == [False, True, False, False, False, True, False]
    _, new, _ = run(frames, Plan(factor=Fraction(2), pairs=frozenset({1}), pairs_mode="only"), engine="blend")
    assert new == [False, False, False, True, False, False, False]


def test_there_and_back_is_the_same_both_ways() -> None:
    """Pairs left alone, cuts and dropped frames are told of the source, whichever way they are walked."""
    frames = clip(4)
    for pair in range(3):
        plan = Plan(factor=Fraction(2), loop="ping-pong", pairs=frozenset({pair}))
        new = run(frames, plan, engine="blend")[1]
        assert [index for index in range(1, 12, 2) if not new[index]] == [2 * pair + 1, 11 - 2 * pair]
    two_shots = torch.cat((clip(3), torch.stack([scene("translate", 9, SIZE).at(at / 4) for at in range(2)])))
    assert run(two_shots, Plan(loop="ping-pong"), engine="blend")[2].cuts == [3]
    closed = run(two_shots, Plan(loop="close"), engine="blend")[2]
    assert closed.cuts == [3, 0], "the first shot begins anew at frame 0"
    # Frames 0, 2 and, on the way back, 2 again.
    assert run(frames, Plan(factor=Fraction(1, 2), loop="ping-pong"), engine="nearest")[2].dropped == 2
    assert run(frames, Plan(factor=Fraction(1, 2), loop="close"), engine="nearest")[2].dropped == 2
    assert run(frames, Plan(loop="ping-pong"), engine="nearest")[2].dropped == 0


def test_animation_on_twos_moves_smoothly() -> None:
    drawings = clip(4)
    twos = drawings.repeat_interleave(2, dim=0)
    made, _, report = run(twos, Plan(factor=Fraction(1), dedupe=True))
    assert report.repeats == 4 and len(made) == 8
    expected, _, _ = run(drawings, Plan(factor=Fraction(2)))
    assert torch.equal(made[:7], expected) and torch.equal(made[7], drawings[3])


def test_a_pause_is_meant() -> None:
    drawings = clip(2)
    paused = torch.cat((drawings[:1].expand(9, -1, -1, -1), drawings[1:]))
    made, new, _ = run(paused, Plan(factor=Fraction(2), dedupe=True), engine="blend")
    assert torch.equal(made[:17], drawings[:1].expand(17, -1, -1, -1)), "the pause was turned into slow motion"
    assert new[17] and not new[18]


def test_a_slow_fade_is_no_repetition() -> None:
    """Every frame differs from the one before by less than repeats do."""
    fade = clip(1) * 0.5 + torch.arange(12.0).view(-1, 1, 1, 1) * 0.3 / 255
    made, _, report = run(fade, Plan(factor=Fraction(1), dedupe=True), engine="blend")
    assert 0 < report.repeats < 11
    assert float((made - fade).abs().max()) < 0.5 / 255


def test_dropped_frames_are_exact_and_told() -> None:
    frames = clip(9)
    made, new, report = run(frames, Plan(factor=Fraction(1, 2)))
    assert torch.equal(made, frames[::2]) and not any(new)
    assert report.dropped == 4 and "below the source's: 4" in " ".join(report.lines())
    # An ease is faster in the middle than the source is.
    report = run(frames, Plan(factor=Fraction(1), ease="in-out"), engine="nearest")[2]
    assert report.frames == 9 and report.dropped > 0 and "too fast to show all" in " ".join(report.lines())
    # At 0, 1.5 and 3 all four frames are shown or give motion.
    for engine in ("blend", "nearest"):
        assert run(frames[:4], Plan(factor=Fraction(2, 3)), engine=engine)[2].dropped == int(engine == "nearest")
    # 8 frames at 0, 8/3 and 16/3: three are shown, or six give motion.
    for engine, unused in (("nearest", 5), ("blend", 3)):
        assert run(frames[:8], Plan(factor=Fraction(3, 8)), engine=engine)[2].dropped == unused


def test_alpha_and_grey_go_through() -> None:
    frames = clip(3)
    opaque = torch.cat((frames, torch.ones_like(frames[..., :1])), dim=-1)
    made, _, _ = run(opaque, Plan())
    torch.testing.assert_close(made[..., :3], run(frames, Plan())[0])
    assert torch.equal(made[..., 3], torch.ones(5, *SIZE))
    assert run(frames[..., :1], Plan())[0].shape == (5, *SIZE, 1)


def test_what_cannot_be_seen_colours_nothing() -> None:
    size = (96, 128)
    shown = scene("occlude", 3, size)
    rows, columns = (torch.arange(side) + 0.5 - side / 2 for side in size)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).double()
    cover = torch.stack([shown.layers[1].draw(places, time)[1] for time in (0.0, 1.0)])[..., None].float()
    ends = torch.stack([shown.at(0), shown.at(1)])
    black, noisy = (torch.where(cover > 0, ends, hidden) for hidden in (torch.zeros(()), torch.rand(ends.shape)))
    made = [run(torch.cat((colours, cover), dim=-1), Plan())[0][1] for colours in (black, noisy)]
    torch.testing.assert_close(made[0], made[1])
    hidden = torch.stack([torch.where(cover[0] > 0, ends[0], shade) for shade in (0.0, 0.5, 1.0)])
    same = torch.cat((hidden, cover[:1].expand(3, -1, -1, -1)), dim=-1)
    report = run(same, Plan(dedupe=True))[2]
    assert report.repeats == 2 and report.cuts == [], "hidden colours were taken for a change"
    colours, alpha = shown.layers[1].draw(places, 0.5)
    truth = colours.permute(1, 2, 0) * alpha[..., None]
    assert psnr(made[0][..., :3] * made[0][..., 3:], truth) > psnr((ends * cover).mean(dim=0), truth) + 3


def test_bad_frames_are_explained() -> None:
    frames = clip(3)
    holed = frames.clone()
    holed[1, 2, 3, 0] = float("nan")
    sizes = [frames[0], frames[1][:40]]
    cases = [
        (holed, 3, {}, ("finite", "frame 1")),
        (sizes, 2, {}, ("64x48", "64x40 at frame 1")),
        (frames, 4, {}, ("4 frames", "found 3")),
        (frames, 3, {"engine": "magic"}, ("engine", "'magic'", "flow")),
        (frames, 3, {"cut_guard": "on"}, ("cut guard", "'on'", "hold")),
    ]
    for given, count, settings, words in cases:
        with pytest.raises(InputError) as raised:
            list(retime(given, count, Plan(), **settings))
        for word in ("Expected", "found", *words):
            assert word in str(raised.value), f"{word!r} not in {raised.value}"
