// One cell of a sweep as a card: its clip, what its values are, how far it is or what went wrong.
import { address } from "./sweep_api.js";
import { iconButton, make, setIcon } from "./sweep_dom.js";
import { caption, measured } from "./sweep_words.js";

const WORDS = { waiting: "waiting", running: "running", done: "", failed: "failed" };

// `picked(cell)`, `progress(row)` and `metric()` tell what the row itself does not.
export function cardOf({ picked, progress, metric }) {
  return { make: card, fill: (element, ...values) => fill(element, values, { picked, progress, metric }) };
}

function card() {
  const element = make("div", { className: "card", role: "gridcell" });
  const act = (name, icon, title) => iconButton(icon, title, undefined, { tabIndex: -1, data: { act: name } });
  const parts = {
    picture: make("img", { alt: "", decoding: "async", onerror: ({ target }) => show(target, false) }),
    state: make("span", { className: "state" }),
    bar: make("progress", { max: 1, value: 0, "aria-label": "Progress" }),
    reason: make("div", { className: "reason" }),
    name: make("div", { className: "name" }),
    metric: make("span", { className: "metric" }),
    pick: act("pick", "stop", "Pick for comparing (Space)"),
    star: act("star", "star", "Star (S)"),
    values: act("values", "reply", "Put these values into my graph (G)"),
    open: act("open", "play", "Look at it (Enter)"),
  };
  const { picture, state, bar, reason, name, metric, pick, star, values, open } = parts;
  const view = make("div", { className: "view", data: { act: "open" } }, picture, reason, state, bar, metric);
  const foot = make("div", { className: "foot" }, pick, star, values, open);
  element.append(view, name, foot);
  element.parts = parts;
  return element;
}

function fill(element, [row, position, settled], { picked, progress, metric }) {
  const { parts } = element;
  const status = row?.status ?? "loading";
  const chosen = Boolean(row && picked(row.cell));
  element.dataset.status = status;
  element.dataset.cell = row?.cell ?? "";
  element.setAttribute("aria-selected", chosen);
  const words = row ? caption(row.values) || row.name || row.cell : "";
  set(parts.name, words);
  parts.name.title = words;
  set(parts.state, WORDS[status] ?? "");
  set(parts.reason, status === "failed" ? (row.error ?? "failed") : "");
  parts.reason.title = parts.reason.textContent;
  const told = [`${position + 1}`, words, status, parts.reason.textContent, row?.starred ? "starred" : ""];
  element.setAttribute("aria-label", told.filter(Boolean).join(", "));
  show(parts.bar, status === "running");
  if (status === "running") step(parts.bar, progress(row));
  image(parts.picture, status === "done" ? address(row.thumbnail) : null, settled, words);
  set(parts.metric, row ? measured(row.metrics, metric()) : "");
  const done = status === "done";
  for (const name of ["pick", "star", "open"]) show(parts[name], done);
  show(parts.values, Boolean(row));
  setIcon(parts.pick, chosen ? "check-square" : "stop");
  parts.pick.setAttribute("aria-pressed", chosen);
  setIcon(parts.star, row?.starred ? "star-fill" : "star");
  parts.star.setAttribute("aria-pressed", Boolean(row?.starred));
}

// A bar without a value runs to and fro by itself: begun, but nothing said yet.
function step(bar, part) {
  if (part === undefined) bar.removeAttribute("value");
  else bar.value = part;
}

// While the grid flies past, no picture is asked for. One that cannot be had leaves its place empty.
function image(element, source, settled, words) {
  if (source === (element.dataset.source ?? null)) return;
  const wanted = settled ? source : null;
  show(element, Boolean(wanted));
  if (!wanted) {
    delete element.dataset.source;
    element.removeAttribute("src");
    return;
  }
  element.dataset.source = wanted;
  element.alt = words;
  element.src = wanted;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(element, visible) {
  element.hidden = !visible;
}
