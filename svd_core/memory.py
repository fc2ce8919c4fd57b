"""How much memory a device has, and what happens when it runs out: recognise it, try once with less, say so."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from typing import TypeVar

import torch

from .errors import OutOfMemoryError, explain

T = TypeVar("T")
Plan = TypeVar("Plan")
OnNotice = Callable[[str], None]

_log = logging.getLogger(__name__)
# CUDA, ROCm, MPS and XPU say the first; torch's CPU allocator the others.
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")
_REMEDY = "Choose a smaller size or fewer frames, close other programs, or load the model in a 16-bit dtype."


# What drivers, the allocator's rounding and other programs usually take.
_USABLE = 0.9


def usable_bytes(device: torch.device) -> int | None:
    """Memory of a device that this process may count on; None where it cannot be told.

    It follows from the size of the memory, not from what is free at the moment: a plan chosen by it, and
    with it the rounding of the result, is the same in every run on a machine.
    """
    total: int | None = None
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    elif device.type == "mps":
        total = torch.mps.recommended_max_memory()
    elif device.type == "cpu" and hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None if total is None else int(_USABLE * total)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, whatever backend raised it."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def with_leaner_retry(
    stage: str, run: Callable[[Plan], T], plan: Plan, leaner: Plan | None, on_notice: OnNotice | None = None
) -> T:
    """`run(plan)`; if memory runs out, `run(leaner)` once, announced to the log and to `on_notice`.

    Raises:
        OutOfMemoryError: memory ran out and there is no leaner plan, or it ran out again.
    """
    problem = ""
    try:
        return run(plan)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        problem = _first_line(error)
    # Here, not in the handler: while it is being handled an error keeps the failed run's tensors alive.
    if leaner is None:
        raise OutOfMemoryError(explain(f"enough memory for {stage}", f"{problem} ({plan})", _REMEDY))
    _release()
    notice = f"Memory ran out while {stage} ({problem}); trying once more with {leaner}."
    _log.warning(notice)
    if on_notice is not None:
        on_notice(notice)
    try:
        return run(leaner)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        found = f"{_first_line(error)} (even with {leaner})"
        raise OutOfMemoryError(explain(f"enough memory for {stage}", found, _REMEDY)) from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
