"""ComfyUI's page: what an artist does with it, and what the tests look at."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser.browser import Page, browsing, front_end
from tests.host.server import ROOT, Server, install_pack, serving
from tests.hosting import find_host

NEWEST = "1.58.1"
# The first front-end known whose Nodes 2.0 mounts what a pack adds is somewhere between 1.27 and this one.
_WHOLE_NODES2 = (1, 58)
# A busy machine: an idle one needs a tenth of it.
PATIENCE = 240
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.InstalledVersion": "1.99.0",
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    # Text stays readable in pictures of a whole graph.
    "LiteGraph.Canvas.LowQualityRenderingZoomThreshold": 0.1,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
    "Comfy.Minimap.Visible": False,
    "Comfy.Validation.Workflows": True,
    "Comfy.Workflow.Persist": False,
}
_READY = "() => Boolean(window.app?.graph && window.app.canvas && window.LiteGraph?.registered_node_types?.LoadImage)"
_TYPES = "() => app.graph._nodes.map((node) => node.type)"
_OF_TYPE = "(kind) => app.graph._nodes.filter(({ type }) => type === kind).map(({ id }) => Number(id))"
# Places of slots and titles in CSS pixels; the second renderer has elements for them.
_SLOT = """([id, name, output]) => {
  const node = app.graph.getNodeById(id);
  const slots = output ? node.outputs : node.inputs;
  const index = slots.findIndex((slot) => slot.name === name || slot.label === name);
  if (LiteGraph.vueNodesMode) {
    const key = `${output ? "out" : "in"}-${index}`;
    const slot = document.querySelector(`[data-slot-key$="${id}-${key}"]`);
    if (!slot?.getBoundingClientRect().width) return null;
    const box = slot.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  }
  const place = node.getConnectionPos(!output, index);
  const [x, y] = app.canvas.ds.convertOffsetToCanvas(place);
  const box = app.canvas.canvas.getBoundingClientRect();
  return [box.x + x, box.y + y];
}"""
_BOX = """(id) => {
  const nodes = id === null ? app.graph._nodes : [app.graph.getNodeById(id)];
  const groups = id === null ? app.graph._groups ?? [] : [];
  const corners = ({ pos, size }, above) => [pos[0], pos[1] - above, pos[0] + size[0], pos[1] + size[1]];
  const title = LiteGraph.NODE_TITLE_HEIGHT;
  const boxes = [...nodes.map((node) => corners(node, title)), ...groups.map((group) => corners(group, 0))];
  const edge = (index, pick) => pick(...boxes.map((box) => box[index]));
  const [left, top] = app.canvas.ds.convertOffsetToCanvas([edge(0, Math.min), edge(1, Math.min)]);
  const [right, bottom] = app.canvas.ds.convertOffsetToCanvas([edge(2, Math.max), edge(3, Math.max)]);
  const frame = app.canvas.canvas.getBoundingClientRect();
  return [frame.x + left, frame.y + top, right - left, bottom - top];
}"""
_LOOK_AT = """([x, y, scale]) => {
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset = [-x, -y];
  app.canvas.setDirty(true, true);
}"""
# The page has done what it had to do: it is idle again and has been drawn since.
_SETTLE = """async () => {
  const idle = () => new Promise((resolve) => requestIdleCallback(resolve, { timeout: 5000 }));
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  for (let turn = 0; turn < 3; turn++) {
    await idle();
    await frame();
  }
}"""
_LISTEN = """() => {
  if (window.svdEvents) return;
  window.svdEvents = [];
  const api = window.comfyAPI.api.api;
  for (const name of ["svd_studio.preview", "execution_success", "execution_error", "execution_interrupted"])
    api.addEventListener(name, ({ detail }) => svdEvents.push([name, detail?.exception_message ?? detail?.node]));
}"""


class Comfy:
    """The page with its server."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server
        self.vue = False

    def open(self, *, vue: bool) -> None:
        """Load the page with one of the two renderers and an empty graph."""
        self.vue = vue
        for name, value in (SETTINGS | {"Comfy.VueNodes.Enabled": vue}).items():
            self._set(name, value)
        self.page.open(self.server.url)
        self.page.wait(_READY, seconds=PATIENCE)
        self.page.wait("(vue) => Boolean(LiteGraph.vueNodesMode) === vue", vue, seconds=PATIENCE)
        self.settle()
        self.clear()
        self.page.evaluate(_LISTEN)

    def clear(self) -> None:
        """An empty graph."""
        self.page.evaluate("() => { app.canvas.ds.reset?.(); app.graph.clear(); app.canvas.setDirty(true, true); }")

    def load(self, workflow: dict[str, Any]) -> None:
        """What opening a file does, without the file dialog."""
        self.page.evaluate("async (graph) => { await app.loadGraphData(graph, true, true); }", workflow)
        self.settle()

    def settle(self) -> None:
        """Wait until the page is idle and drawn."""
        self.page.evaluate(_SETTLE)

    def types(self) -> list[str]:
        """Types of the nodes on the canvas."""
        return self.page.evaluate(_TYPES)

    def node_of(self, kind: str) -> int:
        """Id of the one node of a type."""
        (found,) = self.page.evaluate(_OF_TYPE, kind)
        return found

    def first_nodes2(self) -> bool:
        """Whether the page has the trial version of Nodes 2.0, without wiring by hand, videos and new widgets."""
        return self.vue and self.version() < _WHOLE_NODES2

    def version(self) -> tuple[int, ...]:
        """Of the front-end."""
        told = self.page.evaluate("async () => (await app.graphToPrompt()).workflow.extra.frontendVersion")
        return tuple(map(int, told.split(".")))

    def slot(self, node: int, name: str, *, output: bool) -> tuple[float, float]:
        """Where the slot is on the screen, once it has come to rest."""
        last = None
        while last != (last := self.page.wait(_SLOT, [node, name, output], seconds=PATIENCE)):
            self.settle()
        x, y = last
        return x, y

    def box(self, node: int | None = None) -> tuple[float, float, float, float]:
        """`(x, y, width, height)` on the screen of a node, or of the whole graph."""
        x, y, width, height = self.page.evaluate(_BOX, node)
        return x, y, width, height

    def look_at(self, x: float, y: float, scale: float) -> None:
        """Put the graph's point (x, y) into the canvas's corner."""
        self.page.evaluate(_LOOK_AT, [x, y, scale])
        self.settle()

    def queue(self) -> None:
        """Run the graph; returns when the host has taken it."""
        self.page.evaluate("() => { window.svdEvents.length = 0; return app.queuePrompt(0, 1); }")

    def events(self) -> list[list[Any]]:
        """`[name, node or message]` since the graph was queued."""
        return self.page.evaluate("() => window.svdEvents")

    def finish(self) -> list[list[Any]]:
        """Wait for the end of the run: its events.

        Raises:
            AssertionError: it failed.
        """
        ends = "() => window.svdEvents.some(([name]) => name.startsWith('execution_'))"
        self.page.wait(ends, seconds=PATIENCE)
        events = self.events()
        assert events[-1][0] == "execution_success", events
        return events

    def _set(self, name: str, value: object) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.server.url}/settings/{name}", json.dumps(value).encode(), headers)
        urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def comfy_server(base: Path, version: str | None = None) -> Iterator[Server]:
    """The host with the pack and the embedded pictures, and with a front-end other than its own if one is named."""
    install_pack(base / "custom_nodes" / "svd-studio")
    for folder in ("input", "output", "models/checkpoints", "models/loras"):
        (base / folder).mkdir(parents=True)
    assets = ROOT / "svd_core" / "assets"
    for source, name in (("hills", "hills"), ("evening", "evening"), ("hills", "example")):
        shutil.copy2(assets / f"{source}.png", base / "input" / f"{name}.png")
    arguments = ["--preview-method", "latent2rgb"]
    if version is not None:
        arguments += ["--front-end-root", str(front_end(version))]
    with serving(find_host(), base, *arguments) as server:
        yield server


@contextmanager
def comfy_page(server: Server, *, vue: bool, width: int = 1600, height: int = 1000) -> Iterator[Comfy]:
    """A browser on the server's page, ready to work in."""
    with browsing(width, height) as page:
        comfy = Comfy(page, server)
        comfy.open(vue=vue)
        yield comfy


@contextmanager
def session(version: str | None = None, *, vue: bool = False) -> Iterator[Comfy]:
    """Server and page in a folder of their own, for scripts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        comfy_server(Path(folder) / "ComfyUI", version) as server,
        comfy_page(server, vue=vue) as comfy,
    ):
        yield comfy
