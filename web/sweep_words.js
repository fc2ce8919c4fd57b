// Numbers and states of a sweep as an artist reads them.
const MINUTE = 60;
const HOUR = 3600;
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export const STATES = {
  running: "running",
  paused: "paused",
  cancelled: "cancelled",
  finished: "finished",
  stopped: "stopped",
};

// What the metrics are called, and how many digits they deserve.
export const METRICS = {
  motion: { label: "motion", digits: 2 },
  camera_error: { label: "camera error", digits: 2 },
  flicker: { label: "flicker", digits: 3 },
  colour_drift: { label: "colour drift", digits: 3 },
  sharpness: { label: "sharpness", digits: 2 },
};

export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "not known yet";
  if (seconds < MINUTE) return `about ${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 2 * HOUR) return `about ${Math.round(seconds / MINUTE)} min`;
  if (seconds < 48 * HOUR) return `about ${(seconds / HOUR).toFixed(1)} hours`;
  return `about ${(seconds / HOUR / 24).toFixed(1)} days`;
}

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "not known yet";
  let unit = 0;
  for (; bytes >= 1000 && unit < UNITS.length - 1; unit++) bytes /= 1000;
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

// "seed 3, hills": a label that does not say what it is gets the axis's name.
export function caption(values) {
  return Object.entries(values ?? {})
    .map(([axis, label]) => (/^-?[\d.]+(e-?\d+)?$/i.test(String(label)) ? `${spaced(axis)} ${label}` : String(label)))
    .join(", ");
}

export function spaced(name) {
  return name.replaceAll("_", " ");
}

export function measured(metrics, name) {
  const value = metrics?.[name];
  if (typeof value !== "number" || !Number.isFinite(value)) return "";
  return `${METRICS[name].label} ${value.toFixed(METRICS[name].digits)}`;
}

export function summary(counts, total) {
  const parts = [`${(counts.done ?? 0).toLocaleString("en")} of ${plural(total, "clip")}`];
  if (counts.failed) parts.push(`${counts.failed.toLocaleString("en")} failed`);
  if (counts.running) parts.push(`${counts.running} running`);
  return parts.join(", ");
}
