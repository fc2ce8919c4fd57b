// All sweeps of this ComfyUI, the one changed last on top.
import { sweeps } from "./sweep_api.js";
import { button, make } from "./sweep_dom.js";
import { listen } from "./sweep_live.js";
import { STATES, summary } from "./sweep_words.js";

const SOON = 300;

export class SweepList {
  constructor(open) {
    this.open = open;
    this.lines = make("ul", { className: "sweeps" });
    this.note = make("p", { className: "empty", textContent: "Looking for sweeps…" });
    this.element = make("div", { className: "list" }, this.note, this.lines);
    this.known = new Map();
    this.stop = listen(({ sweep, again }) => {
      if (again || (sweep && !this.known.has(sweep.id))) this.again();
      else if (sweep) this.fill({ ...this.known.get(sweep.id), state: sweep.state, counts: sweep.counts });
    });
    this.load();
  }

  remove() {
    this.stop();
    clearTimeout(this.timer);
  }

  again() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), SOON);
  }

  async load() {
    try {
      const found = await sweeps.list();
      this.known.clear();
      this.lines.replaceChildren();
      for (const sweep of found.sort((a, b) => b.changed - a.changed)) this.fill(sweep);
      this.note.textContent = found.length
        ? ""
        : "No sweeps yet. Add SVD Sweep Plan to a graph and press its button Queue sweep.";
      this.note.classList.remove("error");
    } catch (error) {
      this.note.textContent = error.message;
      this.note.classList.add("error");
    }
  }

  fill(sweep) {
    const before = this.known.get(sweep.id)?.line;
    const { name, id, counts, total, state } = sweep;
    const parts = [
      make("span", { className: "name", textContent: name ?? id }),
      make("span", { className: "state", textContent: STATES[state] ?? state, data: { state } }),
      make("progress", { max: total || 1, value: counts.done ?? 0, "aria-hidden": true }),
      make("span", { className: "counts", textContent: summary(counts, total) }),
    ];
    const line = make(
      "li",
      { data: { sweep: id } },
      button("", () => this.open(id), { className: "sweep" }),
    );
    line.firstChild.append(...parts);
    this.known.set(id, { ...sweep, line });
    const held = before?.contains(document.activeElement);
    if (before) before.replaceWith(line);
    else this.lines.append(line);
    if (held) line.firstChild.focus();
  }
}
