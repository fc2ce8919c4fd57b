// Clips side by side: one clock plays and scrubs all of them, frame by frame.
import { address } from "./sweep_api.js";
import { Clock, frameAt, timeline } from "./sweep_clock.js";
import { button, dialog, iconButton, make, setIcon } from "./sweep_dom.js";
import { openClip } from "./sweep_frames.js";
import { caption, measured, METRICS } from "./sweep_words.js";

export const MOST = 9;
// All kept frames together, in bytes of four a pixel; clips in many frames are kept smaller.
const BUDGET = 384e6;
const WIDEST = 640;
const SPEEDS = [0.25, 0.5, 1, 2];

// `rows` are the cells; `star(row)` and `values(row)` do what their buttons say.
export async function compare(rows, { star, values }) {
  const tiles = rows.map((row) => tile(row, { star, values }));
  const wall = make("div", { className: "wall", data: { count: rows.length } }, ...tiles.map(({ element }) => element));
  const bar = make("div", { className: "transport" }, make("span", { textContent: "Loading the clips…" }));
  const title = rows.length > 1 ? `${rows.length} clips side by side` : caption(rows[0].values) || "Clip";
  const box = dialog(title, wall, bar);
  box.classList.add("compare");
  wall.style.setProperty("--across", Math.ceil(Math.sqrt(rows.length)));
  const gone = new AbortController();
  box.addEventListener("close", () => gone.abort());

  const width = widthFor(rows);
  const opening = tiles.map((one) => open(one, width, gone.signal));
  const clips = (await Promise.all(opening)).filter(Boolean);
  gone.signal.addEventListener("abort", () => clips.forEach(({ clip }) => clip.close()));
  if (gone.signal.aborted) return clips.forEach(({ clip }) => clip.close());
  if (!clips.length) return bar.replaceChildren("None of these clips can be shown.");
  const time = timeline(clips.map(({ clip }) => clip));
  const clock = new Clock(time, (tick) => draw(clips, tick, time));
  gone.signal.addEventListener("abort", () => clock.pause());
  bar.replaceChildren(...transport(clock, box));
  bar.querySelector("input").focus();
  box.svdClock = clock;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) clock.seek(0);
  else clock.play();
}

function widthFor(rows) {
  const frames = rows.reduce((sum, row) => sum + (row.frames || 25), 0);
  return Math.max(96, Math.min(WIDEST, Math.floor(Math.sqrt(BUDGET / frames / 4 / 0.75))));
}

function tile(row, { star, values }) {
  const canvas = make("canvas", { width: 1, height: 1, role: "img", "aria-label": caption(row.values) });
  const starred = iconButton("star", "Star", async () => mark(await star(row)));
  const mark = (told) => {
    row = told;
    setIcon(starred, row.starred ? "star-fill" : "star");
    starred.setAttribute("aria-pressed", Boolean(row.starred));
  };
  const told = Object.keys(METRICS)
    .map((name) => measured(row.metrics, name))
    .filter(Boolean);
  mark(row);
  const element = make(
    "figure",
    { data: { cell: row.cell } },
    canvas,
    make(
      "figcaption",
      {},
      starred,
      make("span", { className: "name", textContent: caption(row.values) || row.name }),
      make("span", { className: "metric", textContent: told.join(", ") }),
      button("Put these values into my graph", () => values(row), { className: "values" }),
    ),
  );
  return { row, canvas, element };
}

async function open({ row, canvas, element }, width, signal) {
  try {
    const clip = await openClip({ source: address(row.clip), frames: row.frames, fps: row.fps }, width, signal);
    return { clip, canvas };
  } catch (error) {
    if (!signal.aborted) element.prepend(make("div", { className: "reason", textContent: error.message }));
    return undefined;
  }
}

// All pictures are there before the first is drawn, so that no clip is ever a frame behind another.
async function draw(clips, tick, time) {
  const numbers = clips.map(({ clip }) => frameAt(tick, time, clip));
  const pictures = await Promise.all(clips.map(({ clip }, place) => clip.frame(numbers[place]).catch(() => undefined)));
  clips.forEach(({ canvas }, place) => {
    const picture = pictures[place];
    if (!picture?.width) return;
    if (canvas.width !== picture.width || canvas.height !== picture.height)
      Object.assign(canvas, { width: picture.width, height: picture.height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    canvas.dataset.frame = numbers[place];
  });
}

function transport(clock, box) {
  const toggle = () => (clock.playing ? clock.pause() : clock.play());
  const step = (by) => (clock.pause(), clock.seek(clock.tick + by));
  const play = iconButton("pause", "Pause", toggle);
  const slider = make("input", { type: "range", min: 0, max: clock.ticks - 1, step: 1, "aria-label": "Frame" });
  slider.addEventListener("input", () => (clock.pause(), clock.seek(slider.valueAsNumber)));
  const count = make("output", {});
  const speed = make("select", { "aria-label": "Speed", onchange: () => (clock.speed = Number(speed.value)) });
  speed.append(...SPEEDS.map((value) => make("option", { value, textContent: `${value}×`, selected: value === 1 })));
  clock.told = () => {
    setIcon(play, clock.playing ? "pause" : "play");
    play.setAttribute("aria-label", clock.playing ? "Pause" : "Play");
    slider.value = clock.tick;
    count.textContent = `${clock.tick + 1} / ${clock.ticks}`;
  };
  box.addEventListener("keydown", (event) => {
    if (event.target.closest("select, button") && event.key === " ") return;
    const keys = { " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => step(-clock.tick) };
    if (!keys[event.key] || event.target === speed) return;
    event.preventDefault();
    keys[event.key]();
  });
  const back = iconButton("step-backward", "One frame back", () => step(-1));
  const on = iconButton("step-forward", "One frame on", () => step(1));
  return [back, play, on, slider, count, speed];
}
