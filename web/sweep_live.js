// What the server tells while sweeps run: changes of sweeps and cells, and how far the running prompts are.
import { api } from "../../scripts/api.js";

const EVENT = "svd_studio.sweep";
const listeners = new Set();
// Part done by prompt id, of the node that runs now.
const parts = new Map();
const MOST = 64;
let began = false;

// `listener({sweep})` for a change, `({prompt})` for progress, `({again: true})` when something may have been missed.
export function listen(listener) {
  begin();
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function partOf(prompt) {
  return prompt ? parts.get(prompt) : undefined;
}

function begin() {
  if (began) return;
  began = true;
  api.addEventListener(EVENT, ({ detail }) => tell({ sweep: detail }));
  api.addEventListener("progress", ({ detail }) => step(detail?.prompt_id, detail?.value, detail?.max));
  api.addEventListener("progress_state", ({ detail }) => {
    const running = Object.values(detail?.nodes ?? {}).find(({ state, max }) => state === "running" && max > 1);
    if (running) step(detail.prompt_id, running.value, running.max);
  });
  // The server was away, or the page slept.
  api.addEventListener("reconnected", () => tell({ again: true }));
}

function step(prompt, value, max) {
  if (!prompt || !(max > 1)) return;
  parts.delete(prompt);
  parts.set(prompt, value / max);
  if (parts.size > MOST) parts.delete(parts.keys().next().value);
  tell({ prompt });
}

function tell(news) {
  for (const listener of [...listeners]) listener(news);
}
