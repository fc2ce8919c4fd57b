// SVD Sweep Axis writes its values as text. What there is a list of - camera moves, pictures, LoRA files - can be
// picked from it instead.
import { api } from "../../scripts/api.js";
import { moveIcon } from "./camera_move.js";
import { button, dialog, make, style } from "./sweep_dom.js";

const NODE = "SVDStudioSweepAxis";
const BUTTON = "Pick values";
// Room the host leaves under a widget.
const SPACE = 4;
// By kind: the node and input whose list it is, and how the values of one are written.
const LISTS = {
  camera: ["SVDStudioCameraMove", "preset", (name, { amount }) => (bare(name) ? name : `${name}:${amount.value}`)],
  images: ["LoadImage", "image", (name) => name],
  "lora files": ["SVDStudioLoadCameraLora", "lora_name", (name) => name],
};
const bare = (name) => name === "static" || name.startsWith("saved: ");

export const sweepAxis = {
  name: "SVDStudio.SweepAxis",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const kind = node.widgets?.find(({ name }) => name === "kind");
    const values = node.widgets?.find(({ name }) => name === "values");
    if (!kind || !values) return;
    const picking = node.addWidget("button", BUTTON, null, () => pick(kind.value, values), { serialize: false });
    // Neither the prompt nor the saved graph has a place for it.
    picking.serialize = false;
    const show = () => hide(node, picking, !LISTS[kind.value]);
    after(kind, "callback", show);
    after(node, "onConfigure", show);
    show();
  },
};

function after(owner, name, action) {
  const before = owner[name];
  owner[name] = function (...values) {
    const result = before?.apply(this, values);
    action();
    return result;
  };
}

// Older front-ends do not draw a hidden widget but keep its room; a size of its own takes that away.
function hide(node, widget, hidden) {
  if (Boolean(widget.hidden) === hidden) return;
  widget.hidden = hidden;
  if (widget.options) widget.options.hidden = hidden;
  if (hidden) widget.computeSize = () => [0, -SPACE];
  else delete widget.computeSize;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas?.(true, true);
}

async function pick(kind, values) {
  style();
  const [type, input, write] = LISTS[kind];
  const inputs = { ...(await definition(type)).input?.required };
  const names = listOf(inputs[input]);
  const amount = make("input", { type: "number", step: "any", value: inputs.amount?.[1]?.default ?? 12 });
  const written = make("textarea", {
    rows: 6,
    spellcheck: false,
    "aria-label": "Values, one a line",
    value: start(values, kind),
  });
  const add = (name) => (written.value = [...lines(written.value), write(name, { amount })].join("\n"));
  const choices = names.map((name) => choice(kind, name, () => add(name)));
  const box = dialog(
    `Values of the axis: ${kind}`,
    make("p", {
      textContent: names.length
        ? "Click what the sweep shall try; every line is one value."
        : "There is nothing to pick from yet.",
    }),
    kind === "camera" ? make("label", {}, "Amount a second ", amount) : null,
    make("div", { className: "choices", data: { kind } }, ...choices),
    written,
    make(
      "footer",
      {},
      button("Not now", () => box.close()),
      button("Use these", take, { className: "primary" }),
    ),
  );
  box.classList.add("pick");
  function take() {
    values.value = lines(written.value).join("\n");
    values.callback?.(values.value);
    box.close();
  }
}

function choice(kind, name, action) {
  const still = kind === "camera" && !name.startsWith("saved: ");
  const picture =
    still && make("img", { alt: "", src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(moveIcon(name))}` });
  return make(
    "button",
    { type: "button", onclick: action, data: { value: name } },
    picture || null,
    name.replaceAll("_", " "),
  );
}

// What stands there from another kind of values, such as "6 from 0", is no start.
function start({ value }, kind) {
  const text = String(value ?? "").trim();
  return kind === "camera" && /^[-\d]/.test(text) ? "" : /^\d+ from \d+$/.test(text) ? "" : text;
}

function lines(text) {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

async function definition(type) {
  const answer = await api.fetchApi(`/object_info/${type}`);
  return (answer.ok && (await answer.json())[type]) || {};
}

// A list stands first in older definitions and among the options in newer ones.
function listOf(input) {
  const found = Array.isArray(input?.[0]) ? input[0] : input?.[1]?.options;
  return found ?? [];
}
