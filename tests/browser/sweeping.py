"""A small sweep built and queued as an artist does it, and what its panel shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.browser.comfy import PATIENCE, Comfy
from tests.browser.hands import Hands
from tests.host.workflows import EXAMPLES

# Where the nodes of the plain graph stand, so that all of it and a line of new ones are in view.
_PLACES = {
    "SVDStudioLoadModel": (0, 0),
    "LoadImage": (0, 230),
    "SVDStudioImageConditioning": (420, 0),
    "SVDStudioGuidance": (420, 480),
    "SVDStudioSampler": (840, 0),
    "SVDStudioDecode": (840, 480),
    "SVDStudioSaveClip": (1260, 0),
}
_SCALE, _ROW = 0.66, 730
SEEDS, BUCKETS = ("5", "6", "7"), ("32", "96")
_CARD = """(words) => [...document.querySelectorAll(".svd-sweeps .card")].find((card) =>
  words.every((word) => card.querySelector(".name").textContent.includes(word)))"""
_COUNTS = """(text) => {
  const shown = document.querySelector(".svd-sweeps .counts")?.textContent ?? "";
  return shown.includes(text) && shown;
}"""


def plain_graph(**values: Any) -> dict[str, Any]:
    """The shipped image-to-video graph, close together, made to run in seconds."""
    workflow = json.loads((EXAMPLES / "image_to_video.json").read_text(encoding="utf-8"))
    workflow["nodes"] = [node for node in workflow["nodes"] if node["type"] in _PLACES]
    workflow["groups"] = []
    quick = {"LoadImage": {0: "hills.png"}, "SVDStudioImageConditioning": {4: 6}, "SVDStudioSampler": {2: 3}} | values
    for node in workflow["nodes"]:
        node["pos"] = list(_PLACES[node["type"]])
        for place, value in quick.get(node["type"], {}).items():
            node["widgets_values"][place] = value
    return workflow


@dataclass(frozen=True)
class Built:
    """Ids of the nodes of the sweep: the plan and the two cells, seeds first."""

    plan: int
    cells: tuple[int, int]


def build(comfy: Comfy, name: str) -> Built:
    """Two axes, three seeds by two motion buckets, added, filled in and wired by hand to a graph that is open."""
    hands = Hands(comfy)
    comfy.look_at(-120, -110, _SCALE)
    column = iter((130, 420, 710, 930, 1150))
    axes: list[int] = []
    for axis, kind, values in (("seed", "seed", "3 from 5"), ("motion_bucket", "number", ", ".join(BUCKETS))):
        node = hands.add("SVD Sweep Axis", next(column), _ROW)
        for widget, value in (("name", axis), ("kind", kind), ("values", values)):
            hands.turn(node, widget, value)
        axes.append(node)
    plan = hands.add("SVD Sweep Plan", next(column), _ROW)
    hands.turn(plan, "name", name)
    cells = [hands.add("SVD Sweep Cell", next(column), _ROW) for _ in axes]
    hands.link(axes[0], "axis", axes[1], "axis")
    hands.link(axes[1], "axis", plan, "axis")
    uses = (("seed", "SVDStudioSampler", "seed"), ("motion_bucket", "SVDStudioImageConditioning", "motion_bucket"))
    for cell, (axis, target, place) in zip(cells, uses, strict=True):
        hands.turn(cell, "axis", axis)
        hands.link(plan, "plan", cell, "plan")
        hands.link(cell, "int", comfy.node_of(target), place)
    return Built(plan, (cells[0], cells[1]))


def wait_for_counts(comfy: Comfy, text: str) -> str:
    """The panel's count of cells, when it contains `text`."""
    return comfy.page.wait(_COUNTS, text, seconds=2 * PATIENCE)


def click_in_card(comfy: Comfy, words: list[str], selector: str) -> str:
    """Click something in the card of that name: the key of its cell."""
    comfy.page.wait(f"(words) => Boolean(({_CARD})(words))", words, seconds=PATIENCE)
    place = f"""([words, selector]) => {{
      const card = ({_CARD})(words);
      const box = card.querySelector(selector).getBoundingClientRect();
      return [card.dataset.cell, box.x + box.width / 2, box.y + box.height / 2];
    }}"""
    comfy.page.evaluate(f"(words) => ({_CARD})(words).scrollIntoView({{ block: 'nearest' }})", words)
    comfy.settle()
    cell, x, y = comfy.page.evaluate(place, [words, selector])
    comfy.page.mouse("click", x, y)
    return cell


def widen_panel(comfy: Comfy, by: float) -> None:
    """Drag the edge of the sidebar, where the front-end lets one."""
    edge = """() => {
      const { right } = document.querySelector(".svd-sweeps").getBoundingClientRect();
      const far = ({ x }) => Math.abs(x - right);
      const gutters = [...document.querySelectorAll(".p-splitter-gutter")].map((one) => one.getBoundingClientRect());
      const [gutter] = gutters.filter(({ height }) => height > 200).sort((a, b) => far(a) - far(b));
      return gutter && far(gutter) < 40 ? [gutter.x + gutter.width / 2, gutter.y + gutter.height / 2] : null;
    }"""
    found = comfy.page.evaluate(edge)
    if found is not None:
        x, y = found
        comfy.page.drag((x, y), (x + by, y))
        comfy.settle()
