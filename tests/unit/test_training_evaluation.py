"""The judges' arithmetic."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from PIL import Image

from svd_core.errors import OutputError
from svd_core.training.evaluation import evaluate
from svd_core.training.scores_arithmetic import decibels, spearman
from svd_core.training.scores_clip import coherent_flow, mean_flow
from svd_core.training.sheet import contact_sheet, save_sheet
from svd_core.training.worlds import HELD_OUT, WorldSize, draw_clips
from tests.models import SMALL, random_model


def test_decibels_average_errors_first() -> None:
    black = torch.full((2, 3, 4, 4), -1.0)
    grey = black + torch.tensor([0.2, 0.0])[:, None, None, None]
    assert decibels(grey, black) == pytest.approx(-10 * torch.log10(torch.tensor(0.1**2 / 2)).item(), abs=1e-4)


def test_rank_correlation_sees_order_alone() -> None:
    order = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert spearman(order, order.exp()) == pytest.approx(1)
    assert spearman(order, -order) == pytest.approx(-1)
    assert spearman(order, torch.tensor([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.8)


def test_flicker_cancels_in_coherent_motion() -> None:
    still = draw_clips(2, HELD_OUT, range(1), WorldSize(frames=8), move="static", speed=0.0).pixels[0]
    noise = 0.05 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))
    moving = draw_clips(2, HELD_OUT, range(1), WorldSize(frames=8), move="pan_right", speed=1 / 64).pixels[0]
    assert coherent_flow(moving) == pytest.approx(mean_flow(moving), rel=0.05)
    steps, shared = mean_flow((still + noise).clamp(-1, 1)), coherent_flow((still + noise).clamp(-1, 1))
    assert shared < 0.7 * steps, f"flicker reads {steps:.3f} px a step, {shared:.3f} coherent"


def test_sheet_has_a_row_a_clip() -> None:
    image = contact_sheet(torch.zeros(3, 5, 3, 8, 10), columns=4, scale=2)
    assert image.size == (4 * 12 * 2, 3 * 10 * 2)


def test_a_full_disk_leaves_the_sheet_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sheets" / "final.png"
    save_sheet(path, torch.zeros(1, 2, 3, 8, 8))
    before = path.read_bytes()

    def full(image: Image.Image, place: Path, format: str) -> None:
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="room on the disk"):
        save_sheet(path, torch.ones(1, 2, 3, 8, 8))
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_the_short_judgement_is_the_same_every_time_and_a_seed_changes_it() -> None:
    model = random_model(SMALL)
    one, again, other = (evaluate(model, clips=2, buckets=(1.0, 80.0), seed=seed)[0] for seed in (None, None, 3))
    assert one == again
    assert one.reconstruction != other.reconstruction, "other worlds"
    assert one.first_frame != other.first_frame
