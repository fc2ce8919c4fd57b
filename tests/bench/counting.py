"""Counts what a forward pass does on meta tensors: operators, bytes, peak memory and FLOPs, free of noise."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Counts:
    """`written`: bytes of newly made tensors; `overwritten`: bytes stored in place; `peak`: most bytes alive."""

    operators: int
    written: int
    overwritten: int
    peak: int
    flops: int


class _Counter(TorchDispatchMode):
    """Follows every storage from the operator that makes it to its release."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.written = self.overwritten = self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        self.operators += 1
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._account(tensor, given, func._schema.is_mutable)
        return result

    def _account(self, tensor: Tensor, given: set[int], mutable: bool) -> None:
        storage = tensor.untyped_storage()
        size = tensor.numel() * tensor.element_size()
        if storage._cdata in given:
            self.overwritten += size if mutable else 0
        elif storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self.written += size
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, *_: object, **__: object) -> Tensor:
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)[0]


@contextmanager
def fused_attention() -> Iterator[None]:
    """Take attention as one kernel for everybody, as on a GPU; meta tensors would decompose it."""
    with mock.patch.object(F, "scaled_dot_product_attention", _fused_attention):
        yield


def _attention_flops(q: Any, k: Any, v: Any, *_: object, **__: object) -> int:
    batch, heads, n, d = q
    return 4 * batch * heads * n * k[2] * d


def count_peak(call: Callable[[], object]) -> int:
    """Most bytes alive at once while `call` runs on meta tensors without gradients."""
    with torch.no_grad(), fused_attention(), _Counter() as counter:
        call()
    return counter.peak


def count(call: Callable[[], object]) -> Counts:
    """Run `call` twice on meta tensors without gradients and report."""
    with torch.no_grad(), fused_attention(), _Counter() as counter:
        call()
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with (
        torch.no_grad(),
        fused_attention(),
        FlopCounterMode(display=False, custom_mapping={kernel: _attention_flops}) as flops,
    ):
        call()
    return Counts(
        operators=counter.operators,
        written=counter.written,
        overwritten=counter.overwritten,
        peak=counter.peak,
        flops=flops.get_total_flops(),
    )


def count_training_peak(call: Callable[[], object]) -> int:
    """Most bytes alive at once while `call` runs forward and backward on meta tensors."""
    with fused_attention(), _Counter() as counter:
        call()
    return counter.peak
