// How a sweep is begun: the button on the plan node, and two commands in the menu.
import { style } from "./sweep_dom.js";
import { PLAN } from "./sweep_graph.js";
import { queueSweep } from "./sweep_start.js";
import { openSweeps } from "./sweep_tab.js";

const BUTTON = "Queue sweep";

function queue(node) {
  style();
  return queueSweep(node, ({ id }) => openSweeps(id));
}

export const sweepMenu = {
  name: "SVDStudio.SweepMenu",
  commands: [
    { id: "SVDStudio.QueueSweep", label: BUTTON, icon: "pi pi-th-large", function: () => queue() },
    { id: "SVDStudio.OpenSweeps", label: "Open sweeps", icon: "pi pi-images", function: () => openSweeps() },
  ],
  menuCommands: [{ path: ["SVD Studio"], commands: ["SVDStudio.QueueSweep", "SVDStudio.OpenSweeps"] }],
  nodeCreated(node) {
    if (node.comfyClass !== PLAN) return;
    const widget = node.addWidget("button", BUTTON, null, () => queue(node), { serialize: false });
    // Neither the prompt nor the saved graph has a place for it.
    widget.serialize = false;
  },
};
