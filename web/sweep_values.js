// "Put these values into my graph": the cell's number goes to the graph's Sweep Cell nodes.
import { address, sweeps } from "./sweep_api.js";
import { button, dialog, make } from "./sweep_dom.js";
import { openGraphOf, put, reveal, say } from "./sweep_graph.js";
import { caption } from "./sweep_words.js";

export async function intoGraph(id, row) {
  let nodes;
  try {
    ({ nodes } = await sweeps.values(id, row.cell));
  } catch (error) {
    return say("error", error.message);
  }
  if (nodes.length && !put(nodes).length) return done(nodes, row);
  offerGraph(nodes, row);
}

function done(nodes, row) {
  reveal(nodes[0].node);
  say("success", `Your graph now makes: ${caption(row.values) || row.name}.`);
}

// Another graph is open than the one the sweep was queued from.
function offerGraph(nodes, row) {
  const told = make("p", {
    textContent:
      "The graph on the canvas has no Sweep Cell node of this sweep, so there is nothing to put the values into." +
      (row.clip ? " The clip carries the graph it was made with." : " Open the graph the sweep was queued from."),
  });
  const box = dialog("Put these values into my graph", make("div", { className: "body" }, told));
  if (!row.clip) return;
  const open = button(
    "Open that graph",
    async () => {
      open.disabled = true;
      try {
        await openGraphOf(address(row.clip), row.name || row.cell);
        box.close();
        if (nodes.length && !put(nodes).length) done(nodes, row);
      } catch (error) {
        told.textContent = `The clip's graph could not be opened: ${error.message}`;
      }
    },
    { className: "primary" },
  );
  box.lastChild.append(
    make(
      "footer",
      {},
      button("Not now", () => box.close()),
      open,
    ),
  );
}
