"""The loop: reports, cancels, and says where numbers broke."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor

from svd_core.errors import Cancelled, InputError, NumericsError
from svd_core.sampling import get_solver, make_schedule, preview, sample
from svd_core.types import StepInfo

SIGMAS = make_schedule("karras", 5, 0.002, 700.0)


def halve(x: Tensor, sigma: Tensor) -> Tensor:
    return x / 2


def no_noise() -> Tensor:
    raise AssertionError("unexpected draw")


def test_every_step_is_reported_with_its_sigma() -> None:
    seen: list[StepInfo] = []
    sample(halve, torch.ones(2, 4, 3, 3), SIGMAS, solver=get_solver("euler"), noise=no_noise, on_step=seen.append)
    assert [info.index for info in seen] == [0, 1, 2, 3, 4] and {info.total for info in seen} == {5}
    assert [info.sigma for info in seen] == [pytest.approx(float(sigma)) for sigma in SIGMAS[:-1]]


def test_cancel_stops_at_once_and_leaves_nothing_behind() -> None:
    calls: list[int] = []
    held: list[weakref.ref[Tensor]] = []

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(1)
        result = x / 2
        held.append(weakref.ref(result))
        return result

    def stop(info: StepInfo) -> None:
        if info.index == 1:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        sample(denoiser, torch.ones(2, 4, 3, 3), SIGMAS, solver=get_solver("euler"), noise=no_noise, on_step=stop)
    gc.collect()
    assert len(calls) == 2
    assert all(reference() is None for reference in held), "an estimate outlived the cancelled run"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_numbers_name_step_and_sigma(value: float) -> None:
    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        broken = x.clone()
        if sigma < 200:
            broken[0, 0, 0, 0] = value
        return broken

    with pytest.raises(NumericsError, match=r"1 of 72 values .* step 2 of 5 \(sigma 134\.9") as caught:
        sample(denoiser, torch.ones(2, 4, 3, 3), SIGMAS, solver=get_solver("euler"), noise=no_noise)
    assert "Expected" in str(caught.value)


def test_latents_stay_float32_and_the_argument_untouched() -> None:
    x = torch.ones(2, 4, 3, 3, dtype=torch.float16)
    result = sample(halve, x, SIGMAS, solver=get_solver("heun"), noise=no_noise)
    assert result.dtype == torch.float32 and not result.requires_grad and bool((x == 1).all())


def test_ascending_sigmas_are_refused() -> None:
    with pytest.raises(InputError, match="descending"):
        sample(halve, torch.ones(1, 4, 2, 2), SIGMAS.flip(0), solver=get_solver("euler"), noise=no_noise)


def test_preview_projects_known_latents_and_normalises_others() -> None:
    known = preview(torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1).expand(2, 4, 3, 5))
    assert known.shape == (2, 3, 5, 3)
    torch.testing.assert_close(known[0, 0, 0], (1 + torch.tensor([0.3512, 0.2297, 0.3227])) / 2)
    for channels in (1, 2, 3, 8):
        other = preview(torch.randn(4, channels, 6, 6, generator=torch.Generator().manual_seed(0)) * 40 + 3)
        assert other.shape == (4, 6, 6, 3) and float(other.min()) >= 0 and float(other.max()) <= 1
        assert 0.15 < float(other.std()) < 0.3
    assert torch.equal(preview(torch.zeros(1, 8, 2, 2)), torch.full((1, 2, 2, 3), 0.5))
