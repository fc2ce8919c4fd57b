"""The host's web server: its own address, events for every page, routes. Nothing here when the host runs without it."""

from __future__ import annotations

import ssl
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..svd_core.errors import InputError, explain
from .host import server_certificate

if TYPE_CHECKING:
    from ..svd_core.sweep.host_api import HostApi

Handler = Callable[[Any], Awaitable[Any]]
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def add_routes(routes: Mapping[tuple[str, str], Handler]) -> None:
    """Answer requests, by (method, path); before the host has started to listen."""
    server = _server()
    if server is None:
        return
    known = {(route.method, route.path) for route in server.routes if hasattr(route, "method")}
    for (method, path), handler in routes.items():
        if (method, path) not in known:
            server.routes.route(method, path)(handler)


def at_shutdown(done: Callable[[], None]) -> None:
    """Call this when the server ends; to be said before it has started to listen."""
    server = _server()
    if server is None:
        return

    async def end(_app: object) -> None:
        done()

    server.app.on_shutdown.append(end)


def tell_every_page(event: str, told: Mapping[str, Any]) -> None:
    """An event for all pages that are open, from any thread."""
    server = _server()
    if server is not None:
        server.send_sync(event, dict(told))


def own_host() -> HostApi:
    """This very server through its public API, past any proxy.

    Raises:
        InputError: it is not running.
    """
    from ..svd_core.sweep.host_api import HostApi

    server = _server()
    port = getattr(server, "port", None)
    if port is None:
        raise InputError(
            explain("a running ComfyUI server", "none", "Start ComfyUI and queue the sweep from its page.")
        )
    address = str(getattr(server, "address", "") or "").split(",")[0]
    address = _EVERYWHERE.get(address, address)
    certificate = server_certificate()
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if certificate is not None:
        # Its own certificate is the one to trust here, whatever name it was made out to.
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        handlers.append(urllib.request.HTTPSHandler(context=context))
    place = f"[{address}]" if ":" in address else address
    scheme = "http" if certificate is None else "https"
    return HostApi(f"{scheme}://{place}:{port}", urllib.request.build_opener(*handlers))


def _server() -> Any:  # noqa: ANN401 - the host's
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
