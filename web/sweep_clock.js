// One clock for several clips. It counts ticks of the fastest clip; a clip that is over holds its last frame until all
// begin again, and no clip runs ahead of one whose frame is not there yet.
const SLACK = 1e-6;

export function timeline(clips) {
  const rate = Math.max(...clips.map(({ fps }) => fps));
  const seconds = Math.max(...clips.map(({ frames, fps }) => frames / fps));
  return { rate, ticks: Math.max(1, Math.ceil(seconds * rate - SLACK)) };
}

export function frameAt(tick, { rate }, { frames, fps }) {
  return Math.min(frames - 1, Math.floor((tick * fps) / rate + SLACK));
}

export class Clock {
  // `show(tick)` may answer a promise: the next tick waits for it.
  constructor({ rate, ticks }, show, told = () => {}) {
    Object.assign(this, { rate, ticks, show, told });
    this.tick = 0;
    this.speed = 1;
    this.playing = false;
    this.turn = 0;
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    this.run(++this.turn);
  }

  pause() {
    this.playing = false;
    this.turn++;
    this.told();
  }

  async run(turn) {
    this.told();
    while (this.playing && turn === this.turn) {
      const due = performance.now() + 1000 / (this.rate * this.speed);
      await this.go(this.tick);
      await until(due);
      if (turn !== this.turn) return;
      this.tick = (this.tick + 1) % this.ticks;
    }
  }

  // Scrubbing: only the newest wish is carried out once the frames under way are there.
  async seek(tick) {
    this.tick = ((Math.round(tick) % this.ticks) + this.ticks) % this.ticks;
    if (this.playing) return;
    this.wish = this.tick;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.wish !== undefined) {
        const wish = this.wish;
        this.wish = undefined;
        await this.go(wish);
      }
    } finally {
      this.busy = false;
    }
  }

  async go(tick) {
    await this.show(tick);
    this.told();
  }
}

function until(due) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
}
