"""Low-rank changes to single layers, computed beside them while they run: no weight is read, written or copied."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, explain
from .frame_axis import FrameAxis, Site, scaled
from .lora import LowRank

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """How strong each LoRA of an adapter is at one moment.

    strengths: `t l` float32, t = 1 where none depends on the frame; live: places of those that act at all. Every
    moment is an object of its own, so that whoever keeps results can see that they are still good.
    """

    strengths: Tensor
    live: frozenset[int]

    @staticmethod
    def of(strengths: Tensor, active: Sequence[bool]) -> Mix:
        """Only LoRAs that are active and not of strength 0 in all frames are live."""
        live = frozenset(index for index, on in enumerate(active) if on and bool(strengths[:, index].any()))
        same = all(bool((strengths[:, index] == strengths[0, index]).all()) for index in live)
        return Mix(strengths[:1] if same else strengths, live)

    @property
    def varies(self) -> bool:
        """Whether frames differ."""
        return len(self.strengths) > 1


@dataclass(slots=True)
class Control:
    """What all layers of an adapter look at."""

    mix: Mix


@dataclass(frozen=True, slots=True)
class _Stack:
    """The live LoRAs of a layer as one: down `R in ...`, up `out R ...`; gains `t R`, None where `up` holds them."""

    mix: Mix
    down: Tensor
    up: Tensor
    gains: Tensor | None

    def serves(self, mix: Mix, x: Tensor) -> bool:
        """Whether it was made for this moment and for inputs like x."""
        return self.mix is mix and self.down.dtype == x.dtype and self.down.device == x.device


class Branch:
    """What one adapter adds to one layer.

    parts: places of the LoRAs in the mix, and their deltas for this layer. Deltas that require gradients are read
    anew in every call, so that training sees each step of its own.
    """

    def __init__(self, layer: nn.Module, site: Site, control: Control, parts: Sequence[tuple[int, LowRank]]) -> None:
        self._site = site
        self._control = control
        self._parts = parts
        self._learns = any(delta.down.requires_grad or delta.up.requires_grad for _, delta in parts)
        self._kept: dict[bool, _Stack] = {}
        self._convolve = None if isinstance(layer, nn.Linear) else _convolution(layer)

    @property
    def site(self) -> Site:
        """Where the layer finds its frames."""
        return self._site

    @property
    def state(self) -> object:
        """Another object whenever the branch may add something else than before."""
        return object() if self._learns else self._control.mix

    def varies(self) -> bool:
        """Whether it adds different amounts to different frames at the moment."""
        return self._control.mix.varies and bool(self._live())

    def forget(self) -> None:
        """Let go of the copies made for the device the layer ran on."""
        self._kept.clear()

    def added(self, x: Tensor, y: Tensor, *, ours: bool) -> Tensor:
        """y plus the branch's answer to x; `ours`: y was made for this call, inference may overwrite it.

        Raises:
            InputError: x does not have as many frames as the strengths.
        """
        if not self._live():
            return y
        axis = self._site.now()
        stack = self._stack(x, level=axis is FrameAxis.NONE or not self._control.mix.varies)
        hidden = F.linear(x, stack.down) if self._convolve is None else self._convolve(x, stack.down)
        if stack.gains is not None:
            hidden = scaled(hidden, stack.gains, axis, channels=-1 if self._convolve is None else 1)
        overwrite = ours and not torch.is_grad_enabled() and hidden.dtype == y.dtype and axis is not FrameAxis.SPREAD
        if self._convolve is not None:
            change = _CONVOLUTIONS[hidden.ndim - 2](hidden, stack.up)
            return y.add_(change) if overwrite else y + change
        if overwrite and y.is_contiguous():
            y.view(-1, y.shape[-1]).addmm_(hidden.flatten(0, -2), stack.up.t())
            return y
        return y + F.linear(hidden, stack.up)

    def _live(self) -> list[tuple[int, LowRank]]:
        live = self._control.mix.live
        return [part for part in self._parts if part[0] in live]

    def _stack(self, x: Tensor, *, level: bool) -> _Stack:
        """The live deltas on the device and in the dtype of x; with `level` every frame has the mean strength."""
        mix = self._control.mix
        kept = self._kept.get(level)
        if kept is not None and kept.serves(mix, x):
            return kept
        live = self._live()
        gains = [(mix.strengths[:, index, None] * delta.scale).expand(-1, delta.rank) for index, delta in live]
        up = torch.cat([delta.up.to(x.device, torch.float32) for _, delta in live], dim=1)
        gain = torch.cat(gains, dim=1).to(x.device)
        if level:
            up = up * gain.mean(0).view(1, -1, *[1] * (up.ndim - 2))
        made = _Stack(
            mix=mix,
            down=torch.cat([delta.down.to(x.device, x.dtype) for _, delta in live]),
            up=up.to(x.dtype),
            gains=None if level else gain.to(x.dtype),
        )
        if not self._learns:
            self._kept[level] = made
        return made


def fitted(delta: LowRank, layer: nn.Module, path: str) -> LowRank:
    """The delta with as many kernel axes as the layer's weight has.

    Raises:
        InputError: the layer is of a kind no LoRA is for, or the sizes do not fit it.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim not in (2, 4, 5):
        remedy = "Use a LoRA on linear layers and convolutions."
        raise InputError(explain(f"a linear layer or convolution at {path}", type(layer).__name__, remedy))
    outputs, inputs, *kernel = weight.shape
    down, up = delta.down, delta.up
    fits = down[0].numel() == weight[0].numel() and up.numel() == outputs * delta.rank and up.shape[0] == outputs
    if not fits or (down.ndim == 2 and len(kernel) and not _is_point(kernel)):
        found = f"down {tuple(down.shape)} and up {tuple(up.shape)}"
        remedy = "This LoRA was made for another network: load the model it belongs to."
        raise InputError(explain(f"deltas for {path} of shape {tuple(weight.shape)}", found, remedy))
    points = [1] * len(kernel)
    return dataclasses.replace(
        delta, down=down.reshape(-1, inputs, *kernel), up=up.reshape(outputs, delta.rank, *points)
    )


def _is_point(kernel: Sequence[int]) -> bool:
    return all(size == 1 for size in kernel)


def _convolution(layer: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """The layer's own way over its input, with another kernel."""
    assert isinstance(layer, nn.Conv2d | nn.Conv3d)
    convolve = _CONVOLUTIONS[2 if isinstance(layer, nn.Conv2d) else 3]
    stride, padding, dilation = layer.stride, layer.padding, layer.dilation
    return lambda x, kernel: convolve(x, kernel, None, stride, padding, dilation)
