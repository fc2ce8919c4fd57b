"""Build `example_workflows/*.json` from `examples.py` in the real page, so that they are what the page itself saves.

python -m tests.browser.make_examples [NAME ...]
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from tests.browser.comfy import Comfy, session
from tests.browser.example_parts import Example, Link
from tests.browser.examples import EXAMPLES
from tests.host.server import ROOT

TARGET = ROOT / "example_workflows"
# Nodes in columns; under each is room for what it shows when it has run.
_BUILD = """({ nodes, columns, note }) => {
  const ROOM = { SVDStudioSampler: 330, SVDStudioSaveClip: 340, SVDStudioImageConditioning: 110, SVDStudioOrbit: 110,
    SVDStudioDecode: 90, LoadImage: 300, SVDStudioCameraPreview: 260, SVDStudioInfo: 200, PreviewImage: 260,
    SVDStudioApplyCamera: 90, SVDStudioMeasureCamera: 270, SVDStudioLoadCameraLora: 110, SVDStudioSaveCamera: 60,
    SVDStudioTrainCameraLora: 140, SVDStudioContactSheet: 420, KSampler: 330,
    SVDStudioInBetween: 350 };
  const COLOURS = ["#6b8f9c", "#3f789e", "#8a5a9e", "#5a8a6a", "#a1783f", "#8a8fb0"];
  const made = {};
  app.graph.clear();
  let x = 0, lowest = 0, column = 0;
  for (const [title, names] of Object.entries(columns)) {
    let y = 0, width = 320;
    const here = [];
    for (const name of names) {
      const node = LiteGraph.createNode(nodes[name].kind);
      if (!node) throw new Error(`no node ${nodes[name].kind}`);
      app.graph.add(node);
      made[name] = node;
      here.push(node);
      for (const [input, value] of Object.entries(nodes[name].inputs)) {
        const widget = node.widgets?.find((one) => one.name === input);
        if (value !== null && typeof value === "object") continue;
        if (!widget) throw new Error(`${nodes[name].kind} has no widget ${input}`);
        widget.value = value;
      }
      for (const widget of node.widgets ?? [])
        if (widget.name === "control_after_generate") widget.value = "fixed";
      width = Math.max(width, node.computeSize()[0]);
    }
    for (const node of here) {
      const height = node.computeSize()[1];
      const tall = nodes[names[here.indexOf(node)]].kind === "LoadImage" ? 314 : height;
      node.pos = [x, y];
      node.setSize([width, tall]);
      y += Math.max(tall, height + (ROOM[node.type] ?? 20)) + 60;
    }
    lowest = Math.max(lowest, y);
    const group = new LiteGraph.LGraphGroup(title);
    group.pos = [x - 20, -100];
    group.size = [width + 40, 0];
    group.color = COLOURS[column++ % COLOURS.length];
    group.font_size = 22;
    app.graph.add(group);
    x += width + 80;
  }
  for (const group of app.graph._groups) group.size = [group.size[0], lowest + 90];
  for (const [name, { inputs }] of Object.entries(nodes))
    for (const [input, value] of Object.entries(inputs)) {
      if (value === null || typeof value !== "object") continue;
      const [from, to] = [made[value.node], made[name]];
      const output = from.outputs.findIndex((slot) => slot.name === value.output);
      const place = to.inputs.findIndex((slot) => slot.name === input);
      if (output < 0 || place < 0) throw new Error(`${value.node}.${value.output} -> ${name}.${input}: no such slot`);
      if (!from.connect(output, to, place)) throw new Error(`${name}.${input} does not take ${value.output}`);
    }
  const text = LiteGraph.createNode("MarkdownNote");
  app.graph.add(text);
  text.pos = [-20, lowest + 30];
  text.setSize([Math.min(x - 40, 860), 150]);
  text.widgets[0].value = note;
  for (const node of app.graph._nodes) node.properties = { "Node name for S&R": node.type };
  return app.graph.serialize();
}"""


def build(comfy: Comfy, example: Example) -> dict[str, Any]:
    """The workflow as the page saves it, without what the page adds by itself.

    Raises:
        PageError: a node, widget or slot that is not there.
    """
    saved = comfy.page.evaluate(_BUILD, _plain(example))
    for node in saved["nodes"]:
        node["inputs"] = [slot for slot in node.get("inputs", []) if slot["link"] is not None or "widget" not in slot]
        for slot in [*node["inputs"], *node.get("outputs", [])]:
            slot.pop("localized_name", None)
            slot.pop("tooltip", None)
    return {**saved, "extra": {}}


def _plain(example: Example) -> dict[str, Any]:
    def plain(value: object) -> object:
        return dataclasses.asdict(value) if isinstance(value, Link) else value

    nodes = {
        name: {"kind": node.kind, "inputs": {key: plain(value) for key, value in node.inputs.items()}}
        for name, node in example.nodes.items()
    }
    return {"nodes": nodes, "columns": dict(example.columns), "note": example.note}


def write(comfy: Comfy, name: str) -> None:
    """Build one example and save it."""
    text = json.dumps(build(comfy, EXAMPLES[name]), indent=1)
    (TARGET / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main(names: list[str]) -> None:
    """Write the named examples, or all."""
    with session() as comfy:
        for name in names or EXAMPLES:
            write(comfy, name)
            print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
