"""Camera LoRAs on a network that is in use: strengths exact per frame and per step, and gone without a trace.

The network's weights are never touched: every addressed layer gets `y + up(gain * down(x))` beside its own answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import InputError, explain, some_keys
from ..types import Denoiser
from .frame_axis import FrameAxis, check_frames, site_of
from .lora import CameraLora
from .lowrank import Branch, Control, Mix, fitted
from .overrides import put_on, take_off

Strength = float | Sequence[float] | Tensor
"""One number for all frames, or one for each."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A LoRA at a strength; it acts in the steps whose place in the run is at least `steps[0]` and below `steps[1]`.

    steps: fractions of the sampling steps, (0, 1) is all of them.
    """

    lora: CameraLora
    strength: Strength = 1.0
    steps: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        first, last = self.steps
        if not 0 <= first < last <= 1:
            remedy = "Give the part of the sampling steps in which the move acts, for example 0 and 0.5."
            raise InputError(explain("a step range from 0 to 1, first below last", f"{self.steps}", remedy))

    def active(self, portion: float) -> bool:
        """Whether it acts at `portion` = step index / steps."""
        first, last = self.steps
        return first <= portion and (portion < last or last >= 1)


Placeable = Placed | tuple[CameraLora, Strength]


class Adapter:
    """LoRAs and the layers they act on; `attach` puts one on a network.

    branches: by layer path, for hosts that install the overrides themselves; `crossings`: attentions these then must
    override whole. notes: what is not exact, in sentences.
    Before the first `at` the adapter is as in the first step.
    """

    def __init__(self, unet: nn.Module, placed: Sequence[Placeable], *, temporal_tokens: bool = False) -> None:
        """Look at the network and change nothing; arguments and errors as in `attach`.

        temporal_tokens: temporal transformer blocks see `(b s) t c`, as in the host's own network.
        """
        self._placed = [item if isinstance(item, Placed) else Placed(*item) for item in placed]
        self._portion = 0.0
        self._control = Control(Mix(torch.zeros(1, len(self._placed)), frozenset()))
        self._modules = dict(unet.named_modules())
        self._unet = unet
        self.branches = self._branches(temporal_tokens)
        context = [path.rpartition(".")[0] for path, branch in self.branches.items() if branch.site.context]
        self.crossings = tuple(dict.fromkeys(context)) if temporal_tokens else ()
        self.frames: int | None = None
        self.retune([item.strength for item in self._placed])

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not exact at the moment."""
        blind = [path for path, branch in self.branches.items() if branch.site.axis is FrameAxis.NONE]
        if not blind or not self._control.mix.varies:
            return ()
        return (f"{len(blind)} layers never see a single frame and take the mean strength: {some_keys(blind)}",)

    def layer(self, path: str) -> nn.Module:
        """The layer of a branch."""
        return self._modules[path]

    def retune(self, strengths: Sequence[Strength]) -> None:
        """Other strengths for the same LoRAs, in the same order.

        Raises:
            InputError: not one for each, not finite, or curves of different length.
        """
        self._strengths, self.frames = _table(strengths, len(self._placed))
        self._mix()

    def at(self, portion: float) -> None:
        """A step begins: which LoRAs act now. portion: step index / number of steps."""
        before = self._active()
        self._portion = portion
        if self._active() != before:
            self._mix()

    def check(self, frames: int) -> None:
        """Whether the strengths fit clips of that length.

        Raises:
            InputError: a curve has another number of values.
        """
        if self.frames is not None:
            check_frames(self.frames, frames)

    def release(self) -> None:
        """Let go of what was copied to the network's device; the next call makes it anew."""
        for branch in self.branches.values():
            branch.forget()

    def detach(self) -> None:
        """Take everything off: outputs are bit-equal to those before `attach`. A second time does nothing."""
        self._control.mix = Mix(torch.zeros(1, len(self._placed)), frozenset())
        for path, branch in self.branches.items():
            take_off(self._modules[path], branch)
            branch.forget()
        _unwatch(self._unet, self)

    def _active(self) -> list[bool]:
        return [item.active(self._portion) for item in self._placed]

    def _mix(self) -> None:
        self._control.mix = Mix.of(self._strengths, self._active())

    def _branches(self, temporal_tokens: bool) -> dict[str, Branch]:
        found: dict[str, Branch] = {}
        for path in dict.fromkeys(path for item in self._placed for path in item.lora.deltas):
            layer = self._layer(path)
            parts = [
                (index, fitted(item.lora.deltas[path], layer, path))
                for index, item in enumerate(self._placed)
                if path in item.lora.deltas
            ]
            axes = cast("Tensor", layer.weight).ndim - 2
            found[path] = Branch(layer, site_of(path, axes, temporal_tokens=temporal_tokens), self._control, parts)
        return found

    def _layer(self, path: str) -> nn.Module:
        if path in self._modules:
            return self._modules[path]
        names = [item.lora.name for item in self._placed if path in item.lora.deltas]
        remedy = "Load the model the LoRA was made for."
        raise InputError(explain(f"every layer of {' and '.join(names)} in the network", f"no {path}", remedy))


def attach(unet: nn.Module, placed: Sequence[Placeable]) -> Adapter:
    """Put LoRAs on a `VideoUNet`; several calls nest and may be undone in any order.

    placed: `Placed`, or pairs of a LoRA and a strength, one number or one a frame (any sign; 0 leaves that frame's
    projections bit-equal). Deltas that require gradients get them.

    Raises:
        InputError: a LoRA does not fit the network, or strengths are not finite or of different length. A run on
            clips of another length than the strengths raises it too.
    """
    adapter = Adapter(unet, placed)
    for path, branch in adapter.branches.items():
        put_on(adapter.layer(path), branch)
    _watch(unet, adapter)
    return adapter


def following(denoiser: Denoiser, adapter: Adapter, sigmas: Tensor) -> Denoiser:
    """The denoiser with the adapter told, in every call, how far along `sigmas` (`S + 1`, falling) it is."""
    levels = sigmas[:-1].tolist()

    def call(x: Tensor, sigma: Tensor) -> Tensor:
        adapter.at(portion_at(float(sigma), levels))
        return denoiser(x, sigma)

    return call


def portion_at(sigma: float, levels: Sequence[float]) -> float:
    """Step index / number of steps at noise level `sigma`; `levels` are where the steps begin, falling.

    A level between two belongs to the step it lies in; one that begins a step belongs to that step.
    """
    # Levels travel through float32 and back.
    begun = sum(math.isclose(level, sigma, rel_tol=1e-5) or level > sigma for level in levels)
    return max(0, begun - 1) / max(1, len(levels))


def _table(strengths: Sequence[Strength], count: int) -> tuple[Tensor, int | None]:
    """Strengths as `t l`, and t where any of them is a curve."""
    if len(strengths) != count:
        raise InputError(explain(f"{count} strengths", f"{len(strengths)}", "Give one for each LoRA, in their order."))
    columns = [torch.as_tensor(value, dtype=torch.float32).detach().cpu() for value in strengths]
    for column in columns:
        if column.ndim > 1 or not column.numel() or not bool(column.isfinite().all()):
            remedy = "Give a finite number, or a finite number for every frame."
            raise InputError(explain("strengths as numbers", f"{column.tolist()}", remedy))
    lengths = {len(column) for column in columns if column.ndim}
    if len(lengths) > 1:
        found = " and ".join(str(length) for length in sorted(lengths))
        raise InputError(explain("strength curves of one length", found, "Make all curves for the same clip."))
    frames = next(iter(lengths), None)
    rows = [column.expand(frames or 1) for column in columns]
    return torch.stack(rows, dim=1) if rows else torch.zeros(1, 0), frames


class _Watched:
    """`VideoUNet.run` that first asks the adapters whether the clips have the length of their curves."""

    def __init__(self, base: Callable[..., Tensor], adapters: tuple[Adapter, ...]) -> None:
        self.base = base
        self.adapters = adapters

    def __call__(self, x: Tensor, constants: Any, *more: Any, **named: Any) -> Tensor:  # noqa: ANN401 - a network's
        for adapter in self.adapters:
            adapter.check(constants.clip.signals.frames)
        return self.base(x, constants, *more, **named)


def _watch(unet: nn.Module, adapter: Adapter) -> None:
    run = cast("Any", unet).run
    watched = (run.base, run.adapters) if isinstance(run, _Watched) else (run, ())
    cast("Any", unet).run = _Watched(watched[0], (*watched[1], adapter))


def _unwatch(unet: nn.Module, adapter: Adapter) -> None:
    run = unet.__dict__.get("run")
    if not isinstance(run, _Watched) or adapter not in run.adapters:
        return
    rest = tuple(entry for entry in run.adapters if entry is not adapter)
    if rest:
        cast("Any", unet).run = _Watched(run.base, rest)
    elif getattr(run.base, "__self__", None) is unet:
        del unet.__dict__["run"]
    else:
        cast("Any", unet).run = run.base
