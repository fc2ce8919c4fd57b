// "Queue sweep": what it will cost is shown before anything runs; a refusal is the server's own sentence.
import { sweeps } from "./sweep_api.js";
import { button, dialog, make } from "./sweep_dom.js";
import { asPrompt, idsOf, reveal, selected } from "./sweep_graph.js";
import { duration, plural, size, spaced } from "./sweep_words.js";

const MOST_LABELS = 8;

// `node` is the plan node whose button was pressed, or nothing from the menu. `started(detail)` gets the new sweep.
export async function queueSweep(node, started) {
  const body = make("div", { className: "body", "aria-live": "polite" });
  const box = dialog("Queue sweep", body);
  box.classList.add("start");
  const graph = await asPrompt().catch((error) =>
    refuse(body, { message: `The graph is not whole: ${error.message}` }),
  );
  if (!graph) return;
  const { plans } = graph;
  if (!plans.length) return refuse(body, { message: NO_PLAN });
  const wanted = node ?? selected();
  const own = wanted ? idsOf(wanted, plans) : [];
  if (wanted && !own.length) return refuse(body, { message: SLEEPING });
  const offered = own.length ? plans.filter(({ id }) => own.includes(id)) : plans;
  if (offered.length > 1) return choose(offered, body, (id) => ask(graph, id, box, body, started));
  await ask(graph, offered[0].id, box, body, started);
}

const NO_PLAN =
  "A sweep needs a plan: found no Sweep Plan node in this graph that is switched on. Add SVD Sweep Plan, give it an " +
  "axis, and let SVD Sweep Cell bring the values to the inputs they are for.";
const SLEEPING = "This plan node is muted or bypassed. Switch it on and queue again.";

function choose(plans, body, chosen) {
  const buttons = plans.map(({ id, title, name }) =>
    button([name, title, `node ${id}`].filter(Boolean).join(" · "), () => chosen(id)),
  );
  body.replaceChildren(
    make("p", { textContent: "Several plans are in this graph. Which one?" }),
    make("div", { className: "choices" }, ...buttons),
  );
  buttons[0].focus();
}

async function ask(graph, id, box, body, started) {
  body.replaceChildren(make("p", { textContent: "Counting the clips…" }));
  let told;
  try {
    told = await sweeps.estimate(graph.prompt, id);
  } catch (error) {
    return refuse(body, error, box);
  }
  if (!box.isConnected) return;
  const go = button(goesOn(told) ? "Resume" : "Start", start, { className: "primary" });
  async function start() {
    go.disabled = true;
    try {
      const detail = await sweeps.start(graph.prompt, graph.workflow, id);
      box.close();
      started(detail);
    } catch (error) {
      refuse(body, error, box);
    }
  }
  const foot = make(
    "footer",
    {},
    button("Not now", () => box.close()),
    go,
  );
  body.replaceChildren(table(told), notes(told), foot);
  go.focus();
}

const goesOn = ({ exists, resumable }) => Boolean(exists && resumable);

function table(told) {
  const line = (name, value) => [
    make("dt", { textContent: name }),
    make("dd", { textContent: value, data: { fact: name } }),
  ];
  const axes = told.axes.flatMap(({ name, labels }) => line(spaced(name), listed(labels)));
  const begun = told.done
    ? `resumes: ${plural(told.done, "clip")} already done stay as they are`
    : "resumes: finished clips stay as they are";
  return make(
    "dl",
    {},
    ...line("Clips", plural(told.cells, "clip")),
    ...axes,
    ...line("Time", duration(told.seconds)),
    ...line("Size", told.bytes === null || told.bytes === undefined ? size(null) : `about ${size(told.bytes)}`),
    ...line("Folder", told.folder),
    ...line("Sweep", goesOn(told) ? begun : told.exists ? "this name is taken by another plan" : "new"),
  );
}

function listed(labels) {
  const more = labels.length - MOST_LABELS;
  return labels.slice(0, MOST_LABELS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function notes(told) {
  return make("ul", { className: "notes" }, ...(told.notes ?? []).map((text) => make("li", { textContent: text })));
}

function refuse(body, error, box) {
  const foot = make("footer", {});
  if (error.node && box) foot.append(button("Show the node", () => reveal(error.node) && box.close()));
  body.replaceChildren(make("p", { className: "error", role: "alert", textContent: error.message }), foot);
}
