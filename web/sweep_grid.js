// A grid of any length of which only the lines in view are elements. Cards are made once and filled again.
import { make } from "./sweep_dom.js";

const SPARE = 1;
const REST = 90;
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Grid {
  // `source`: {total, at(position)}. `card`: {make(), fill(element, row, position, settled)}.
  constructor(source, card, { label, least = 128, height = 186, gap = 8 }) {
    Object.assign(this, { source, card, least, height: height + gap, gap });
    this.columns = 1;
    this.lines = [];
    this.focused = 0;
    this.settled = true;
    this.space = make("div", { className: "space" });
    this.element = make("div", { className: "grid", role: "grid", "aria-label": label }, this.space);
    this.element.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("focusin", ({ target }) => this.entered(target));
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.element);
  }

  remove() {
    this.watch.disconnect();
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
  }

  // While the list flies past, pictures are not asked for.
  scrolled() {
    this.settled = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.settled = true;
      this.draw();
    }, REST);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  // First and last position in view, the last not included.
  inView() {
    const first = Math.max(0, Math.floor(this.element.scrollTop / this.height) - SPARE);
    const last = Math.ceil((this.element.scrollTop + this.element.clientHeight) / this.height) + SPARE;
    return [first * this.columns, Math.min(this.source.total, last * this.columns)];
  }

  draw() {
    const { element, space, gap } = this;
    if (!element.clientWidth) return;
    const columns = Math.max(1, Math.floor((element.clientWidth - gap) / (this.least + gap)));
    if (columns !== this.columns) this.reflow(columns);
    const count = Math.ceil(this.source.total / columns);
    space.style.height = `${count * this.height}px`;
    element.setAttribute("aria-rowcount", count);
    element.setAttribute("aria-colcount", columns);
    const [first, last] = this.inView();
    // The one card that Tab reaches is one that is there.
    const held = element.contains(document.activeElement) && document.activeElement !== element;
    this.focused = Math.max(first, Math.min(this.focused, last - 1));
    const wanted = new Set();
    for (let line = first / columns; line * columns < last; line++) wanted.add(line);
    const free = this.lines.filter((line) => !wanted.has(line.number));
    const shown = new Set(this.lines.map((line) => line.number));
    for (const number of wanted) if (!shown.has(number)) this.place(free.pop() ?? this.line(), number);
    for (const line of free) this.drop(line);
    for (const line of this.lines) this.fill(line);
    if (held && !element.contains(document.activeElement)) this.cardAt(this.focused)?.focus({ preventScroll: true });
  }

  // The card that was in the middle of attention stays in view when the width changes.
  reflow(columns) {
    const first = Math.floor(this.element.scrollTop / this.height) * this.columns;
    for (const line of [...this.lines]) this.drop(line);
    this.columns = columns;
    this.space.style.height = `${Math.ceil(this.source.total / columns) * this.height}px`;
    this.element.scrollTop = Math.floor(first / columns) * this.height;
  }

  line() {
    const element = make("div", { className: "line", role: "row" });
    const cards = Array.from({ length: this.columns }, () => this.card.make());
    element.append(...cards);
    element.style.gridTemplateColumns = `repeat(${this.columns}, minmax(0, 1fr))`;
    const line = { element, cards, number: -1 };
    this.lines.push(line);
    this.space.append(element);
    return line;
  }

  place(line, number) {
    line.number = number;
    line.element.style.transform = `translateY(${number * this.height}px)`;
    line.element.setAttribute("aria-rowindex", number + 1);
  }

  drop(line) {
    line.element.remove();
    this.lines.splice(this.lines.indexOf(line), 1);
  }

  fill(line) {
    line.cards.forEach((card, column) => this.fillCard(card, line.number * this.columns + column));
  }

  fillCard(card, position) {
    const there = position < this.source.total;
    card.style.visibility = there ? "" : "hidden";
    card.dataset.position = position;
    card.tabIndex = position === this.focused ? 0 : -1;
    if (there) this.card.fill(card, this.source.at(position), position, this.settled);
  }

  // One cell has changed.
  refresh(position) {
    const card = this.cardAt(position);
    if (card) this.fillCard(card, position);
  }

  cardAt(position) {
    const line = this.lines.find((one) => one.number === Math.floor(position / this.columns));
    return line?.cards[position % this.columns];
  }

  entered(target) {
    const position = Number(target.closest?.("[data-position]")?.dataset.position);
    if (Number.isInteger(position) && position !== this.focused) this.aim(position);
  }

  aim(position) {
    const before = this.focused;
    this.focused = position;
    this.refresh(before);
    this.refresh(position);
  }

  // Arrows, Home, End and the page keys walk from card to card.
  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height)) * this.columns;
    const [across, down] = STEPS[event.key] ?? [0, 0];
    let step = across + down * this.columns;
    if (event.key === "PageDown") step = page;
    if (event.key === "PageUp") step = -page;
    if (event.key === "Home") step = -this.focused;
    if (event.key === "End") step = this.source.total;
    if (!step || event.target.closest?.("select, input")) return;
    event.preventDefault();
    this.walk(Math.min(this.source.total - 1, Math.max(0, this.focused + step)));
  }

  walk(position) {
    const top = Math.floor(position / this.columns) * this.height;
    const { element } = this;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + this.height > element.scrollTop + element.clientHeight)
      element.scrollTop = top + this.height - element.clientHeight;
    this.aim(position);
    this.draw();
    this.cardAt(position)?.focus({ preventScroll: true });
  }
}
