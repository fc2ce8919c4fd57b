"""A few threads of our own for work a page asks for in bulk, so that the host keeps its own for its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..svd_core.errors import Cancelled, explain

_Made = TypeVar("_Made")


class OwnThreads:
    """So many threads, begun with the first work; `close` ends them, and work after that begins them anew.

    Work that finds no free thread waits on the event loop: a process that ends has none of it left to finish.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._open: tuple[ThreadPoolExecutor, asyncio.Semaphore] | None = None

    async def run(self, work: Callable[[], _Made]) -> _Made:
        """What `work` returns or raises, done in one of the threads.

        Raises:
            Cancelled: `close` came before its turn.
        """
        if self._open is None:
            threads = ThreadPoolExecutor(self._count, thread_name_prefix=self._name)
            self._open = threads, asyncio.Semaphore(self._count)
        opened = threads, free = self._open
        async with free:
            if self._open is not opened:
                remedy = "Ask again when the server is back."
                raise Cancelled(explain("a server that runs until this is done", "one that stops", remedy))
            return await asyncio.get_running_loop().run_in_executor(threads, work)

    def close(self) -> None:
        """Let the threads go, without waiting for what they are at; work that still waits for its turn is cancelled."""
        opened, self._open = self._open, None
        if opened is not None:
            opened[0].shutdown(wait=False, cancel_futures=True)
