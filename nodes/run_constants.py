"""What does not depend on x, kept from step to step of one run of the host's sampler.

The host hands conditioning over as new tensors in every step, so entries are found by their values. Nothing
outlives the run: the host's patcher says when one begins and ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..svd_core.unet import VideoUNet
from ..svd_core.unet.hoist import WeightsMark
from ..svd_core.unet.residency import hoisted_modules
from ..svd_core.unet.stages import ClipConstants, StepConstants

# Both halves of guidance one by one, for a few conditionings that share a picture.
_MOST = 8


@dataclass(frozen=True, slots=True)
class Told:
    """What the network is told besides x and the noise level; tensors as in `VideoUNet.prepare_clip`."""

    context: Tensor
    vector: Tensor
    frames: int
    stills: Tensor | None

    def equals(self, other: Told) -> bool:
        """Whether both hold the same values, to the bit."""
        pairs = ((self.context, other.context), (self.vector, other.vector), (self.stills, other.stills))
        return self.frames == other.frames and all(_same(ours, theirs) for ours, theirs in pairs)


@dataclass(slots=True)
class _Entry:
    told: Told
    clip: ClipConstants
    c_noise: Tensor | None = None
    step: StepConstants | None = None


@dataclass(slots=True)
class RunConstants:
    """Constants of the run in progress; between runs nothing is kept and everything evaluated anew.

    Of each conditioning the last noise level is remembered: solvers of second order ask for it twice.
    """

    _hooked: Callable[[], bool] | None = None
    _watched: tuple[nn.Module, ...] = ()
    _mark: WeightsMark | None = None
    _entries: list[_Entry] = field(default_factory=list[_Entry])

    def open(self, unet: VideoUNet, hooked: Callable[[], bool]) -> None:
        """A run begins. `hooked` says whether other weights than the run's own are in the network right now."""
        self.close()
        self._hooked = hooked
        self._watched = tuple(module for root in hoisted_modules(unet) for module in root.modules())

    def close(self) -> None:
        """The run has ended: let go of everything."""
        self._hooked, self._watched, self._mark = None, (), None
        self._entries.clear()

    def of(self, unet: VideoUNet, told: Told, c_noise: Tensor) -> StepConstants:
        """What `unet` evaluates for this conditioning and noise level, `b` or `(b t)`."""
        # A graph for gradients belongs to one call; weights that hooks swap in leave no trace in a mark.
        if self._hooked is None or torch.is_grad_enabled() or self._hooked():
            return unet.prepare_step(c_noise, _prepared(unet, told))
        mark = WeightsMark.of(self._watched)
        if self._mark is None or mark.numbers != self._mark.numbers:
            self._entries.clear()
            self._mark = mark
        entry = self._entry(unet, told)
        if entry.step is None or not _same(entry.c_noise, c_noise):
            entry.step, entry.c_noise = unet.prepare_step(c_noise, entry.clip), c_noise
        return entry.step

    def _entry(self, unet: VideoUNet, told: Told) -> _Entry:
        for entry in self._entries:
            if entry.told.equals(told):
                return entry
        del self._entries[: max(0, len(self._entries) + 1 - _MOST)]
        self._entries.append(_Entry(told, _prepared(unet, told)))
        return self._entries[-1]


def _prepared(unet: VideoUNet, told: Told) -> ClipConstants:
    return unet.prepare_clip(told.context, told.vector, told.frames, image_only=told.stills)


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.dtype == second.dtype and first.device == second.device and torch.equal(first, second)
