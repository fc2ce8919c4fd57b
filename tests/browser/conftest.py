"""The real page for the tests of a module: the oldest front-end the pack works with and the newest, both renderers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.browser import packages
from tests.browser.comfy import NEWEST, Comfy, comfy_page, comfy_server
from tests.host.server import Server


@pytest.fixture(scope="module", params=[None, NEWEST], ids=["oldest", "newest"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A host with the pack, once per front-end."""
    packages()  # before the host is started for nothing
    with comfy_server(tmp_path_factory.mktemp("browser"), request.param) as running:
        yield running


@pytest.fixture(scope="module", params=[False, True], ids=["canvas", "nodes2"])
def comfy(request: pytest.FixtureRequest, server: Server) -> Iterator[Comfy]:
    """Its page, once per renderer."""
    with comfy_page(server, vue=request.param) as page:
        yield page
