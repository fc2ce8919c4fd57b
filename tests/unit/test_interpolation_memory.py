"""A long clip takes the memory of a few frames: a small version of `tests.bench.test_interpolation_memory`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.bench import test_interpolation_memory as bench

SIDE, FRAMES, MOST = 160, 100, 60


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", [bench.through_cli, bench.through_node])
def test_memory_is_flat(way: Callable[[int, str], float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SIDE", SIDE)
    made = FRAMES * bench.FACTOR * SIDE * SIDE * 3 * 4 / 2**20
    grown = way(FRAMES, "blend")
    assert grown < MOST < made / 1.9, f"{grown:.0f} MB for {made:.0f} MB of frames"
