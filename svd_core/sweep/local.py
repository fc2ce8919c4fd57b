"""Clips by processes of this machine, one a device: a crash costs the cell it happened in, and that is tried again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

from ..errors import SvdError, explain
from .jobs import Job, MakeRender, Outcome
from .rendering import outcome_of
from .waiting import Waiting

_GRACE = 5.0
_READY = "ready"


class LocalExecutor:
    """One worker process a device ("cpu", "cuda:0", ...); each keeps its model loaded between cells."""

    def __init__(self, devices: Sequence[str], make_render: MakeRender) -> None:
        self._devices = tuple(devices)
        self._make_render = make_render

    def run(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        """See `Executor.run`.

        Raises:
            SvdError: no worker gets as far as its first cell.
        """
        waiting = Waiting(jobs)
        workers = [_Worker(device, self._make_render) for device in self._devices]
        try:
            for worker in workers:
                worker.give(waiting.next())
            while busy := [worker for worker in workers if worker.job is not None]:
                ready = wait([handle for worker in busy for handle in worker.handles])
                for worker in busy:
                    if any(handle in ready for handle in worker.handles):
                        yield from self._heard(worker, waiting)
        finally:
            for worker in workers:
                worker.stop()

    def _heard(self, worker: _Worker, waiting: Waiting) -> Iterator[Outcome]:
        job = cast("Job", worker.job)
        heard = worker.receive()
        if heard == _READY:
            return
        if isinstance(heard, Outcome):
            yield heard
        else:
            code = worker.exit_code
            if not worker.proven:
                remedy = "Run `svd selftest` to see what is wrong with this machine."
                raise SvdError(explain("a worker process that starts", f"one that ended with code {code}", remedy))
            failed = waiting.again(job, f"the process ended with code {code}")
            if failed is not None:
                yield failed
            worker.restart()
        worker.give(waiting.next())


class _Worker:
    """A process and our end of the pipe to it."""

    def __init__(self, device: str, make_render: MakeRender) -> None:
        self._device = device
        self._make_render = make_render
        self.proven = False
        self.job: Job | None = None
        self._start()

    @property
    def handles(self) -> tuple[Connection, int]:
        """What becomes ready when the worker has said something or is gone."""
        return self._pipe, self._process.sentinel

    @property
    def exit_code(self) -> int | None:
        """Once it is gone."""
        self._process.join(_GRACE)
        return self._process.exitcode

    def give(self, job: Job | None) -> None:
        self.job = job
        try:
            self._pipe.send(job)
        except OSError:
            # It is gone; its sentinel tells.
            return

    def receive(self) -> Outcome | str | None:
        """An outcome, the word that it is ready, or None from a worker that is gone."""
        try:
            heard = cast("Outcome | str", self._pipe.recv()) if self._pipe.poll() else None
        except (EOFError, OSError):
            return None
        self.proven = self.proven or heard is not None
        return heard

    def restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        """End it: one that waits for work leaves by itself, one in the middle of a clip is not waited for."""
        if self.job is None:
            self._process.join(_GRACE)
        self._pipe.close()
        self._process.terminate()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _start(self) -> None:
        # Spawned, not forked: a forked copy of a process that has used CUDA cannot use it.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._pipe: Connection = ours
        self._process: BaseProcess = context.Process(
            target=_work, args=(theirs, self._make_render, self._device), daemon=True
        )
        with _spared_from_ctrl_c():
            self._process.start()
        theirs.close()


@contextmanager
def _spared_from_ctrl_c() -> Generator[None, None, None]:
    """What is started here does not hear Ctrl-C: the one that keeps the record ends it, without its traceback.

    Blocked rather than ignored, so that a Ctrl-C of this very moment is not lost to ourselves.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, make_render: MakeRender, device: str) -> None:
    """A worker's life: jobs in, outcomes out, until None or the end of the pipe."""
    _die_with_parent()
    render = make_render(device)
    pipe.send(_READY)
    while True:
        try:
            job = cast("Job | None", pipe.recv())
        except (EOFError, KeyboardInterrupt):
            return
        if job is None:
            return
        try:
            outcome = outcome_of(render, job)
        except KeyboardInterrupt:
            return
        pipe.send(outcome)


def _die_with_parent() -> None:
    """End this process when the one that keeps the record is gone: a resumed run must not meet its forerunner's."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
