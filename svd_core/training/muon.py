"""Muon for the matrices of the hidden layers, AdamW for everything else: one optimiser, one state to save.

Muon (K. Jordan et al., 2024, "Muon: an optimizer for hidden layers in neural networks") replaces the momentum of a
matrix by its nearest orthogonal matrix, which five Newton-Schulz steps approach. Updates are scaled to the size AdamW's
have (J. Liu et al., 2025, "Muon is scalable for LLM training", section 2.2), so one learning rate serves both; a
schedule that sets it multiplies by the group's `share`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MATCHED = 0.2
_OTHERS = 0.6
# First and last layers, embeddings: their rows are not directions of a hidden space.
_EDGES = re.compile(r"input_blocks\.0\.|unet\.out\.|motion_head\.|embed|_emb|emb_")


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon moves a parameter: weights of two or more axes between the first and the last layer."""
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) > 1 and _EDGES.search(name) is None


def orthogonal(matrices: Tensor) -> Tensor:
    """Roughly the nearest matrices `n a b` with singular values of one (they end between 0.7 and 1.2)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    first, third, fifth = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = first * x + (third * gram + fifth * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """`named` parameters in two groups: hidden matrices by Muon, the rest by AdamW."""

    def __init__(
        self,
        named: Iterable[tuple[str, Tensor]],
        *,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
    ) -> None:
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for name, parameter in named:
            (matrices if is_hidden_matrix(name, parameter) else others).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": matrices, "muon": True, "momentum": momentum},
            {"params": others, "muon": False, "betas": betas, "share": _OTHERS},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            chosen = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in chosen:
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
            (self._muon if group["muon"] else self._adam)(chosen, group)
        return loss

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Matrices of one shape are made orthogonal together."""
        shapes: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for parameter in parameters:
            gradient = cast("Tensor", parameter.grad)
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            ahead = gradient.lerp(state["momentum"], group["momentum"]).flatten(1)
            shapes.setdefault((ahead.shape[0], ahead.shape[1]), []).append((parameter, ahead))
        for (rows, columns), entries in shapes.items():
            updates = orthogonal(torch.stack([ahead for _, ahead in entries]))
            size = group["lr"] * _MATCHED * max(rows, columns) ** 0.5
            for (parameter, _), update in zip(entries, updates, strict=True):
                parameter.add_(update.view_as(parameter), alpha=-size)

    def _adam(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        slow, fast = group["betas"]
        for parameter in parameters:
            gradient = cast("Tensor", parameter.grad)
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            count = float(state["step"])
            state["mean"].lerp_(gradient, 1 - slow)
            state["square"].lerp_(gradient.square(), 1 - fast)
            spread = (state["square"] / (1 - fast**count)).sqrt_().add_(1e-8)
            parameter.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - slow**count))
