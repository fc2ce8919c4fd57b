// What a node has to say (the size chosen and why, the memory a decode takes, notices), as text on the node.
import { app } from "../../scripts/app.js";

const NAME = "svd_studio_report";
const LINE = 17;
const MOST_LINES = 12;
const LETTER = 5.5;

export const reportText = {
  name: "SVDStudio.ReportText",
  nodeCreated(node) {
    if (!String(node.comfyClass).startsWith("SVDStudio")) return;
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.apply(this, arguments);
      const text = [output?.text ?? []].flat().join("\n");
      if (text || textWidget(this)) show(this, text);
    };
  },
};

function textWidget(node) {
  return node.widgets?.find((widget) => widget.name === NAME);
}

function show(node, text) {
  const widget = textWidget(node) ?? add(node);
  if (!widget) return;
  widget.value = text;
  const size = node.computeSize?.();
  if (size) node.setSize?.([Math.max(node.size[0], size[0]), Math.max(node.size[1], size[1])]);
  node.setDirtyCanvas?.(true, true);
}

function add(node) {
  const widgets = app.widgets ?? window.comfyAPI?.widgets?.ComfyWidgets;
  const widget = widgets?.STRING?.(node, NAME, ["STRING", { multiline: true }], app)?.widget;
  if (!widget) return undefined;
  // Neither the prompt nor the saved graph has a place for it.
  widget.serialize = false;
  widget.options = { ...widget.options, serialize: false, read_only: true };
  widget.label = "report";
  const field = widget.inputEl ?? widget.element;
  if (field) {
    field.readOnly = true;
    field.placeholder = "";
    field.style.opacity = "0.75";
    field.style.minHeight = "";
  }
  widget.options.getMinHeight = () => (linesOf(String(widget.value ?? ""), node.size[0]) + 1) * LINE;
  return widget;
}

function linesOf(text, width) {
  const letters = Math.max(20, (width - 40) / LETTER);
  const lines = text.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / letters)), 0);
  return Math.min(MOST_LINES, lines);
}
