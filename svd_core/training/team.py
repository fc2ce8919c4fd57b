"""Several processes that train one model: each takes its own batch, all step by the mean of their gradients.

On a CPU one thread a process wastes least, so a second core is best used by a second process. They meet in shared
memory, not on a network; every process adds the rows up in the same order, so all stay equal to the bit.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch
import torch.multiprocessing as processes
from torch import Tensor

from ..errors import SvdError, explain

_PARTING_SECONDS = 3.0


class WorkerLost(SvdError):
    """A process that shared the work ended before it was done."""


@dataclass(frozen=True, slots=True)
class Member:
    """Process `rank` of `count`; `rows` `count n` is where gradients meet. The first one saves and reports.

    `pipes` lead from the first process to each other, and from each other to the first: unlike a barrier, a pipe
    tells at once when whoever holds its far end was killed.
    """

    rank: int = 0
    count: int = 1
    rows: Tensor | None = None
    pipes: tuple[Connection, ...] = ()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def mean(self, loss: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """The loss of all, and in place the mean gradients of all.

        Raises:
            WorkerLost: another process of the team is gone.
        """
        if self.rows is None:
            return loss
        flat = torch.cat((loss.reshape(1), *(gradient.flatten() for gradient in gradients)))
        self.rows[self.rank, : len(flat)] = flat
        self._meet()
        total = self.rows[:, : len(flat)].mean(0)
        # Nobody may write the next row while another still reads this one.
        self._meet()
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, total[1:].split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))
        return total[0]

    def spoilt(self) -> tuple[int, ...]:
        """Ranks of those whose loss or gradients were not finite when the last mean was taken; none of one alone."""
        rows = () if self.rows is None else self.rows
        return tuple(rank for rank, row in enumerate(rows) if not bool(row.isfinite().all()))

    def _meet(self) -> None:
        """Wait until all have come: the others tell the first, and it tells them."""
        try:
            if not self.leads:
                self.pipes[0].send(None)
            for pipe in self.pipes:
                if (last_words := pipe.recv()) is not None:
                    raise self._lost(f"one that stopped: {last_words}")
            if self.leads:
                for pipe in self.pipes:
                    pipe.send(None)
        except (EOFError, OSError) as error:
            raise self._lost("one that ended early; what it said stands above, and killed it says nothing") from error

    def _lost(self, found: str) -> WorkerLost:
        remedy = "Go on with --resume: the last saved state is whole. Where memory ran out, give fewer --workers."
        return WorkerLost(explain(f"{self.count} processes to the end", found, remedy))


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
    ends = [context.Pipe() for _ in range(count - 1)]
    others: list[BaseProcess] = []
    try:
        for rank, (_, far) in enumerate(ends, start=1):
            member = Member(rank, count, rows, (far,))
            others.append(context.Process(target=_assist, args=(work, member), daemon=True))
            _start_deaf(others[-1])
            # Open in its own process alone: with that one gone, reading fails instead of waiting.
            far.close()
        yield Member(0, count, rows, tuple(near for near, _ in ends))
    finally:
        for near, _ in ends:
            near.close()
        for process in others:
            if process.pid is not None:
                process.join(_PARTING_SECONDS)
                process.kill()
                process.join()


def _start_deaf(process: BaseProcess) -> None:
    """Start a process that Ctrl-C does not reach, not even while it imports: the first process tells of it."""
    if sys.platform == "win32":
        process.start()
        return
    # Were it started along with the process, it would let Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        # What was pressed meanwhile reaches this process now.
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _assist(work: Callable[[Member], Any], member: Member) -> None:
    """Work to the end, or until the first process is gone; trouble that can be told is told by the first."""
    # Where nothing held Ctrl-C back: the first process tells of it, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work(member)
    except SvdError as error:
        with suppress(OSError):
            member.pipes[0].send(str(error))
