// What a camera move does, as a small moving picture on SVD Camera Move: a hill with a sun behind a tree, seen through
// the camera. Drawn here as SVG, so that there is nothing to fetch; where the page has no DOM widgets nothing is shown.
const NODE = "SVDStudioCameraMove";
const WIDGET = "svd_studio_move";
const WIDGET_TYPE = "SVD_STUDIO_MOVE";
const HEIGHT = 84;
const SECONDS = 2.4;
const CENTRE = "48 32";

const SIDE = "% of the width a second";
const UP = "% of the height a second";
const GROWTH = "% a second, log scale";
const TURN = "degrees a second";
const NEAREST = ", of what is nearest";

// By the beginning of the preset's name: the kind of transform, what the background and the tree do at the end of a
// positive move, and the unit. The picture moves against the camera.
const MOVES = {
  pan: { kind: "translate", back: [-14, 0], front: [-14, 0], unit: SIDE },
  tilt: { kind: "translate", back: [0, 10], front: [0, 10], unit: UP },
  zoom: { kind: "scale", back: 1.35, front: 1.35, unit: GROWTH },
  roll: { kind: "rotate", back: -12, front: -12, unit: TURN },
  truck: { kind: "translate", back: [-4, 0], front: [-18, 0], unit: SIDE + NEAREST },
  pedestal: { kind: "translate", back: [0, 3], front: [0, 13], unit: UP + NEAREST },
  dolly: { kind: "scale", back: 1.08, front: 1.45, unit: GROWTH + NEAREST },
  orbit: { kind: "translate", back: [14, 0], front: [0, 0], unit: TURN },
};
const NEGATIVE = new Set(["left", "down", "out", "ccw"]);

export const cameraMove = {
  name: "SVDStudio.CameraMove",
  nodeCreated(node) {
    if (node.comfyClass !== NODE || !node.addDOMWidget) return;
    const preset = node.widgets?.find((widget) => widget.name === "preset");
    if (!preset) return;
    const element = frame();
    const widget = node.addDOMWidget(WIDGET, WIDGET_TYPE, element, {
      serialize: false,
      hideOnZoom: true,
      getMinHeight: () => HEIGHT,
      getMaxHeight: () => HEIGHT,
      getValue: () => "",
      setValue: () => {},
    });
    widget.serialize = false;
    const show = () => element.show(String(preset.value ?? ""));
    const chosen = preset.callback;
    preset.callback = function (...values) {
      const result = chosen?.apply(this, values);
      show();
      return result;
    };
    const configured = node.onConfigure;
    node.onConfigure = function (...values) {
      const result = configured?.apply(this, values);
      show();
      return result;
    };
    show();
  },
};

export function moveIcon(preset) {
  const still = '<g transform="translate(0 0)">';
  const [back, front] = motions(preset) ?? ["", ""];
  const layer = (shapes, motion) => `${still}${motion}${shapes}</g>`;
  const hills =
    '<rect x="-60" y="-40" width="216" height="144" fill="#1e293b"/><circle cx="66" cy="16" r="7" fill="#fbbf24"/>' +
    '<path d="M-60 52 L-18 24 L8 46 L34 20 L70 50 L104 26 L156 54 L156 110 L-60 110 Z" fill="#475569"/>';
  const tree =
    '<path d="M-60 54 Q48 46 156 54 L156 110 L-60 110 Z" fill="#334155"/>' +
    '<rect x="46" y="40" width="4" height="14" fill="#a16207"/><circle cx="48" cy="35" r="9" fill="#22c55e"/>';
  return (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 64"><defs><clipPath id="v"><rect width="96" height="64" ' +
    `rx="4"/></clipPath></defs><g clip-path="url(#v)">${layer(hills, back)}${layer(tree, front)}</g>` +
    '<rect x="1" y="1" width="94" height="62" rx="4" fill="none" stroke="#94a3b8" stroke-width="1.5"/></svg>'
  );
}

function motions(preset) {
  if (preset === "handheld") return Array(2).fill(animated("translate", "0 0; 3 -2; -2 2; 2 3; -3 -1; 0 0"));
  if (preset === "static") return ["", animated("rotate", "0 48 54; 5 48 54; 0 48 54; -5 48 54; 0 48 54")];
  const [name, end] = preset.split("_");
  const move = MOVES[name];
  if (!move || !end) return undefined;
  const sign = NEGATIVE.has(end) ? -1 : 1;
  return [move.back, move.front].map((amount) => animated(move.kind, course(move.kind, amount, sign)));
}

// There, a rest, and from the beginning again.
function course(kind, amount, sign) {
  const thereAndRest = (start, end) => `${start}; ${end}; ${end}`;
  if (kind === "translate") return thereAndRest("0 0", amount.map((part) => part * sign).join(" "));
  if (kind === "rotate") return thereAndRest(`0 ${CENTRE}`, `${amount * sign} ${CENTRE}`);
  return thereAndRest(1, sign > 0 ? amount : 1 / amount);
}

function animated(kind, values) {
  const times = values.split(";").length === 3 ? 'keyTimes="0; 0.8; 1"' : "";
  const part = (type, course, more = "") =>
    `<animateTransform attributeName="transform" type="${type}" values="${course}" ${times} ` +
    `dur="${SECONDS}s" repeatCount="indefinite" ${more}/>`;
  if (kind !== "scale") return part(kind, values);
  // Scaling is about the origin: the layer is carried so that the middle of the view stays where it is.
  const [x, y] = CENTRE.split(" ").map(Number);
  const carried = values.split(";").map((value) => `${x * (1 - value)} ${y * (1 - value)}`);
  return part("translate", carried.join("; ")) + part("scale", values, 'additive="sum"');
}

export function unitOf(preset) {
  if (preset === "static") return "holds still; the amount is not used";
  if (preset === "handheld") return "tenths of a % of the width";
  if (preset.startsWith("saved: ")) return "the saved moves, as they are";
  return MOVES[preset.split("_")[0]]?.unit ?? "";
}

function frame() {
  const element = document.createElement("div");
  element.className = "svd-studio-move";
  Object.assign(element.style, {
    display: "flex",
    alignItems: "center",
    gap: "8px",
    height: `${HEIGHT}px`,
    boxSizing: "border-box",
    padding: "4px",
    pointerEvents: "none",
  });
  const picture = document.createElement("img");
  Object.assign(picture.style, { height: "64px", width: "96px", flex: "none" });
  const caption = document.createElement("span");
  Object.assign(caption.style, { fontSize: "11px", lineHeight: "15px", opacity: "0.75" });
  element.append(picture, caption);
  element.show = (preset) => {
    const known = motions(preset) !== undefined;
    picture.style.display = known ? "" : "none";
    if (known) {
      picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(moveIcon(preset))}`;
      picture.alt = `What ${preset.replaceAll("_", " ")} looks like`;
    }
    element.dataset.preset = preset;
    caption.textContent = unitOf(preset);
  };
  return element;
}
