// The pack's routes about sweeps. A refusal comes as an error whose message is the server's sentence.
import { api } from "../../scripts/api.js";

const ROOT = "/svd_studio/sweeps";

export class Refused extends Error {
  constructor(message, node) {
    super(message);
    // The id of the node it is about, or null.
    this.node = node;
  }
}

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await api.fetchApi(ROOT + path, options);
  } catch (error) {
    throw new Refused(`ComfyUI does not answer (${error.message}). Is it still running?`, null);
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok)
    throw new Refused(told.error ?? `ComfyUI answered ${answer.status} to ${ROOT + path}.`, told.node ?? null);
  return told;
}

// The host sends progress to the page that asked for the work.
const self = () => api.clientId ?? api.initialClientId;
const place = (id) => `/${encodeURIComponent(id)}`;

export const sweeps = {
  list: async () => (await ask("")).sweeps,
  detail: (id) => ask(place(id)),
  cells: (id, query) => ask(`${place(id)}/cells?${new URLSearchParams(query)}`),
  estimate: (prompt, node) => ask("/estimate", { prompt, plan_node: node }),
  start: (prompt, workflow, node) => ask("", { prompt, workflow, plan_node: node, client_id: self() }),
  act: (id, verb) => ask(`${place(id)}/${verb}`, { client_id: self() }),
  star: (id, cell, starred) => ask(`${place(id)}/star`, { cell, starred }),
  values: (id, cell) => ask(`${place(id)}/cells/${encodeURIComponent(cell)}/values`),
  sheet: (id, kind) => api.apiURL(`${ROOT}${place(id)}/sheet.${kind}`),
};

// Addresses in rows are the host's paths; behind a proxy they have another beginning.
export function address(path) {
  return path?.startsWith("/svd_studio/") ? api.apiURL(path) : path;
}
