// One sweep: its state, what can be done with it, and the grid of its cells.
import { sweeps } from "./sweep_api.js";
import { cardOf } from "./sweep_card.js";
import { compare, MOST } from "./sweep_compare.js";
import { button, make } from "./sweep_dom.js";
import { Grid } from "./sweep_grid.js";
import { say } from "./sweep_graph.js";
import { listen, partOf } from "./sweep_live.js";
import { Rows } from "./sweep_rows.js";
import { intoGraph } from "./sweep_values.js";
import { plural, STATES, summary } from "./sweep_words.js";

const SORTS = [
  ["index", "in the plan's order"],
  ["-motion", "most motion first", "motion"],
  ["camera_error", "least camera error first", "camera_error"],
  ["flicker", "least flicker first", "flicker"],
  ["starred", "starred first"],
];
const STATUSES = [
  ["", "all cells"],
  ["done", "done"],
  ["running", "running"],
  ["waiting", "waiting"],
  ["failed", "failed"],
];
const VERBS = [
  ["pause", "Pause", ["running"], "No further clip is begun"],
  ["resume", "Resume", ["paused", "stopped", "cancelled"], "Go on with what is left"],
  ["cancel", "Cancel the rest", ["running", "paused", "stopped"], "Finished clips stay"],
  ["retry", "Retry failed", null, "Make the failed clips again"],
];

export class SweepView {
  constructor(id, back) {
    this.id = id;
    this.picked = new Map();
    this.rows = new Rows(
      (query) => sweeps.cells(id, query),
      (position) => this.changed(position),
      (error) => this.fail(error),
    );
    const tools = {
      picked: (cell) => this.picked.has(cell),
      progress: (row) => partOf(row.prompt_id),
      metric: () => this.metric,
    };
    this.grid = new Grid(this.rows, cardOf(tools), { label: "Cells of the sweep" });
    this.rows.looked = () => this.grid.inView();
    this.grid.element.addEventListener("click", (event) => this.clicked(event));
    this.grid.element.addEventListener("keydown", (event) => this.key(event));
    this.build(back);
    this.stop = listen((news) => this.heard(news));
    this.load();
    this.rows.load(0);
  }

  build(back) {
    this.title = make("h3", { textContent: this.id });
    this.state = make("span", { className: "state" });
    this.counts = make("span", { className: "counts", role: "status" });
    this.bar = make("progress", { max: 1, value: 0, "aria-label": "Clips done" });
    this.note = make("p", { className: "error", role: "alert", hidden: true });
    this.why = make("p", { className: "why", hidden: true });
    this.verbs = VERBS.map(([verb, label, , title]) => button(label, () => this.act(verb), { title, data: { verb } }));
    const sheet = make("a", {
      textContent: "Contact sheet",
      href: sweeps.sheet(this.id, "html"),
      target: "_blank",
      rel: "noopener",
    });
    const select = (label, options, change) =>
      make(
        "select",
        { "aria-label": label, onchange: change },
        ...options.map(([value, textContent]) => make("option", { value, textContent })),
      );
    this.status = select("Show", STATUSES, () => this.look({ status: this.status.value }));
    this.sort = select("Sort", SORTS, () => this.look({ sort: this.sort.value }));
    this.together = button("Compare", () => this.compare(), { className: "primary", data: { verb: "compare" } });
    this.none = button("Clear", () => this.pickNone(), { title: "Pick none" });
    this.choice = make("div", { className: "tools" }, this.together, this.none);
    const head = make("header", {}, button("‹ Sweeps", back, { className: "plain back" }), this.title, this.state);
    this.element = make(
      "div",
      { className: "sweep-view" },
      head,
      make("div", { className: "tools" }, this.bar, this.counts),
      make("div", { className: "tools" }, ...this.verbs, sheet),
      make("div", { className: "tools" }, this.status, this.sort),
      this.choice,
      this.why,
      this.note,
      this.grid.element,
    );
    this.showPicked();
  }

  remove() {
    this.stop();
    this.grid.remove();
    this.rows.begin();
    cancelAnimationFrame(this.frame);
  }

  get metric() {
    return SORTS.find(([value]) => value === this.rows.view.sort)?.[2] ?? "motion";
  }

  async load() {
    try {
      this.show(await sweeps.detail(this.id));
      this.fail(null);
    } catch (error) {
      this.fail(error);
    }
  }

  show(detail) {
    this.detail = { ...this.detail, ...detail };
    const { name, state, counts, note } = this.detail;
    const total = this.detail.total ?? Object.values(counts).reduce((sum, count) => sum + count, 0);
    this.why.hidden = !note;
    this.why.textContent = note ?? "";
    this.title.textContent = name ?? this.id;
    this.state.textContent = STATES[state] ?? state;
    this.state.dataset.state = state;
    this.counts.textContent = summary(counts, total);
    Object.assign(this.bar, { max: total || 1, value: counts.done ?? 0 });
    this.verbs.forEach((element, place) => {
      const [verb, , states] = VERBS[place];
      element.hidden = verb === "retry" ? !counts.failed : !states.includes(state);
    });
  }

  fail(error) {
    this.note.hidden = !error;
    this.note.textContent = error?.message ?? "";
  }

  async act(verb) {
    try {
      this.show(await sweeps.act(this.id, verb));
      this.rows.again(0);
      this.fail(null);
    } catch (error) {
      this.fail(error);
    }
  }

  look(view) {
    this.grid.element.scrollTop = 0;
    this.rows.show(view);
  }

  heard({ sweep, prompt, again }) {
    if (again) {
      this.load();
      this.rows.again(0);
    }
    if (sweep?.id === this.id) {
      // Why it has paused stands in the detail only.
      if (sweep.state !== this.detail?.state) this.load();
      this.show({ state: sweep.state, counts: sweep.counts });
      if (sweep.cell) this.rows.put(sweep.cell);
      else this.rows.again();
    }
    if (prompt) this.progress(prompt);
  }

  progress(prompt) {
    for (const card of this.grid.element.querySelectorAll('.card[data-status="running"]')) {
      const position = Number(card.dataset.position);
      if (this.rows.at(position)?.prompt_id === prompt) this.grid.refresh(position);
    }
  }

  // Many cells can change within one frame.
  changed(position) {
    if (position !== undefined) return this.grid.refresh(position);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.grid.draw();
    });
  }

  rowOf(element) {
    const position = Number(element.closest?.("[data-position]")?.dataset.position);
    return Number.isInteger(position) ? this.rows.at(position) : undefined;
  }

  clicked(event) {
    const row = this.rowOf(event.target);
    const act = event.target.closest?.("[data-act]")?.dataset.act;
    if (row && act) this.apply(act, row);
  }

  key(event) {
    const row = this.rowOf(event.target);
    const acts = { " ": "pick", s: "star", S: "star", g: "values", G: "values", Enter: "open" };
    const act = acts[event.key];
    if (!row || !act || event.ctrlKey || event.metaKey || event.target.matches("button")) return;
    event.preventDefault();
    this.apply(act, row);
  }

  apply(act, row) {
    if (act === "values") return intoGraph(this.id, row);
    if (row.status !== "done") return undefined;
    if (act === "star") return this.star(row);
    if (act === "pick") return this.pick(row);
    return this.open([row]);
  }

  async star(row) {
    const starred = !row.starred;
    try {
      await sweeps.star(this.id, row.cell, starred);
      this.rows.alter(row.cell, { starred });
    } catch (error) {
      say("error", error.message);
      return row;
    }
    return { ...row, starred };
  }

  pick(row) {
    if (this.picked.has(row.cell)) this.picked.delete(row.cell);
    else if (this.picked.size < MOST) this.picked.set(row.cell, row);
    else say("info", `${MOST} clips fit side by side. Take one away first.`);
    this.showPicked();
    this.grid.draw();
  }

  pickNone() {
    this.picked.clear();
    this.showPicked();
    this.grid.draw();
  }

  showPicked() {
    const { size } = this.picked;
    this.choice.hidden = size === 0;
    this.together.textContent = size < 2 ? "Pick another to compare" : `Compare ${plural(size, "clip")}`;
    this.together.disabled = size < 2;
  }

  compare() {
    return this.open([...this.picked.values()].map((row) => this.rows.known(row.cell) ?? row));
  }

  open(rows) {
    return compare(rows, { star: (row) => this.star(row), values: (row) => intoGraph(this.id, row) });
  }
}
