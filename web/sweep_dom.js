// Small helpers for elements. Text only ever goes in as text, so that a file's name cannot become markup.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function button(label, action, properties = {}) {
  return make("button", { type: "button", onclick: action, textContent: label, ...properties });
}

// A button with one of the host's own icons; `label` is its tooltip and what is read aloud.
export function iconButton(icon, label, action, properties = {}) {
  const picture = make("i", { className: `pi pi-${icon}`, "aria-hidden": "true" });
  const element = make(
    "button",
    { type: "button", className: "plain", onclick: action, title: label, ...properties },
    picture,
  );
  element.setAttribute("aria-label", label);
  return element;
}

export function setIcon(button, icon) {
  const name = `pi pi-${icon}`;
  if (button.firstChild.className !== name) button.firstChild.className = name;
}

// The host's keys (delete a node, undo, queue) stay asleep while one types or moves about in here.
export function keepKeys(element) {
  element.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && event.key !== "Escape") event.stopPropagation();
  });
  return element;
}

// A modal dialog; it is taken off the page when it closes. `close` listeners clean up.
export function dialog(title, ...children) {
  const heading = make("h2", { textContent: title });
  const element = make(
    "dialog",
    { className: "svd-sweep-dialog", "aria-label": title },
    make(
      "header",
      {},
      heading,
      iconButton("times", "Close", () => element.close()),
    ),
    ...children,
  );
  element.addEventListener("close", () => element.remove());
  // Escape belongs to the dialog alone, wheels and keys do not reach the graph.
  for (const kind of ["keydown", "keyup", "keypress", "wheel", "paste", "copy"])
    element.addEventListener(kind, (event) => event.stopPropagation());
  document.body.append(element);
  element.showModal();
  return element;
}

let loaded = false;

// The style sheets beside this file, once.
export function style() {
  if (loaded) return;
  loaded = true;
  for (const name of ["sweep.css", "sweep_dialog.css"])
    document.head.append(make("link", { rel: "stylesheet", href: new URL(`./${name}`, import.meta.url).href }));
}
