// The cells of one sweep in the chosen order, fetched page by page as they are looked at.
const PAGE = 200;
const SOON = 1500;
const RETRY = 3000;

export class Rows {
  // `fetch(query)` answers {total, cells}; `changed(position)` is called for one row, without a position for all.
  constructor(fetch, changed, failed) {
    this.fetch = fetch;
    this.changed = changed;
    this.failed = failed;
    this.view = { sort: "index", status: "" };
    this.total = 0;
    this.begin();
  }

  begin() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.turn = (this.turn ?? 0) + 1;
    this.pages = new Map();
    this.asked = new Map();
    this.places = new Map();
    this.news = new Map();
  }

  // Another order or filter.
  show(view) {
    this.view = { ...this.view, ...view };
    this.begin();
    return this.load(0);
  }

  at(position) {
    const page = Math.floor(position / PAGE);
    const rows = this.pages.get(page);
    if (!rows) this.load(page);
    return rows?.[position % PAGE];
  }

  load(page) {
    if (!this.asked.has(page)) this.asked.set(page, this.get(page));
    return this.asked.get(page);
  }

  async get(page) {
    const turn = this.turn;
    try {
      const answer = await this.fetch({ ...this.view, offset: page * PAGE, limit: PAGE });
      if (turn !== this.turn) return;
      this.asked.delete(page);
      this.keep(page, answer);
      if (!this.asked.size && !this.underway) this.news.clear();
    } catch (error) {
      if (turn !== this.turn) return;
      this.failed?.(error);
      // What is still looked at then is asked for again.
      setTimeout(() => {
        if (turn !== this.turn) return;
        this.asked.delete(page);
        this.changed();
      }, RETRY);
    }
  }

  keep(page, { total, cells }) {
    // What was told while the answer was on its way is newer than the answer.
    this.pages.set(
      page,
      cells.map((row) => this.news.get(row.cell) ?? row),
    );
    cells.forEach((row, place) => this.places.set(row.cell, page * PAGE + place));
    this.total = total;
    this.changed();
  }

  // A cell has changed: it is shown where it stands; where the order may depend on it, the order is asked for again.
  put(row) {
    if (this.asked.size || this.underway) this.news.set(row.cell, row);
    const position = this.places.get(row.cell);
    const rows = this.pages.get(Math.floor(position / PAGE));
    if (rows) {
      rows[position % PAGE] = row;
      this.changed(position);
    }
    if (this.view.status || this.view.sort !== "index") this.again();
  }

  // Change some fields of one cell, if it is there.
  alter(cell, fields) {
    const row = this.known(cell);
    if (row) this.put({ ...row, ...fields });
    return row;
  }

  known(cell) {
    const position = this.places.get(cell);
    return this.pages.get(Math.floor(position / PAGE))?.[position % PAGE];
  }

  again(pause = SOON) {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.refetch();
    }, pause);
  }

  // The rows stay on the screen until the new ones are here.
  async refetch() {
    const turn = this.turn;
    const wanted = this.looked?.() ?? [0, PAGE];
    const first = Math.floor(wanted[0] / PAGE);
    const last = Math.floor(Math.max(wanted[0], wanted[1] - 1) / PAGE);
    try {
      const numbers = Array.from({ length: last - first + 1 }, (_, step) => first + step);
      this.underway = true;
      const query = (page) => this.fetch({ ...this.view, offset: page * PAGE, limit: PAGE });
      const answers = await Promise.all(numbers.map(query));
      if (turn !== this.turn) return;
      this.pages.clear();
      this.places.clear();
      answers.forEach((answer, step) => this.keep(numbers[step], answer));
    } catch (error) {
      if (turn === this.turn) this.failed?.(error);
    } finally {
      this.underway = false;
      if (!this.asked.size) this.news.clear();
    }
  }
}
