"""What the page asks about sweeps over HTTP. Everything that touches a disk happens off the host's event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from ..svd_core.errors import SvdError
from ..svd_core.sweep import ROUTES
from . import sweeping
from .host_server import Handler
from .own_threads import OwnThreads

_MOST_ROWS = 2000
# A page asks for a screen of thumbnails at once, and each may have a clip to read.
_DRAWING = OwnThreads(3, "svd-studio-pictures")
_VERBS = ("pause", "resume", "cancel", "retry")
_TYPES = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".mp4": "video/mp4", ".webm": "video/webm"}


Run = Callable[[Callable[[], Path]], Awaitable[Path]]


def routes() -> dict[tuple[str, str], Handler]:
    """Handlers by method and path."""
    one, cell = f"{ROUTES}/{{id}}", f"{ROUTES}/{{id}}/cells/{{cell}}"
    table: dict[tuple[str, str], Handler] = {
        ("POST", f"{ROUTES}/estimate"): _json(_estimate),
        ("POST", ROUTES): _json(_start, 201),
        ("GET", ROUTES): _json(lambda asked: {"sweeps": sweeping.sweeps().listed()}),
        ("GET", one): _json(lambda asked: sweeping.sweeps().detail(asked.id)),
        ("GET", f"{one}/cells"): _json(_cells),
        ("POST", f"{one}/star"): _json(_star),
        # Where the links of sheet.html lead when the page comes from here and not from the disk.
        ("GET", cell): _file(lambda asked: _playable(sweeping.sweeps().file(asked.id, asked.cell))),
        ("GET", f"{cell}/values"): _json(lambda asked: sweeping.sweeps().values(asked.id, asked.cell)),
        ("GET", f"{cell}/clip"): _file(lambda asked: _playable(sweeping.sweeps().clip(asked.id, asked.cell))),
        ("GET", f"{cell}/thumbnail"): _drawn(lambda asked: sweeping.sweeps().thumbnail(asked.id, asked.cell)),
        ("GET", f"{one}/sheet.png"): _drawn(lambda asked: _sheet(asked, "sheet.png")),
        ("GET", f"{one}/sheet.html"): _drawn(lambda asked: _sheet(asked, "sheet.html")),
    }
    for verb in _VERBS:
        table["POST", f"{one}/{verb}"] = _json(_acting(verb))
    return table


def close() -> None:
    """Let go of the threads that draw."""
    _DRAWING.close()


class _Asked:
    """A request, read."""

    def __init__(self, request: Any, body: Mapping[str, Any]) -> None:  # noqa: ANN401 - aiohttp's
        self.id: str = request.match_info.get("id", "")
        self.cell: str = request.match_info.get("cell", "")
        self.query: Mapping[str, str] = request.query
        self.body = body

    def number(self, name: str, default: int, most: int) -> int:
        try:
            return min(most, max(0, int(self.query.get(name, default))))
        except ValueError:
            return default


def _json(answer: Callable[[_Asked], object], status: int = 200) -> Handler:
    """Answers with JSON; a refusal is a sentence and, where it is about one, a node."""

    async def handle(request: Any) -> Any:  # noqa: ANN401 - aiohttp's
        from aiohttp import web

        try:
            told = await asyncio.to_thread(answer, await _read(request))
        except (SvdError, OSError) as error:
            return _refused(error)
        return web.json_response(told, status=status)

    return handle


def _drawn(answer: Callable[[_Asked], Path]) -> Handler:
    """As `_file`, where the file may have to be made first."""
    return _file(answer, _DRAWING.run)


def _file(answer: Callable[[_Asked], Path], run: Run = asyncio.to_thread) -> Handler:
    async def handle(request: Any) -> Any:  # noqa: ANN401 - aiohttp's
        from aiohttp import web

        try:
            asked = await _read(request)
            path = await run(lambda: answer(asked))
        except (SvdError, OSError) as error:
            return _refused(error)
        # A clip of a cell never changes under its name, a sheet and a thumbnail may.
        headers = {"Cache-Control": "no-cache"}
        if path.suffix in _TYPES:
            headers["Content-Type"] = _TYPES[path.suffix]
        return web.FileResponse(path, headers=headers)

    return handle


async def _read(request: Any) -> _Asked:  # noqa: ANN401 - aiohttp's
    body: object = {}
    if request.method == "POST" and request.can_read_body:
        try:
            body = await request.json()
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            body = {}
    return _Asked(request, body if isinstance(body, dict) else {})


def _refused(error: Exception) -> Any:  # noqa: ANN401 - aiohttp's
    from aiohttp import web

    return web.json_response({"error": str(error), "node": getattr(error, "node", None)}, status=400)


def _prompt(asked: _Asked) -> tuple[dict[str, Any], str]:
    from ..svd_core.errors import InputError, explain

    prompt, node = asked.body.get("prompt"), asked.body.get("plan_node")
    nodes = prompt.values() if isinstance(prompt, dict) else ()
    plain = all(isinstance(entry, dict) and isinstance(entry.get("inputs", {}), dict) for entry in nodes)
    if not isinstance(prompt, dict) or not plain or node is None:
        remedy = "Queue the sweep from its plan node."
        raise InputError(explain("a prompt in API form and a plan_node", "something else", remedy))
    return prompt, str(node)


def _estimate(asked: _Asked) -> object:
    return sweeping.sweeps().estimate(*_prompt(asked))


def _start(asked: _Asked) -> object:
    prompt, node = _prompt(asked)
    workflow = asked.body.get("workflow")
    return sweeping.sweeps().start(prompt, workflow if isinstance(workflow, dict) else {}, node, _client(asked))


def _acting(verb: str) -> Callable[[_Asked], object]:
    return lambda asked: sweeping.sweeps().act(asked.id, verb, _client(asked))


def _star(asked: _Asked) -> object:
    stars = sweeping.sweeps().star(asked.id, str(asked.body.get("cell")), bool(asked.body.get("starred", True)))
    return {"stars": stars}


def _cells(asked: _Asked) -> object:
    offset, limit = asked.number("offset", 0, 10**9), asked.number("limit", 200, _MOST_ROWS)
    sort, status = asked.query.get("sort", "index"), asked.query.get("status", "")
    return sweeping.sweeps().cells(asked.id, offset, limit, sort, status)


def _client(asked: _Asked) -> str | None:
    client = asked.body.get("client_id")
    return client if isinstance(client, str) and client else None


def _playable(clip: Path) -> Path:
    """A folder of frames is shown by its first."""
    return min(clip.glob("*.png"), default=clip) if clip.is_dir() else clip


def _sheet(asked: _Asked, name: str) -> Path:
    from .contact_sheet import fresh_sheet

    return fresh_sheet(sweeping.sweeps().path(asked.id), name)
