"""Named moves: signs, totals under every ease, ranges, sums, refusals."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from svd_core.camera.moves import AXES, MOVES, CameraMove, Ease, combine
from svd_core.errors import InputError


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("ease", get_args(Ease))
def test_a_move_covers_its_amount_on_its_axis_only(name: str, ease: Ease) -> None:
    motion = combine([CameraMove(name=name, amount=8.0, ease=ease)], frames=15, fps=7)
    kind = MOVES[name]
    for axis in AXES:
        # 14 steps at 7 frames a second are 2 seconds.
        expected = kind.sign * 16.0 if axis == kind.axis else 0.0
        assert float(getattr(motion, axis).sum()) == pytest.approx(expected), f"{name} on {axis}"


def test_opposite_names_and_amounts_cancel() -> None:
    pairs = [("pan_left", "pan_right"), ("tilt_up", "tilt_down"), ("zoom_in", "zoom_out"), ("roll_cw", "roll_ccw")]
    for one, two in pairs:
        moves = [CameraMove(name=one, amount=3.0), CameraMove(name=two, amount=3.0)]
        assert all(float(getattr(combine(moves, 8, 6.0), axis).abs().max()) == 0 for axis in AXES)
        assert MOVES[one].sign == -MOVES[two].sign


def test_eases_start_and_end_as_named() -> None:
    speeds = {
        ease: combine([CameraMove(name="pan_right", amount=1.0, ease=ease)], 11, 1).pan for ease in get_args(Ease)
    }
    assert torch.allclose(speeds["linear"], torch.ones(10, dtype=torch.float64))
    assert bool((speeds["in"].diff() > 0).all()) and bool((speeds["out"].diff() < 0).all())
    assert torch.allclose(speeds["in"], speeds["out"].flip(0))
    assert torch.allclose(speeds["in-out"], speeds["in-out"].flip(0)) and float(speeds["in-out"].argmax()) in (4, 5)


def test_a_range_limits_a_move_and_moves_add_up() -> None:
    moves = [
        CameraMove(name="zoom_in", amount=6.0, first=2, last=5),
        CameraMove(name="zoom_out", amount=2.0),
        CameraMove(name="roll_cw", amount=-4.0),
    ]
    motion = combine(moves, frames=8, fps=2)
    assert motion.zoom.tolist() == pytest.approx([-1, -1, 2, 2, 2, -1, -1])
    assert motion.roll.tolist() == pytest.approx([-2] * 7)


@pytest.mark.parametrize(("first", "last"), [(0, 8), (-1, 4), (5, 5), (6, 3)])
def test_a_range_outside_the_clip_is_refused(first: int, last: int) -> None:
    with pytest.raises(InputError, match="0-7"):
        combine([CameraMove(name="pan_left", amount=1.0, first=first, last=last)], frames=8, fps=6)


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"pan_left.*roll_ccw"):
        CameraMove(name="dolly", amount=1.0)
    with pytest.raises(InputError, match="in-out"):
        CameraMove(name="pan_left", amount=1.0, ease="bounce")  # type: ignore[arg-type]
