"""Muon: orthogonal updates for matrices, AdamW's for the rest, a state that can be saved."""

from __future__ import annotations

import copy

import pytest
import torch

from svd_core.config import NANO
from svd_core.training.muon import Muon, is_hidden_matrix, orthogonal
from svd_core.training.networks import start


@pytest.mark.parametrize("shape", [(3, 8, 24), (2, 24, 8), (1, 16, 16)])
def test_updates_are_nearly_orthogonal(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonal(matrices)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3, f"singular values {values.min():.2f} to {values.max():.2f}"
    nearest = left @ right
    cosine = (found * nearest).sum() / (found.norm() * nearest.norm())
    assert cosine > 0.95, f"cosine to the nearest orthogonal matrices {cosine:.3f}"


def test_the_size_of_an_update_is_that_of_adam() -> None:
    weight = torch.nn.Parameter(torch.zeros(32, 16, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    Muon([("unet.middle.weight", weight)], lr=0.01, weight_decay=0.0).step()
    size = float(weight.detach().square().mean().sqrt())
    assert 0.1 < size / 0.01 < 0.3, f"root mean square {size:.1e} at a rate of 1e-2"


def test_the_rest_moves_as_adamw() -> None:
    def parameters() -> list[torch.nn.Parameter]:
        return [torch.nn.Parameter(torch.linspace(-1, 1, 5))]

    mine, theirs = parameters(), parameters()
    optimisers = (
        Muon([("unet.out.0.bias", mine[0])], lr=0.1),
        torch.optim.AdamW(theirs, lr=0.1, betas=(0.9, 0.99), weight_decay=0.01),
    )
    for step in range(5):
        for (parameter,), optimiser in zip((mine, theirs), optimisers, strict=True):
            parameter.grad = torch.cos(parameter.detach() * (step + 1))
            optimiser.step()
    assert torch.allclose(mine[0], theirs[0], atol=1e-6), f"difference {(mine[0] - theirs[0]).abs().max():.1e}"


def test_it_halves_the_steps_on_an_ill_conditioned_problem() -> None:
    generator = torch.Generator().manual_seed(3)
    scales = torch.logspace(0, -2, 16)
    inputs = torch.randn(512, 16, generator=generator) * scales
    truth = torch.randn(16, 16, generator=generator)

    def error(build: type[Muon] | None) -> float:
        weight = torch.nn.Parameter(torch.zeros(16, 16))
        optimiser = (
            Muon([("a.weight", weight)], lr=0.05, weight_decay=0.0) if build else torch.optim.SGD([weight], lr=0.05)
        )
        for step in range(200):
            for group in optimiser.param_groups:
                group["lr"] = 0.05 * (1 - step / 200)
            loss = (inputs @ (weight.T - truth.T)).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float((weight.detach() - truth).square().mean())

    muon, plain = error(Muon), error(None)
    assert muon < plain / 2, f"weight error {muon:.3f} with Muon, {plain:.3f} with gradient descent"


def test_which_parameters_are_hidden_matrices() -> None:
    named = dict(start(NANO, seed=1).named_parameters())
    hidden = {name for name, parameter in named.items() if is_hidden_matrix(name, parameter)}
    assert not [name for name in hidden if named[name].ndim < 2]
    assert not {"unet.input_blocks.0.0.weight", "unet.out.2.weight"} & hidden
    share = sum(named[name].numel() for name in hidden if name.startswith("unet.")) / 4_787_351
    assert 0.8 < share < 1, f"Muon moves {share:.0%} of the UNet"


def test_a_reloaded_state_continues_alike() -> None:
    def make() -> tuple[list[torch.nn.Parameter], Muon]:
        generator = torch.Generator().manual_seed(4)
        parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((6, 4), (4,))]
        return parameters, Muon([("a.weight", parameters[0]), ("a.bias", parameters[1])], lr=0.01)

    def advance(parameters: list[torch.nn.Parameter], optimiser: Muon, first: int) -> None:
        for step in range(first, first + 3):
            for parameter in parameters:
                parameter.grad = torch.sin(parameter.detach() * 3 + step)
            optimiser.step()

    whole, optimiser = make()
    advance(whole, optimiser, 0)
    other, resumed = make()
    for mine, saved in zip(other, whole, strict=True):
        mine.data.copy_(saved.data)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    advance(whole, optimiser, 3)
    advance(other, resumed, 3)
    assert all(torch.equal(a, b) for a, b in zip(whole, other, strict=True))
