"""Clips between two pictures from a network that only knows how to go on from one: each method top to bottom.

The network is run in both directions of time: forwards from the first picture, and, on the clip reversed along its
frames, from the last one. No layer knows more of time than the order of the frames, so nothing in it changes. Like the
solvers, a method is a generator that yields after every step; seeds, progress, cancelling and checks belong to the
loop. Clips are `t c h w`, one at a time; sigmas are scalars in float64 on the CPU. The steps of MPD and the length of
TRF's early phase follow accounts of the papers, not the papers themselves: defaults may differ from the authors'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import InputError, choose_from, explain
from .guidance import combine
from .loop import OnStep, follow
from .noise import NoiseSource
from .schedules import check_sigmas
from .solvers import Steps, derivative

BetweenMethod = Literal["vibid", "mpd", "trf"]
BETWEEN_METHODS: tuple[BetweenMethod, ...] = get_args(BetweenMethod)

Predict = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`unconditional, conditional = predict(x, sigma)`: the denoised estimates without and with the picture."""

_MOST_RENOISES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of time, its frames counted from its own picture to the other.

    predict: the network told of its own picture. weights: guidance `T`, rising away from that picture. far: clean
    latent `c h w` of the picture at the other end, times the scale factor.
    """

    predict: Predict
    weights: Tensor
    far: Tensor

    def estimate(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The unconditional and the guided estimate of x `t c h w`, frames in this direction's order."""
        unconditional, conditional = self.predict(x, sigma)
        return unconditional, combine(unconditional, conditional, self.weights.unsqueeze(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """Which method, and what it can be told.

    early: share of the steps, from the noisy end, in which `mpd` lends the forward motion to the way back and `trf`
    noises again. renoise: how often each of those steps is noised again and repeated. distillation: how far `mpd`
    leads the forward estimate to the end picture, 0 to 1. The papers leave these to be tuned by hand.
    """

    method: BetweenMethod = "vibid"
    early: float = 0.4
    renoise: int = 1
    distillation: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in BETWEEN_METHODS:
            raise InputError(choose_from("method", self.method, BETWEEN_METHODS))
        for name, value in (("early", self.early), ("distillation", self.distillation)):
            if not 0 <= value <= 1:
                raise InputError(explain(f"`{name}` in 0 .. 1", f"{value:g}", "Give a share, such as 0.4."))
        if not 0 <= self.renoise <= _MOST_RENOISES:
            found = str(self.renoise)
            raise InputError(explain(f"`renoise` in 0 .. {_MOST_RENOISES}", found, "1 is usual, 0 repeats no step."))

    def early_steps(self, steps: int) -> int:
        """How many of so many steps are early ones."""
        return round(self.early * steps) if self.method != "vibid" else 0

    def calls(self, steps: int) -> int:
        """Guided network calls for so many steps."""
        repeated = self.early_steps(steps) * self.renoise
        if self.method == "mpd":
            return 2 * steps - self.early_steps(steps) + repeated
        return 2 * (steps + repeated)


@torch.no_grad()
def sample_bounded(
    bounded: Bounded,
    forwards: Direction,
    backwards: Direction,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: NoiseSource,
    on_step: OnStep | None = None,
) -> Tensor:
    """Carry x `t c h w` from `sigmas[0]` to `sigmas[-1]`; its ends are then the two pictures' own latents.

    noise: fresh standard normal noise `t c h w` at each call. The published samplers leave the frame at either end
    to the network; it is known, so it is put there once all is done, and what surrounds it has been made for it.

    Raises:
        InputError: the sigmas are no schedule, or fewer than two frames.
        NumericsError: a step gave NaN or infinity.
        Cancelled: raised by `on_step`.
    """
    if len(x) < 2:
        raise InputError(explain("at least 2 frames between two pictures", f"{len(x)}", "Ask for more frames."))
    levels = check_sigmas(sigmas)
    x = follow(_METHODS[bounded.method](bounded, (forwards, backwards), x.float(), levels, noise), levels, on_step)
    return torch.cat([backwards.far[None].to(x), x[1:-1], forwards.far[None].to(x)])


def vibid(
    bounded: Bounded, directions: tuple[Direction, Direction], x: Tensor, sigmas: Tensor, noise: NoiseSource
) -> Steps:
    """One direction after the other in every step, noised again between them.

    ViBiDSampler (Yang, Kwon and Ye 2025, arXiv:2410.05651), with D the guided and U the unconditional estimate, s the
    noise level and s' the next, x* reversed in time: D(x | start) gets the end as its last frame, then
    y = D + s' (x - U) / s, then z = y + sqrt(s^2 - s'^2) e; the same with z*, D(z* | end) and the start; reversed back.
    """
    for sigma, sigma_next in pairwise(sigmas.double()):
        x, estimate = both_ways(directions, x, sigma, sigma_next, noise)
        yield x, estimate


def mpd(
    bounded: Bounded, directions: tuple[Direction, Direction], x: Tensor, sigmas: Tensor, noise: NoiseSource
) -> Steps:
    """While the noise is high, only the first direction is run and the way back is its own motion; then as `vibid`.

    Motion Prior Distillation (Jeon, Shin, Shin and Jeon 2026, arXiv:2602.12679): (1 - l) D(x | start) + l B, with B
    from `estimate_on_the_way_back`, then a step as in `vibid`; such a step is noised again and repeated.
    """
    early = bounded.early_steps(len(sigmas) - 1)
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas.double())):
        if index >= early:
            x, estimate = both_ways(directions, x, sigma, sigma_next, noise)
        else:
            x, estimate = distilled_step(bounded, directions[0], x, sigma, sigma_next)
            for _ in range(bounded.renoise):
                x = renoised(x, sigma, sigma_next, noise)
                x, estimate = distilled_step(bounded, directions[0], x, sigma, sigma_next)
        yield x, estimate


def trf(
    bounded: Bounded, directions: tuple[Direction, Direction], x: Tensor, sigmas: Tensor, noise: NoiseSource
) -> Steps:
    """Both directions from the same x, each frame taken from them by its distance to their pictures.

    Time Reversal Fusion (Feng et al. 2024, arXiv:2403.14611): frame j of T of the fused step is
    (1 - w) step(x | start) + w step(x* | end)*, w = (j - 1) / (T - 1), and steps while the noise is high are noised
    again and repeated (noise re-injection).
    """
    early = bounded.early_steps(len(sigmas) - 1)
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas.double())):
        x, estimate = fused_step(directions, x, sigma, sigma_next)
        for _ in range(bounded.renoise if index < early else 0):
            x = renoised(x, sigma, sigma_next, noise)
            x, estimate = fused_step(directions, x, sigma, sigma_next)
        yield x, estimate


def both_ways(
    directions: Sequence[Direction], x: Tensor, sigma: Tensor, sigma_next: Tensor, noise: NoiseSource
) -> tuple[Tensor, Tensor]:
    """One step of `vibid`: down forwards, up again by fresh noise, down backwards."""
    forwards, backwards = directions
    x, _ = half_step(forwards, x, sigma, sigma_next)
    x = renoised(x, sigma, sigma_next, noise)
    x, estimate = half_step(backwards, x.flip(0), sigma, sigma_next)
    return x.flip(0), estimate.flip(0)


def half_step(direction: Direction, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """A step in one direction whose estimate ends in the other picture.

    DDS (Chung, Lee and Ye 2024, arXiv:2303.05754) solves for the estimate nearest to the network's that agrees with
    what is known. Known is a frame, and on a projection conjugate gradients end after one iteration, at replacing it.
    """
    unconditional, estimate = direction.estimate(x, sigma)
    estimate = torch.cat([estimate[:-1], direction.far[None].to(x)])
    return cfg_pp_step(x, estimate, unconditional, sigma, sigma_next), estimate


def distilled_step(
    bounded: Bounded, forwards: Direction, x: Tensor, sigma: Tensor, sigma_next: Tensor
) -> tuple[Tensor, Tensor]:
    """A step of `mpd` while the noise is high: the forward estimate, and its own motion led to the other picture."""
    unconditional, estimate = forwards.estimate(x, sigma)
    estimate = torch.lerp(estimate, estimate_on_the_way_back(estimate, forwards.far), bounded.distillation)
    return cfg_pp_step(x, estimate, unconditional, sigma, sigma_next), estimate


def fused_step(directions: Sequence[Direction], x: Tensor, sigma: Tensor, sigma_next: Tensor) -> tuple[Tensor, Tensor]:
    """A step of `trf`. Euler's step is linear in the estimate, so fusing estimates fuses the steps."""
    forwards, backwards = directions
    there, back = forwards.estimate(x, sigma)[1], backwards.estimate(x.flip(0), sigma)[1].flip(0)
    share = torch.linspace(0, 1, len(x), dtype=torch.float64).to(x).view(-1, 1, 1, 1)
    estimate = torch.lerp(there, back, share)
    return x + derivative(x, sigma, estimate) * (sigma_next - sigma), estimate


def cfg_pp_step(x: Tensor, estimate: Tensor, unconditional: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Euler with the noise of the unconditional estimate (CFG++, Chung et al. 2024, arXiv:2406.08070, algorithm 2)."""
    return estimate + derivative(x, sigma, unconditional) * sigma_next


def renoised(x: Tensor, sigma: Tensor, sigma_next: Tensor, noise: NoiseSource) -> Tensor:
    """From `sigma_next` up to `sigma` by fresh noise: variances add."""
    return x + math.sqrt(float(sigma) ** 2 - float(sigma_next) ** 2) * noise().to(x)


def estimate_on_the_way_back(forward: Tensor, end: Tensor) -> Tensor:
    """What a way back would estimate that moves as the forward estimate `t c h w` does and starts at `end` `c h w`.

    MPD hangs the noise of the way back on the end picture and adds the forward noise residuals, frame by frame in
    reverse: e'(1) = (x(T) - end) / s, e'(i) = e'(i-1) - (e(T+2-i) - e(T+1-i)), estimate x - s e'. The residuals
    telescope, x drops out, and what is left is the forward estimate moved as a whole until its last frame is `end`.
    """
    return forward + (end.to(forward) - forward[-1])


_METHODS: dict[BetweenMethod, Callable[[Bounded, tuple[Direction, Direction], Tensor, Tensor, NoiseSource], Steps]] = {
    "vibid": vibid,
    "mpd": mpd,
    "trf": trf,
}
