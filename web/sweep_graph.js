// Where sweeps and the graph on the canvas meet: plan nodes, their ids in a prompt, and values put back.
import { app } from "../../scripts/app.js";

export const PLAN = "SVDStudioSweepPlan";

const root = () => app.rootGraph ?? app.graph;

// The node behind an id as prompts write it: "12:4" is node 4 inside subgraph node 12.
export function nodeAt(id) {
  let graph = root();
  let node;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById?.(Number(part)) ?? graph?.getNodeById?.(part);
    graph = node?.subgraph;
  }
  return node;
}

// Graph and prompt as the host would queue them, with the plan nodes in the prompt as [{id, title, name}].
export async function asPrompt() {
  const { output, workflow } = await app.graphToPrompt();
  const found = Object.entries(output).filter(([, { class_type }]) => class_type === PLAN);
  const plans = found.map(([id, entry]) => ({
    id,
    title: entry._meta?.title ?? "Sweep Plan",
    name: typeof entry.inputs.name === "string" ? entry.inputs.name : "",
  }));
  return { prompt: output, workflow, plans };
}

// Ids of a node in the prompt: a subgraph used twice has it twice.
export function idsOf(node, plans) {
  return plans.filter(({ id }) => nodeAt(id) === node).map(({ id }) => id);
}

export function selected() {
  return Object.values(app.canvas?.selected_nodes ?? {}).find((node) => node.comfyClass === PLAN);
}

// Bring a node into view; false where it is not in this graph.
export function reveal(id) {
  const node = nodeAt(id);
  if (!node) return false;
  try {
    if (node.graph && app.canvas.graph !== node.graph) app.canvas.setGraph?.(node.graph);
    app.canvas.centerOnNode?.(node);
    app.canvas.selectNode?.(node, false);
  } catch {
    // A front-end that moves its view in another way; the node's name is on the page all the same.
  }
  return true;
}

// Set widgets: `nodes` is [{node, input, value}]. All of them or none: answers those that are not there.
export function put(nodes) {
  const found = nodes.map((one) => ({ ...one, widget: widgetOf(one) }));
  const missing = found.filter(({ widget }) => !widget);
  if (missing.length) return missing;
  for (const { node, widget, value } of found) {
    widget.value = value;
    widget.callback?.(value, app.canvas, nodeAt(node));
  }
  app.canvas?.setDirty?.(true, true);
  root()?.change?.();
  return [];
}

function widgetOf({ node, input }) {
  return nodeAt(node)?.widgets?.find(({ name }) => name === input);
}

// Open the graph a finished clip carries.
export async function openGraphOf(source, name) {
  const answer = await fetch(source);
  if (!answer.ok) throw new Error(`it is not there any more (${answer.status}).`);
  const blob = await answer.blob();
  await app.handleFile(new File([blob], name, { type: blob.type }));
}

export function say(severity, detail) {
  app.extensionManager?.toast?.add({
    severity,
    summary: "SVD Studio",
    detail,
    life: severity === "error" ? 12000 : 5000,
  });
}
