"""Dense optical flow in both directions, from coarse to fine, without weights.

An exhaustive search finds large moves at the coarsest level; robust Gauss-Newton steps over Gaussian windows (Lucas and
Kanade 1981, with gradients of both pictures averaged as in Benhimane and Malis 2004) refine them down to the pixels.
What is hidden or out of frame is not known here: `layers` decides about it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .light import Light
from .resample import blur, gradient, inside, median3, positions, read, resize, resize_moves

_COARSEST_SIDE = 24
# Reach of the search in pixels of the coarsest level: a quarter of the shorter side and more.
_REACH = 8
_STEPS = (5, 4, 4, 4)
# The level whose matches are good enough to compare colours by.
_LIGHT_LEVEL = 1
_WINDOW = 2.0
_LONGEST_STEP = 1.5
# Differences this large are half trusted: they are noise, other motion or something hidden.
_TRUST = 0.02
_DAMPING = 2e-4
# Mean difference that a candidate pointing out of frame is taken to have.
_UNKNOWN = 0.12


def both_flows(first: Tensor, second: Tensor) -> tuple[Tensor, Light]:
    """Flow from the first to the second picture and back, and the change of light between them.

    Pictures `1 3 H W` in [0, 1]. Row 0 of the flows `2 2 H W` says where each pixel of the first lies in the second,
    row 1 the other way.
    """
    sizes = level_sizes(first.shape[-2], first.shape[-1])
    light = Light.of_contrast(first, second)
    flow: Tensor | None = None
    for depth, size in enumerate(sizes):
        one, two = resize(first, size), resize(light.undone(second), size)
        here, there = torch.cat((one, two)), torch.cat((two, one))
        flow = _search(here, there) if flow is None else resize_moves(flow, size)
        flow = refine(here, there, flow, _STEPS[min(depth, len(_STEPS) - 1)])
        if depth == min(_LIGHT_LEVEL, len(sizes) - 1):
            light = light.then(_light(here, there, flow)).settled()
    assert flow is not None
    return flow, light


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes from coarse to fine, each about twice the one before, the last the pictures' own."""
    sizes = [(height, width)]
    while min(sizes[0]) >= 2 * _COARSEST_SIDE:
        sizes.insert(0, ((sizes[0][0] + 1) // 2, (sizes[0][1] + 1) // 2))
    return sizes


def refine(near: Tensor, far: Tensor, flow: Tensor, steps: int) -> Tensor:
    """Gauss-Newton steps at one level; the windows' sums are kept at half the size, for they are smooth."""
    size = (near.shape[-2], near.shape[-1])
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    here = positions(*size, near)
    across, down = gradient(near)
    for step in range(steps):
        places = here + flow
        warped = read(far, places, "bicubic")
        there_across, there_down = gradient(warped)
        gx, gy = (across + there_across) / 2, (down + there_down) / 2
        rest = warped - near
        weight = inside(places, *size) / (rest.abs().mean(dim=1, keepdim=True) + _TRUST)
        wx, wy = weight * gx, weight * gy
        products = ((wx * gx), (wx * gy), (wy * gy), (wx * rest), (wy * rest))
        sums = torch.cat([product.mean(dim=1, keepdim=True) for product in products], dim=1)
        sums = blur(F.adaptive_avg_pool2d(sums, half), _WINDOW / 2)
        flow = flow + resize(_solve(sums), size)
        if step == steps - 2:
            flow = median3(flow)
    return flow


def _solve(sums: Tensor) -> Tensor:
    """The 2 x 2 normal equations at every place: `N 5 h w` -> steps `N 2 h w`, none too long to be linear."""
    xx, xy, yy, xt, yt = sums.unbind(dim=1)
    damping = _DAMPING + 1e-3 * (xx + yy)
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    step = torch.stack((xy * yt - yy * xt, xy * xt - xx * yt), dim=1) / determinant[:, None]
    return step * (_LONGEST_STEP / step.norm(dim=1, keepdim=True).clamp(min=_LONGEST_STEP))


def _search(near: Tensor, far: Tensor) -> Tensor:
    """The whole-pixel move with the smallest difference over a window, for every pixel: `N 2 h w`."""
    height, width = near.shape[-2:]
    reach = min(_REACH, max(1, min(height, width) // 3))
    padded = F.pad(far, (reach,) * 4, mode="replicate")
    known = F.pad(torch.ones_like(far[:1, :1]), (reach,) * 4)
    offsets = range(-reach, reach + 1)
    costs: list[Tensor] = []
    for dy in offsets:
        rows = padded[..., reach + dy : reach + dy + height, :].unfold(-1, width, 1).movedim(-2, 1)
        seen = known[..., reach + dy : reach + dy + height, :].unfold(-1, width, 1).movedim(-2, 1)
        difference = (rows - near[:, None]).abs().mean(dim=2)
        costs.append(torch.lerp(torch.full_like(difference, _UNKNOWN), difference, seen[:, :, 0]))
    cost = blur(torch.cat(costs, dim=1), 1.5)
    lengths = torch.tensor([(dx * dx + dy * dy) ** 0.5 for dy in offsets for dx in offsets], device=near.device)
    # Of equal matches the nearest: flat areas stay where they are.
    best = (cost + 5e-4 * lengths[:, None, None]).argmin(dim=1)
    side = len(offsets)
    return torch.stack((best % side - reach, best // side - reach), dim=1).float()


def _light(here: Tensor, there: Tensor, flow: Tensor) -> Light:
    """Gain and offset between matched pixels, close matches counting most."""
    size = (here.shape[-2], here.shape[-1])
    places = positions(*size, here) + flow
    matched = read(there, places)[:1]
    back = read(flow[1:], places[:1])
    error = (flow[:1] + back).norm(dim=1, keepdim=True)
    weight = inside(places[:1], *size) / (1 + (error / 0.5) ** 4)
    light = Light.neutral(here)
    for _ in range(3):
        rest = (matched - light.done(here[:1])).abs().mean(dim=1, keepdim=True)
        light = Light.of_contrast(here[:1], matched, weight / (rest + _TRUST))
    return light
