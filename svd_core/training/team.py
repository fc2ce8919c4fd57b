"""Several processes that train one model: each takes its own batch, all step by the mean of their gradients.

On a CPU one thread a process wastes least, so a second core is best used by a second process. They meet in shared
memory, not on a network; every process adds the rows up in the same order, so all stay equal to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BrokenBarrierError
from typing import Any, Protocol

import torch
import torch.multiprocessing as processes
from torch import Tensor

from ..errors import NumericsError, explain

_PATIENCE_SECONDS = 1800.0


class _Barrier(Protocol):
    def wait(self, timeout: float | None = None) -> int: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Member:
    """Process `rank` of `count`; `rows` `count n` is where gradients meet. The first one saves and reports."""

    rank: int = 0
    count: int = 1
    rows: Tensor | None = None
    barrier: _Barrier | None = None

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def mean(self, loss: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """The loss of all, and in place the mean gradients of all.

        Raises:
            NumericsError: another process of the team is gone.
        """
        if self.rows is None or self.barrier is None:
            return loss
        flat = torch.cat((loss.reshape(1), *(gradient.flatten() for gradient in gradients)))
        self.rows[self.rank, : len(flat)] = flat
        self._wait(self.barrier)
        total = self.rows[:, : len(flat)].mean(0)
        # Nobody may write the next row while another still reads this one.
        self._wait(self.barrier)
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, total[1:].split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))
        return total[0]

    def _wait(self, barrier: _Barrier) -> None:
        try:
            barrier.wait(_PATIENCE_SECONDS)
        except BrokenBarrierError as error:
            remedy = "Its own message stands above. Go on with --resume: the last saved state is whole."
            raise NumericsError(explain(f"{self.count} processes to the end", "one that stopped", remedy)) from error


ALONE = Member()


@contextmanager
def team(count: int, numbers: int, work: Callable[[Member], Any]) -> Generator[Member]:
    """Start `count` - 1 further processes on `work` (picklable), for `numbers` parameters; yields the first member.

    The others end with the block: they are of no use without the first.
    """
    if count == 1:
        yield ALONE
        return
    context = processes.get_context("spawn")
    rows = torch.zeros(count, numbers + 1).share_memory_()
    barrier = context.Barrier(count)
    members = [Member(rank, count, rows, barrier) for rank in range(count)]
    others = [context.Process(target=_assist, args=(work, member), daemon=True) for member in members[1:]]
    for process in others:
        process.start()
    try:
        yield members[0]
    finally:
        barrier.abort()
        for process in others:
            process.join(10)
            process.kill()


def _assist(work: Callable[[Member], Any], member: Member) -> None:
    """Work to the end, or until another stops; whoever stops early lets all the others know."""
    assert member.barrier is not None
    try:
        work(member)
    except (NumericsError, KeyboardInterrupt):
        # The first process says why.
        member.barrier.abort()
    except BaseException:
        member.barrier.abort()
        raise
