"""The `forward` a layer has while branches are on it, and how it comes and goes.

Branches of several adapters share one override, so they can be taken off in any order. Hosts install the same object
as a patch of `<layer>.forward` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from .frame_axis import FrameAxis, frames_along
from .lowrank import Branch

Forward = Callable[..., Tensor]


class Override:
    """`base` and what the branches add to it."""

    def __init__(self, layer: nn.Module, base: Forward, branches: tuple[Branch, ...]) -> None:
        self.base = base
        self.branches = branches
        # What another override returns may not be its own to give.
        self._ours = getattr(base, "__func__", None) is type(layer).forward

    def __call__(self, x: Tensor, *more: Any, **named: Any) -> Tensor:  # noqa: ANN401 - whatever the layer takes
        if x.ndim == 3 and x.stride(-1) == 1 and not x.is_contiguous():
            # Strided tokens go to the product as rows, as the feed-forward does it without us: bit-equal.
            y = self.base(x.flatten(0, 1), *more, **named).view(*x.shape[:-1], -1)
        else:
            y = self.base(x, *more, **named)
        for branch in self.branches:
            y = branch.added(x, y, ours=self._ours)
        return y

    def states(self) -> tuple[object, ...]:
        """Objects of which at least one is another whenever the answer may be."""
        return (self, *(branch.state for branch in self.branches))

    def varies(self) -> bool:
        """Whether frames get different amounts at the moment."""
        return any(branch.varies() for branch in self.branches)


def overridden(layer: nn.Module, forward: Forward, branch: Branch) -> Override:
    """`forward`, the layer's own or anybody's override of it, with one more branch."""
    if isinstance(forward, Override):
        return Override(layer, forward.base, (*forward.branches, branch))
    return Override(layer, forward, (branch,))


def put_on(layer: nn.Module, branch: Branch) -> None:
    """Override the layer's forward, or join the override that is there."""
    layer.forward = overridden(layer, layer.forward, branch)


def take_off(layer: nn.Module, branch: Branch) -> None:
    """Undo `put_on`. Below somebody else's override nothing can be taken away; the branch must be silent by itself."""
    override = layer.__dict__.get("forward")
    if not isinstance(override, Override) or branch not in override.branches:
        return
    rest = tuple(entry for entry in override.branches if entry is not branch)
    if rest:
        layer.forward = Override(layer, override.base, rest)
    elif getattr(override.base, "__self__", None) is layer:
        del layer.__dict__["forward"]
    else:
        layer.forward = override.base


def varies(layer: nn.Module) -> bool:
    """Whether something on this layer treats frames differently at the moment."""
    override = layer.__dict__.get("forward")
    return isinstance(override, Override) and override.varies()


class CrossOverride:
    """Cross-attention of a temporal block in a network whose temporal tokens are `(b s) t c`.

    Its context has no frame axis, so what changes it per frame cannot be said by its projections alone. The call is
    the host's: `attn(x, context, value, mask)`.
    """

    def __init__(self, attn2: nn.Module, base: Forward) -> None:
        self._attn2 = attn2
        self.base = base

    def __call__(
        self,
        x: Tensor,
        context: Tensor | None = None,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        **named: Any,  # noqa: ANN401 - the host's options
    ) -> Tensor:
        if context is None or mask is not None:
            return self.base(x, context, value, mask, **named)

        def plain(x: Tensor, context: Tensor, value: Tensor) -> Tensor:
            return self.base(x, context, value, None, **named)

        return cross_attention(self._attn2, plain, x, context, context if value is None else value)


def cross_attention(
    attn2: nn.Module, plain: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, context: Tensor, value: Tensor
) -> Tensor:
    """`plain(x, context, value)` with exact strengths in every frame: x `n t c`, context and value `n m d`.

    Softmax over one token is 1, so out_t = to_out(v + s_t dv); several tokens are asked by every frame for itself.
    """
    projections = cast("Any", attn2)
    if not varies(projections.to_k) and not varies(projections.to_v):
        return plain(x, context, value)
    if context.shape[1] == 1:
        with frames_along(FrameAxis.SPREAD):
            spread = projections.to_v(value)
        return projections.to_out[0](spread)
    frames = x.shape[1]
    with frames_along(FrameAxis.ROWS):
        rows = (tokens.repeat_interleave(frames, dim=0) for tokens in (context, value))
        return plain(x.flatten(0, 1).unsqueeze(1), *rows).view(x.shape)
