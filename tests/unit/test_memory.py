"""Running out of memory: recognised on every backend, retried once, never mistaken for another error."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from svd_core.errors import OutOfMemoryError
from svd_core.memory import is_out_of_memory, usable_bytes, with_leaner_retry


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_recognition(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_one_retry_is_announced() -> None:
    tried: list[str] = []
    notices: list[str] = []

    def run(plan: str) -> str:
        tried.append(plan)
        if plan == "fast":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nlong tail")
        return plan.upper()

    assert with_leaner_retry("sampling", run, "fast", "lean", notices.append) == "LEAN"
    assert tried == ["fast", "lean"] and len(notices) == 1
    assert "sampling" in notices[0] and "2 GiB" in notices[0] and "tail" not in notices[0]


def test_second_failure_and_missing_leaner_plan_are_explained() -> None:
    def run(plan: str) -> str:
        raise MemoryError

    with pytest.raises(OutOfMemoryError, match=r"enough memory for sampling; .*even with lean"):
        with_leaner_retry("sampling", run, "fast", "lean")
    with pytest.raises(OutOfMemoryError, match=r"enough memory for sampling; .*\(fast\)"):
        with_leaner_retry("sampling", run, "fast", None)


def test_other_errors_pass_and_are_not_retried() -> None:
    tried: list[str] = []

    def run(plan: str) -> str:
        tried.append(plan)
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        with_leaner_retry("sampling", run, "fast", "lean")
    assert tried == ["fast"]


def test_the_failed_run_is_freed_before_the_retry() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def run(plan: str) -> bool:
        if plan == "lean":
            gc.collect()
            return held[0]() is None
        big = torch.zeros(1000)
        held.append(weakref.ref(big))
        raise RuntimeError(f"out of memory with {len(big)}")

    assert with_leaner_retry("sampling", run, "fast", "lean"), "the failed run's tensors outlived it"


def test_usable_memory_is_a_property_of_the_machine() -> None:
    first = usable_bytes(torch.device("cpu"))
    ballast = torch.zeros(1000, 1000)
    assert first == usable_bytes(torch.device("cpu")) and (first is None or first > ballast.nbytes)
    assert usable_bytes(torch.device("meta")) is None
