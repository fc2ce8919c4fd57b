"""What a page asks for in bulk takes none of the host's threads, and none before it is asked for."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fake_host import on_fake_host


@pytest.fixture
def load() -> Callable[[str], Any]:
    """The import function of the pack on a fake host."""
    return on_fake_host()[1]


@pytest.fixture
def drawing(load: Callable[[str], Any]) -> Iterator[Any]:
    made = load("nodes.own_threads").OwnThreads(2, "drawing-test")
    yield made
    made.close()


def alive(name: str) -> int:
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


def test_few_work_at_a_time_and_the_host_stays_free(drawing: Any) -> None:
    assert alive("drawing-test") == 0, "threads before any work"
    go, at_work = threading.Event(), threading.Semaphore(0)
    most = []

    def work() -> str:
        at_work.release()
        most.append(alive("drawing-test"))
        assert go.wait(60)
        return threading.current_thread().name

    async def page() -> list[str]:
        asked = [asyncio.create_task(drawing.run(work)) for _ in range(50)]
        for _ in range(2):
            await asyncio.to_thread(at_work.acquire)
        # All of ours are taken, and 48 wait: any request of the host is answered all the same.
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "host"), 30) == "host"
        go.set()
        return await asyncio.gather(*asked)

    names = asyncio.run(page())
    assert len(names) == 50 and len(set(names)) <= 2 and all(name.startswith("drawing-test") for name in names)
    assert max(most) == 2


def test_errors_come_back(drawing: Any) -> None:
    def broken() -> None:
        raise ValueError("no clip")

    with pytest.raises(ValueError, match="no clip"):
        asyncio.run(drawing.run(broken))


def test_they_end_with_the_server_and_leave_nothing_to_do(drawing: Any) -> None:
    begun, done = threading.Event(), []

    def work() -> None:
        begun.set()
        time.sleep(0.2)
        done.append(1)

    async def server() -> None:
        waiting = [asyncio.create_task(drawing.run(work)) for _ in range(20)]
        await asyncio.to_thread(begun.wait)
        drawing.close()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(server())
    deadline = time.monotonic() + 30
    while alive("drawing-test"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(done) <= 2
    assert asyncio.run(drawing.run(lambda: 3)) == 3, "another server of this process"


def test_what_still_waits_at_the_end_is_told_so(load: Callable[[str], Any], drawing: Any) -> None:
    cancelled = load("svd_core.errors").Cancelled
    go, begun = threading.Event(), threading.Semaphore(0)

    def work() -> str:
        begun.release()
        assert go.wait(60)
        return "done"

    async def server() -> list[Any]:
        asked = [asyncio.create_task(drawing.run(work)) for _ in range(6)]
        for _ in range(2):
            await asyncio.to_thread(begun.acquire)
        drawing.close()
        go.set()
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)

    told = asyncio.run(server())
    assert told[:2] == ["done", "done"], "what is under way is finished"
    assert all(isinstance(one, cancelled) and "found one that stops" in str(one) for one in told[2:]), told


def test_thumbnails_and_sheets_are_drawn_in_them(
    load: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: dict[str, str] = {}

    def answer(name: str) -> Callable[..., Path]:
        def note(*_: object) -> Path:
            where[name] = threading.current_thread().name
            return tmp_path / "x.webp"

        return note

    sweeps = SimpleNamespace(thumbnail=answer("thumbnail"), clip=answer("clip"), file=answer("file"))
    monkeypatch.setattr(load("nodes.sweeping"), "sweeps", lambda: sweeps)
    routes = load("nodes.sweep_routes")
    monkeypatch.setattr(routes, "_sheet", answer("sheet"))
    web = SimpleNamespace(FileResponse=lambda path, headers: path)
    monkeypatch.setitem(sys.modules, "aiohttp", SimpleNamespace(web=web))
    request = SimpleNamespace(match_info={"id": "s", "cell": "c"}, query={}, method="GET")
    for (_, path), handler in routes.routes().items():
        if path.endswith(("/thumbnail", "/clip", "sheet.png")):
            assert asyncio.run(handler(request)) == tmp_path / "x.webp"
    routes.close()
    assert where["thumbnail"].startswith("svd-studio-pictures") and where["sheet"].startswith("svd-studio-pictures")
    assert not where["clip"].startswith("svd-studio-pictures")


def test_the_server_is_told_to_let_them_go(load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    app = SimpleNamespace(on_shutdown=[])
    server = SimpleNamespace(PromptServer=SimpleNamespace(instance=SimpleNamespace(app=app)))
    monkeypatch.setitem(sys.modules, "server", server)
    host_server = load("nodes.host_server")
    host_server.at_shutdown(lambda: ended.append("drawing"))
    asyncio.run(app.on_shutdown[0](app))
    assert ended == ["drawing"]
    monkeypatch.delitem(sys.modules, "server")
    host_server.at_shutdown(lambda: None)
