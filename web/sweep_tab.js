// The sidebar tab "Sweeps": the list, or the sweep chosen from it. Which one it was is remembered by this browser.
import { app } from "../../scripts/app.js";
import { keepKeys, make, style } from "./sweep_dom.js";
import { SweepList } from "./sweep_list.js";
import { SweepView } from "./sweep_view.js";

const TAB = "svd-studio-sweeps";
const LAST = "SVDStudio.Sweep";
const panel = keepKeys(make("section", { className: "svd-sweeps", "aria-label": "Sweeps" }));
let shown;

export const sweepTab = {
  name: "SVDStudio.SweepTab",
  setup() {
    app.extensionManager?.registerSidebarTab?.({
      id: TAB,
      icon: "pi pi-th-large",
      title: "Sweeps",
      tooltip: "Sweeps of SVD Studio",
      type: "custom",
      render: (element) => {
        style();
        element.style.height = "100%";
        element.append(panel);
        go(remembered());
      },
      destroy: leave,
    });
  },
};

// Show the tab, with one sweep or with the list.
export async function openSweeps(id) {
  remember(id);
  if (panel.isConnected) go(id);
  else await app.extensionManager?.command?.execute(`Workspace.ToggleSidebarTab.${TAB}`);
}

function go(id) {
  leave();
  shown = id ? new SweepView(id, () => go(undefined)) : new SweepList(go);
  remember(id);
  panel.append(shown.element);
}

function leave() {
  shown?.remove();
  shown = undefined;
  panel.replaceChildren();
}

function remembered() {
  try {
    return localStorage.getItem(LAST) || undefined;
  } catch {
    return undefined;
  }
}

function remember(id) {
  try {
    if (id) localStorage.setItem(LAST, id);
    else localStorage.removeItem(LAST);
  } catch {
    // A browser that keeps nothing begins with the list.
  }
}
