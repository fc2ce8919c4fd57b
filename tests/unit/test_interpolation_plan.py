"""Counts and times, exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svd_core.errors import InputError
from svd_core.interpolation import Plan, parse_pairs, parse_times, to_rate


def test_rates_give_exact_times() -> None:
    plan = Plan(factor=to_rate(Fraction(24), Fraction(60)))
    assert plan.count(25) == 61
    times = list(plan.shown(25))
    assert times[:6] == [Fraction(n, 5) for n in (0, 2, 4, 6, 8, 10)] and times[-1] == 24
    assert Plan(factor=to_rate(Fraction(25), Fraction(30))).count(26) == 31
    seven = Plan(factor=to_rate(Fraction(7), Fraction(24)))
    assert seven.count(25) == 83 and list(seven.shown(25))[24] == 7
    ntsc = Plan(factor=to_rate(Fraction(24000, 1001), Fraction(60000, 1001)))
    assert ntsc == Plan(factor=Fraction(5, 2))


@pytest.mark.parametrize(
    ("plan", "frames", "count"),
    [
        (Plan(factor=Fraction(5, 2)), 5, 11),
        (Plan(factor=Fraction(4)), 14, 53),
        (Plan(factor=Fraction(4), loop="close"), 14, 56),
        (Plan(factor=Fraction(4), keep_duration=True), 14, 56),
        (Plan(factor=Fraction(4), loop="ping-pong"), 14, 104),
        (Plan(factor=Fraction(5, 2), keep_duration=True), 5, 13),
        (Plan(factor=Fraction(1, 2)), 9, 5),
        (Plan(factor=Fraction(4, 5)), 6, 5),
        (Plan(times=(Fraction(1, 4), Fraction(1, 2))), 3, 7),
        (Plan(factor=Fraction(3), loop="close"), 1, 1),
        (Plan(factor=Fraction(3)), 0, 0),
    ],
)
def test_counts(plan: Plan, frames: int, count: int) -> None:
    assert plan.count(frames) == count == len(list(plan.shown(frames)))


@given(
    st.fractions(Fraction(1, 8), 9, max_denominator=60),
    st.integers(2, 40),
    st.sampled_from(["off", "close", "ping-pong"]),
    st.sampled_from(["linear", "in", "out", "in-out"]),
    st.booleans(),
)
def test_times_rise_and_stay_in_the_clip(factor: Fraction, frames: int, loop: str, ease: str, keep: bool) -> None:
    plan = Plan(factor=factor, loop=loop, ease=ease, keep_duration=keep)
    times = list(plan.shown(frames))
    assert len(times) == plan.count(frames)
    assert times[0] == 0 and times == sorted(times)
    assert times[-1] < plan.length(frames) or (ease != "linear" and times[-1] <= plan.length(frames))


def test_ease_starts_slowly_and_arrives() -> None:
    times = list(Plan(factor=Fraction(4), ease="in-out").shown(3))
    assert times[0] == 0 and times[4] == 1 and times[8] == 2
    assert times[1] == 2 * (3 * Fraction(1, 64) - 2 * Fraction(1, 512))


def test_pairs_choose() -> None:
    assert parse_pairs("0-2, 5") == {0, 1, 2, 5}
    only = Plan(pairs=parse_pairs("3"), pairs_mode="only")
    assert [only.interpolates(left) for left in (2, 3, 4)] == [False, True, False]
    skip = Plan(pairs=parse_pairs("3"))
    assert [skip.interpolates(left) for left in (2, 3, 4)] == [True, False, True]
    assert parse_times("0.25, 1/2") == (Fraction(1, 4), Fraction(1, 2))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Plan(factor=Fraction(0)), ("factor", "0.0")),
        (lambda: Plan(factor=Fraction(-2)), ("above 0", "-2")),
        (lambda: Plan(loop="round"), ("close", "'round'")),
        (lambda: Plan(times=(Fraction(1, 2), Fraction(1, 4))), ("rising", "0.5, 0.25")),
        (lambda: to_rate(Fraction(0), Fraction(24)), ("source rate", "0 fps")),
        (lambda: to_rate(Fraction(24), Fraction(-1)), ("target rate", "-1 fps")),
        (lambda: parse_pairs("3-1"), ("small to large", "3-1")),
        (lambda: parse_pairs("x"), ("frame numbers", "'x'")),
        (lambda: parse_times("a,b"), ("numbers between 0 and 1", "a,b")),
    ],
)
def test_nonsense_is_explained(build: object, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as raised:
        build()  # type: ignore[operator]
    for word in ("Expected", "found", *words):
        assert word in str(raised.value)
