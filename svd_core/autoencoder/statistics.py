"""Group-norm statistics of a clip that is decoded in pieces: measured over all pieces, then used for each.

A temporal norm averages over all frames of a clip, a spatial one over all pixels of a frame. A piece of either
has other averages than the whole, which is what makes chunks flicker and tiles show.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor, nn

_COUNT, _SUM, _SQUARES = range(3)


class Statistics:
    """Moments of every channel group of every norm; a temporal norm has one row, a spatial one a row a frame."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[int, Tensor]] = {}

    def add(self, name: str, row: int, frame: Tensor, groups: int) -> None:
        """Count in one frame `c h w`."""
        grouped = rearrange(frame, "(g c) h w -> g (c h w)", g=groups)
        variance, mean = (part.double().cpu() for part in torch.var_mean(grouped.float(), dim=1, correction=0))
        sums = torch.stack([torch.ones_like(mean), mean, variance + mean.square()]) * grouped.shape[1]
        rows = self._sums.setdefault(name, {})
        rows[row] = rows[row] + sums if row in rows else sums

    def mean_and_variance(self, name: str, row: int) -> tuple[Tensor, Tensor]:
        """Two float64 vectors, one entry a group."""
        sums = self._sums[name][row]
        mean = sums[_SUM] / sums[_COUNT]
        return mean, (sums[_SQUARES] / sums[_COUNT] - mean.square()).clamp(min=0)

    def finite(self) -> bool:
        """Whether no norm met NaN or infinity."""
        return all(bool(sums.isfinite().all()) for rows in self._sums.values() for sums in rows.values())


class Supplied:
    """A `Normalise` that uses the statistics `known` and counts what it sees into `measured`; either may be absent.

    Without `known` every norm uses those of its own input. Spatial norms always do and are not counted, unless
    `per_frame` is set, which is for when only a tile of each frame will pass, or to measure for that. One instance
    serves one pass over one clip, from `first_frame` on.
    """

    def __init__(
        self,
        decoder: nn.Module,
        *,
        known: Statistics | None = None,
        measured: Statistics | None = None,
        per_frame: bool = False,
        first_frame: int = 0,
    ) -> None:
        self._names = {module: name for name, module in decoder.named_modules()}
        self._known = known
        self._measured = measured
        self._per_frame = per_frame
        self._next_row: dict[nn.Module, int] = {}
        self._first_frame = first_frame
        self._affine: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def __call__(self, norm: nn.GroupNorm, x: Tensor, repeated: int = 0) -> Tensor:
        """See `Normalise`."""
        if x.ndim == 5:
            self._measure(norm, x[0, :, repeated:].unbind(dim=1), [0] * (x.shape[2] - repeated))
            return norm(x) if self._known is None else self._normalise(self._known, norm, x, [0])
        if not self._per_frame:
            return norm(x)
        rows = self._rows(norm, x.shape[0])
        self._measure(norm, x, rows)
        if self._known is None:
            return norm(x)
        clip = rearrange(x, "t c h w -> 1 c t h w")
        return rearrange(self._normalise(self._known, norm, clip, rows), "1 c t h w -> t c h w")

    def _measure(self, norm: nn.GroupNorm, frames: Iterable[Tensor], rows: list[int]) -> None:
        if self._measured is None:
            return
        for frame, row in zip(frames, rows, strict=True):
            self._measured.add(self._names[norm], row, frame, norm.num_groups)

    def _normalise(self, known: Statistics, norm: nn.GroupNorm, clip: Tensor, rows: list[int]) -> Tensor:
        """clip `1 c t h w`, with one row for all its frames or one each."""
        if norm not in self._affine:
            self._affine[norm] = _weight_and_bias(norm, clip)
        weight, bias = (part.unsqueeze(1) for part in self._affine[norm])
        moments = [known.mean_and_variance(self._names[norm], row) for row in rows]
        mean, variance = (torch.stack(part, dim=1) for part in zip(*moments, strict=True))
        width = norm.num_channels // norm.num_groups
        scale = (variance + norm.eps).rsqrt().repeat_interleave(width, dim=0) * weight
        shift = bias - mean.repeat_interleave(width, dim=0) * scale
        shape = (1, -1, len(rows), 1, 1)
        return _scale_and_shift(
            clip, scale.to(clip.device, torch.float32).view(shape), shift.to(clip.device, torch.float32).view(shape)
        )

    def _rows(self, norm: nn.GroupNorm, frames: int) -> list[int]:
        """Frames pass a spatial norm once and in order, so counting them tells which ones these are."""
        first = self._next_row.get(norm, self._first_frame)
        self._next_row[norm] = first + frames
        return list(range(first, first + frames))


def _scale_and_shift(clip: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    if clip.dtype == torch.float32:
        return torch.addcmul(shift, clip, scale)
    # Half precision is widened one frame at a time: the whole clip in float32 would be the largest tensor of all.
    normed = torch.empty_like(clip)
    for index in range(clip.shape[2]):
        row = index if scale.shape[2] > 1 else 0
        frame = torch.addcmul(shift[:, :, row], clip[:, :, index].float(), scale[:, :, row])
        normed[:, :, index] = frame
    return normed


def _weight_and_bias(norm: nn.GroupNorm, like: Tensor) -> tuple[Tensor, Tensor]:
    """The norm's affine part as two float64 vectors, asked of the layer by calling it.

    A layer's weights may lie on another device, be patched or quantised; only its call knows. Zeros come out
    as the bias, and plus and minus one, being of zero mean, as the bias plus and minus the weight.
    """
    probe = like.new_zeros(2, norm.num_channels, 2)
    probe[1, :, 0], probe[1, :, 1] = 1, -1
    answer = norm(probe).double().cpu()
    weight = (answer[1, :, 0] - answer[1, :, 1]) / 2 * (1 + norm.eps) ** 0.5
    return weight, answer[0, :, 0]
