"""The pack in ComfyUI's real page: both of its renderers, the oldest front-end it works with and the newest known.

Run with `python -m pytest -m browser`. On a busy machine set OMP_NUM_THREADS=1: torch in the host and the browser
fight for the cores otherwise.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.browser import PageError
from tests.browser.comfy import PATIENCE, Comfy
from tests.browser.hands import Hands
from tests.host.workflows import EXAMPLES

pytestmark = pytest.mark.browser

_PREVIEW = """() => [...document.querySelectorAll("img")].map((image) => {
  const box = image.getBoundingClientRect();
  return { src: image.src, box: [box.x, box.y, box.width, box.height] };
}).filter(({ src, box }) => box[2] > 20 && box[3] > 20 && /^(blob:|data:image.webp)/.test(src))[0] ?? null"""
_BYTES = """async (src) => {
  const bytes = new Uint8Array(await (await fetch(src)).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""
_VIDEO = """() => [...document.querySelectorAll("video")].some((video) =>
  !video.paused && video.currentTime > 0 && video.videoWidth === 64 && video.getBoundingClientRect().width > 50)"""
_TEXTS = "() => [...document.querySelectorAll('textarea')].map((area) => area.value)"


def example(name: str, **changes: dict[str, Any]) -> dict[str, Any]:
    """A shipped workflow with some widget values, by node type and place, exchanged."""
    workflow = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    for node in workflow["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "hills.png"
        for place, value in changes.get(node["type"], {}).items():
            node["widgets_values"][place] = value
    return workflow


def shown_picture(comfy: Comfy) -> bytes:
    """The file behind the preview on the page; empty where there is none, or it has just been exchanged."""
    try:
        shown = comfy.page.evaluate(_PREVIEW)
        return base64.b64decode(comfy.page.evaluate(_BYTES, shown["src"])) if shown else b""
    except PageError:
        return b""


def test_a_node_is_found_by_its_name_and_dropped(comfy: Comfy) -> None:
    comfy.clear()
    Hands(comfy).add("SVD Sampler", 1000, 500)
    assert comfy.types() == ["SVDStudioSampler"]


def placed(comfy: Comfy, kind: str, x: float, y: float) -> int:
    """A node put there by script: its id."""
    place = """([kind, x, y]) => {
      const node = LiteGraph.createNode(kind);
      node.pos = [x, y];
      app.graph.add(node);
      return Number(node.id);
    }"""
    made = comfy.page.evaluate(place, [kind, x, y])
    comfy.settle()
    return made


def test_nodes_are_wired_by_hand(comfy: Comfy) -> None:
    comfy.clear()
    comfy.look_at(-100, -100, 1.0)
    load = placed(comfy, "SVDStudioLoadModel", 60, 100)
    guide = placed(comfy, "SVDStudioGuidance", 700, 100)
    if comfy.first_nodes2():
        pytest.skip("the first Nodes 2.0 has slots that take no pointer")
    Hands(comfy).link(load, "model", guide, "model")


def test_a_camera_move_shows_its_picture(comfy: Comfy) -> None:
    comfy.clear()
    comfy.look_at(-100, -100, 1.0)
    move = placed(comfy, "SVDStudioCameraMove", 60, 100)
    if comfy.first_nodes2():
        pytest.skip("the first Nodes 2.0 has no room for widgets of a pack")
    Hands(comfy).turn(move, "preset", "zoom_out")
    picture = """() => {
      const image = document.querySelector(".svd-studio-move[data-preset='zoom_out'] img");
      const box = image?.getBoundingClientRect();
      const drawn = box && image.complete && image.naturalWidth > 0 && box.width >= 90 && box.height >= 60;
      return drawn ? [box.x, box.y, box.width, box.height] : null;
    }"""
    x, y, width, height = comfy.page.wait(picture, seconds=PATIENCE)
    shot = comfy.page.screenshot(comfy.server.base / "move.png", (x, y, width, height))
    with Image.open(shot) as drawn:
        pixels = drawn.convert("RGB").getcolors(10**6)
    sun = sum(count for count, (red, green, blue) in pixels if red > 220 and green > 150 and blue < 90)
    assert sun > 20, f"{sun} pixels of the picture's sun are on the page"


def test_names_and_tooltips_are_on_the_page(comfy: Comfy) -> None:
    told = comfy.server.get("/object_info")
    ours = {name: info for name, info in told.items() if name.startswith("SVDStudio")}
    assert ours
    shown = comfy.page.evaluate(
        """(names) => Object.fromEntries(names.map((name) => {
          const { nodeData } = LiteGraph.registered_node_types[name];
          const inputs = Object.entries({ ...nodeData.input.required, ...nodeData.input.optional });
          const bare = inputs.filter(([, [, told]]) => !told?.tooltip).map(([input]) => input);
          return [name, [LiteGraph.createNode(name).title, bare]];
        }))""",
        list(ours),
    )
    assert shown == {name: [info["display_name"], []] for name, info in ours.items()}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_examples_open_whole(comfy: Comfy, path: Path) -> None:
    comfy.page.problems()
    workflow = json.loads(path.read_text(encoding="utf-8"))
    comfy.load(workflow)
    found = comfy.page.evaluate(
        "() => app.graph._nodes.map((node) => [node.type, Boolean(LiteGraph.registered_node_types[node.type])])"
    )
    assert sorted(kind for kind, _ in found) == sorted(node["type"] for node in workflow["nodes"])
    assert all(known for _, known in found), found
    links = comfy.page.evaluate("() => [...app.graph.links.values?.() ?? Object.values(app.graph.links)].length")
    assert links == len(workflow["links"])
    assert not [line for line in comfy.page.problems() if "svd-studio" in line]
    comfy.page.press("Escape")


def test_a_clip_plays_while_it_is_made_and_when_it_is_done(comfy: Comfy) -> None:
    comfy.page.problems()
    # Another seed for each renderer: what the host has made before it would not make again.
    seed = int(comfy.vue)
    comfy.load(example("image_to_video", SVDStudioImageConditioning={8: seed}, SVDStudioSampler={0: seed, 2: 25}))
    comfy.look_at(-100, -200, 0.6)
    comfy.queue()
    # The picture alone says what it is: a still of the host's would be a JPEG.
    newest, deadline = b"", time.monotonic() + PATIENCE
    while b"ANMF" not in newest and time.monotonic() < deadline:
        newest = shown_picture(comfy)
    assert newest.count(b"ANMF") == 14, "no animation of 14 frames was shown"
    comfy.finish()
    if not comfy.first_nodes2():
        comfy.page.wait(_VIDEO, seconds=PATIENCE)
        texts = comfy.page.evaluate(_TEXTS)
        assert any("14 frames at 8 fps" in text for text in texts), texts
        assert any("GiB" in text for text in texts), texts
    assert not [line for line in comfy.page.problems() if "svd-studio" in line]


def test_a_saved_clip_brings_its_graph_back(comfy: Comfy) -> None:
    clips = sorted((comfy.server.base / "output").rglob("*.mp4"))
    assert clips, "the test before this one saves a clip"
    comfy.clear()
    comfy.page.evaluate(
        """async ([name, data]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          await app.handleFile(new File([bytes], name, { type: "video/mp4" }));
        }""",
        [clips[-1].name, base64.b64encode(clips[-1].read_bytes()).decode()],
    )
    comfy.page.wait("() => app.graph._nodes.some((node) => node.type === 'SVDStudioSaveClip')", seconds=60)
    steps = """() => app.graph._nodes.find((node) => node.type === "SVDStudioSampler").widgets
      .find((widget) => widget.name === "steps").value"""
    assert comfy.page.evaluate(steps) == 25
