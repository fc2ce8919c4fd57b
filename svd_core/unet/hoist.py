"""HoistedUNet: the network bound to one conditioning, with everything constant over steps evaluated once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .plan import FAST, ExecutionPlan
from .residency import constants_on, hoisted_modules
from .stages import ClipConstants, StepConstants
from .unet import VideoUNet


@dataclass(slots=True)
class HoistedUNet:
    """`v = hoisted(x, c_noise)` for the clips of `context` (`b n d`) and `vector` (`b v` or `b t v`).

    Constants are evaluated where `context` lies, kept on the device of x for every noise level met, and
    rebuilt when a weight they came from changes or a hoisted layer gets another forward (an adapter).
    """

    unet: VideoUNet
    context: Tensor
    vector: Tensor
    num_frames: int
    plan: ExecutionPlan = FAST
    _watched: tuple[nn.Module, ...] = ()
    _mark: WeightsMark | None = None
    _clip: ClipConstants | None = None
    _steps: dict[float, StepConstants] = field(default_factory=dict[float, StepConstants])

    def __call__(self, x: Tensor, c_noise: Tensor | float) -> Tensor:
        """x `(b t) c h w` scaled and concatenated, c_noise one value for all clips -> v `(b t) c h w`."""
        return self.unet.run(x, self.constants(float(c_noise), x.device), self.plan)

    def constants(self, c_noise: float, device: torch.device) -> StepConstants:
        """The constants of one noise level, from memory when nothing they depend on has changed."""
        if not self._watched:
            # The walk over all modules costs more than the look at the weights: once, not every step.
            self._watched = tuple(m for root in hoisted_modules(self.unet) for m in root.modules())
        mark = WeightsMark.of(self._watched)
        if self._clip is None or self._mark is None or mark.numbers != self._mark.numbers:
            self._mark = mark
            self._steps.clear()
            self._clip = self.unet.prepare_clip(self.context, self.vector, self.num_frames)
        if c_noise not in self._steps:
            rows = torch.full((self.context.shape[0],), c_noise, dtype=torch.float32, device=self.context.device)
            self._steps[c_noise] = constants_on(self.unet.prepare_step(rows, self._clip), device)
        return self._steps[c_noise]


@dataclass(frozen=True, slots=True, eq=False)
class WeightsMark:
    """The hoisted weights at one moment: numbers that change with them, and what those numbers point at.

    Holding the tensors and forwards alive is what makes the numbers safe: an address cannot come back
    for another tensor while its first owner still exists.
    """

    numbers: tuple[int, ...]
    kept: tuple[object, ...]

    @staticmethod
    def of(modules: tuple[nn.Module, ...]) -> WeightsMark:
        """Numbers change when a hoisted weight is replaced or written to, or a hoisted layer gets another forward."""
        numbers: list[int] = []
        kept: list[object] = []
        for module in modules:
            override = module.__dict__.get("forward")
            # An adapter's override stays the same object while its strengths change; it says when they do.
            states = getattr(override, "states", None)
            for state in (override,) if states is None else states():
                numbers.append(id(state))
                kept.append(state)
            for parameter in module.parameters(recurse=False):
                numbers += [parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version]
                kept.append(parameter.detach())
        return WeightsMark(tuple(numbers), tuple(kept))
