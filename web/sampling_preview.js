// The clip as it takes shape, playing on the sampler node. `svd_studio.preview` brings it as a small animation.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const EVENT = "svd_studio.preview";
const STILL = "b_preview_with_metadata";
const WIDGET = "svd_studio_sampling";
const WIDGET_TYPE = "SVD_STUDIO_SAMPLING";
const LEAST_HEIGHT = 120;
const MARGIN = 24;

// Newest animation by the id of the node that shows it, for as long as its prompt runs.
const shown = new Map();

export const samplingPreview = {
  name: "SVDStudio.SamplingPreview",
  setup() {
    api.addEventListener(EVENT, ({ detail }) => receive(detail));
    // The page shows the host's stills first; where it has one area for both, ours goes back on top.
    api.addEventListener(STILL, ({ detail }) => {
      const animation = shown.get(String(detail?.displayNodeId));
      if (animation && detail.blob !== animation.blob && pageDrawsNodes()) intoPage(animation);
    });
    for (const end of ["execution_success", "execution_error", "execution_interrupted"])
      api.addEventListener(end, ({ detail }) => finish(detail?.prompt_id));
  },
};

function pageDrawsNodes() {
  return Boolean(window.LiteGraph?.vueNodesMode);
}

async function receive(detail) {
  const id = String(detail.display_node ?? detail.node);
  const animation = { id, detail, blob: undefined };
  shown.set(id, animation);
  if (!pageDrawsNodes()) return ontoNode(animation);
  animation.blob = await (await fetch(detail.image)).blob();
  if (shown.get(id) === animation) intoPage(animation);
}

// Renderer of DOM nodes: its own preview area takes any picture a browser can play.
function intoPage({ id, detail, blob }) {
  if (!blob) return;
  const { node, prompt_id } = detail;
  api.dispatchCustomEvent?.(STILL, {
    blob,
    nodeId: node,
    displayNodeId: id,
    parentNodeId: id,
    realNodeId: node,
    promptId: prompt_id,
    jobId: prompt_id,
  });
}

// Renderer on a canvas: a canvas draws the first frame of an animation only, so it needs an element of its own.
function ontoNode({ id, detail }) {
  for (const node of nodesOn(id)) {
    const widget = node.widgets?.find((one) => one.name === WIDGET) ?? add(node);
    if (!widget) continue;
    const { element } = widget;
    element.update(detail);
    // Upright clips get a square to stand in: the node must not grow over half of the graph.
    const shape = Math.min(1, detail.height / detail.width);
    const height = Math.round((node.size[0] - MARGIN) * shape) + MARGIN;
    if (element.tall !== height) {
      element.tall = height;
      const [width, least] = node.computeSize();
      node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], least)]);
    }
    node.setDirtyCanvas?.(true, true);
  }
}

// "12:4" is node 4 inside subgraph node 12: it plays on both, on whichever is being looked at.
function nodesOn(id) {
  const found = [];
  let graph = app.rootGraph ?? app.graph;
  for (const part of id.split(":")) {
    const node = graph?.getNodeById?.(part) ?? graph?.getNodeById?.(Number(part));
    if (!node) break;
    found.push(node);
    graph = node.subgraph;
  }
  return found;
}

function add(node) {
  if (!node.addDOMWidget) return undefined;
  const element = player();
  const widget = node.addDOMWidget(WIDGET, WIDGET_TYPE, element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => element.tall ?? LEAST_HEIGHT,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  // The host would draw its still of the same clip below.
  node.onDrawBackground = () => {};
  return widget;
}

function player() {
  const element = document.createElement("div");
  element.className = "svd-studio-sampling";
  Object.assign(element.style, { display: "flex", flexDirection: "column", minHeight: "80px", pointerEvents: "none" });
  const picture = document.createElement("img");
  picture.alt = "Preview of the clip being sampled";
  Object.assign(picture.style, { flex: "1 1 0", minHeight: "0", width: "100%", objectFit: "contain" });
  const caption = document.createElement("div");
  Object.assign(caption.style, { fontSize: "11px", lineHeight: "16px", textAlign: "center", opacity: "0.7" });
  element.append(picture, caption);
  element.update = ({ image, clip, clips, step, steps, frames }) => {
    picture.src = image;
    const which = clips > 1 ? `clip ${clip + 1} of ${clips} \u00b7 ` : "";
    caption.textContent = `${which}step ${step} of ${steps} \u00b7 ${frames} frames`;
  };
  return element;
}

// The last animation stays on the node to be looked at.
function finish(prompt) {
  for (const [id, { detail }] of shown) if (!prompt || detail.prompt_id === prompt) shown.delete(id);
}
