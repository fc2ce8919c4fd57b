"""A sweep from the graph: built, queued, watched and judged in the real page.

The pictures of the help pages are taken here: SVD_STUDIO_WRITE_PICTURES=1 writes them to web/docs/images.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from tests.browser.comfy import NEWEST, PATIENCE, Comfy
from tests.browser.hands import Hands
from tests.browser.many_cells import FOLDER, many_cells
from tests.browser.sweeping import BUCKETS, SEEDS, build, click_in_card, plain_graph, wait_for_counts, widen_panel
from tests.host.server import ROOT

pytestmark = pytest.mark.browser

WRITE = os.environ.get("SVD_STUDIO_WRITE_PICTURES") == "1"
TAB = "Workspace.ToggleSidebarTab.svd-studio-sweeps"
MANY = 10_000
NEW = tuple(map(int, NEWEST.split(".")))
_FACTS = """() => Object.fromEntries([...document.querySelectorAll("dialog dd")].map((fact) =>
  [fact.dataset.fact, fact.textContent]))"""
_ERROR = "() => document.querySelector('dialog .error')?.textContent"
_STATUSES = "() => [...document.querySelectorAll('.svd-sweeps .card')].map((card) => card.dataset.status)"
_THUMBNAILS = """() => [...document.querySelectorAll(".svd-sweeps .card[data-status='done'] img")].filter((image) =>
  image.complete && image.naturalWidth > 0).length"""
_STEP = """() => [...document.querySelectorAll(".svd-sweeps .card[data-status='running'] progress")].some((bar) =>
  bar.hasAttribute("value") && bar.value > 0)"""
_CELLS = """(ids) => ids.map((id) => app.graph.getNodeById(id).widgets.find(({ name }) => name === "cell").value)"""
_CLOCK = "() => document.querySelector('dialog.compare')?.svdClock?.tick > 0"
_SHOWN_FRAMES = """() => [...document.querySelectorAll("dialog.compare canvas")].map(({ dataset }) => dataset.frame)"""
_SCRUB = """async () => {
  const box = document.querySelector("dialog.compare");
  const [clock, canvases] = [box.svdClock, [...box.querySelectorAll("canvas")]];
  clock.pause();
  const seen = [];
  for (let tick = 0; tick < clock.ticks; tick++) {
    await clock.seek(tick);
    seen.push(canvases.map((canvas) => Number(canvas.dataset.frame)));
  }
  return seen;
}"""
# Time to the first cells and pictures, times between frames while scrolling a little and a lot, most elements.
_OPEN = """async ([tab, sweep]) => {
  localStorage.setItem("SVDStudio.Sweep", sweep);
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const began = performance.now();
  const until = async (test) => {
    while (!test()) await frame();
    return performance.now() - began;
  };
  await app.extensionManager.command.execute(tab);
  const opened = performance.now() - began;
  const cells = await until(() => document.querySelector(".svd-sweeps .card[data-status='done']"));
  return { opened, cells };
}"""
_SCROLL = """async () => {
  const grid = document.querySelector(".svd-sweeps .grid");
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const [times, work] = [[], []];
  let most = 0;
  const watch = new PerformanceObserver((list) => work.push(...list.getEntries().map(({ duration }) => duration)));
  watch.observe({ type: "longtask" });
  await frame();
  for (let step = 0, last = performance.now(); step < 120; step++) {
    grid.scrollTop += step < 60 ? 200 : grid.scrollHeight / 55;
    await frame();
    const now = performance.now();
    times.push(now - last);
    last = now;
    most = Math.max(most, document.querySelectorAll(".svd-sweeps *").length);
  }
  watch.disconnect();
  times.sort((a, b) => a - b);
  return { median: times[60], p95: times[114], worst: times[119], longest: Math.max(0, ...work), most,
    end: grid.scrollTop + grid.clientHeight >= grid.scrollHeight - 1 };
}"""
# Contrast of text against what is behind it, as WCAG 2 defines it.
_CONTRAST = """(selector) => {
  const element = document.querySelector(selector);
  const picture = document.createElement("canvas").getContext("2d");
  const read = (colour) => {
    picture.clearRect(0, 0, 1, 1);
    picture.fillStyle = colour;
    picture.fillRect(0, 0, 1, 1);
    return [...picture.getImageData(0, 0, 1, 1).data];
  };
  let behind = element;
  while (read(getComputedStyle(behind).backgroundColor)[3] < 200) behind = behind.parentElement;
  const light = (colour) => {
    const [red, green, blue] = read(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  };
  const [text, back] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
  return Math.max(text, back) / Math.min(text, back);
}"""


def name_of(comfy: Comfy) -> str:
    return "by hand nodes2" if comfy.vue else "by hand"


def picture(comfy: Comfy, name: str, selector: str | None = None) -> None:
    """A screenshot; it goes to the help pages when those are wanted anew and this is ComfyUI's own front-end."""
    box: Any = None
    if name == "sweep_graph":
        x, y, width, height = comfy.box()
        box = (max(x - 20, 70), y - 30, min(width + 60, 1530), min(height + 60, 1000 - y))
    elif selector is not None:
        found = """(selector) => {
          const { x, y, width, height } = document.querySelector(selector).getBoundingClientRect();
          return [x, y, width, height];
        }"""
        box = comfy.page.evaluate(found, selector)
    shot = comfy.page.screenshot(comfy.server.base / f"{name}.png", box)
    if WRITE and not comfy.vue and comfy.version() < NEW:
        with Image.open(shot) as taken:
            taken.convert("RGB").save(ROOT / "web" / "docs" / "images" / f"{name}.webp", quality=85, method=6)


def ours(problems: list[str]) -> list[str]:
    return [line for line in problems if "svd-studio" in line]


def open_panel(comfy: Comfy) -> None:
    comfy.page.evaluate("(tab) => { app.extensionManager.command.execute(tab); }", TAB)
    comfy.page.wait("() => Boolean(document.querySelector('.svd-sweeps'))", seconds=PATIENCE)


def test_a_sweep_by_clicks_alone(comfy: Comfy) -> None:
    """Build it, queue it, watch it, star a clip, compare, put values back, come again."""
    if comfy.first_nodes2():
        pytest.skip("the first Nodes 2.0 has slots that take no pointer")
    comfy.page.problems()
    comfy.load(plain_graph())
    name = name_of(comfy)
    built = build(comfy, name)
    picture(comfy, "sweep_graph")

    Hands(comfy).press(built.plan, "Queue sweep")
    comfy.page.wait("() => Boolean(document.querySelector('dialog .primary, dialog .error'))", seconds=PATIENCE)
    facts = comfy.page.evaluate(_FACTS)
    assert facts, comfy.page.evaluate(_ERROR)
    assert facts["Clips"] == "6 clips" and facts["Sweep"] == "new" and facts["Folder"].endswith(name), facts
    assert facts["seed"] == ", ".join(SEEDS) and facts["motion bucket"] == ", ".join(BUCKETS), facts
    # Where this test's own folders lie is of no use to a reader.
    shorten = """() => {
      const folder = document.querySelector("dialog dd[data-fact='Folder']");
      folder.textContent = folder.textContent.replace(/^.*(?=.output.svd_sweeps)/, "ComfyUI");
    }"""
    comfy.page.evaluate(shorten)
    picture(comfy, "sweep_start", "dialog")
    comfy.page.press("Enter")

    wait_for_counts(comfy, "0 of 6 clips")
    comfy.page.wait(_STEP, seconds=PATIENCE)
    wait_for_counts(comfy, "6 of 6 clips")
    widen_panel(comfy, 330)
    comfy.page.wait(f"() => ({_THUMBNAILS})() >= 4", seconds=PATIENCE)

    starred = click_in_card(comfy, ["seed 6", "96"], "[data-act=star]")
    comfy.page.wait("(cell) => document.querySelector(`[data-cell='${cell}'] .pi-star-fill`)", starred, seconds=60)
    sweep = f"/svd_studio/sweeps/{quote(name)}"
    assert comfy.server.get(sweep)["stars"] == [starred]
    for bucket in BUCKETS:
        click_in_card(comfy, ["seed 6", bucket], "[data-act=pick]")
    picture(comfy, "sweep_panel")
    compare_two(comfy)

    for seed, bucket in (("7", "32"), ("6", "96")):
        wanted = click_in_card(comfy, [f"seed {seed}", bucket], "[data-act=values]")
        index = comfy.server.get(f"{sweep}/cells/{wanted}/values")["index"]
        comfy.page.wait(f"([ids, index]) => ({_CELLS})(ids).every((value) => value === index)", [built.cells, index])
    assert wanted == starred
    assert not ours(comfy.page.problems())

    comfy.open(vue=comfy.vue)
    open_panel(comfy)
    wait_for_counts(comfy, "6 of 6 clips")
    comfy.page.wait("(cell) => document.querySelector(`[data-cell='${cell}']`)", starred, seconds=PATIENCE)
    assert comfy.page.evaluate("(cell) => document.querySelectorAll('.card .pi-star-fill').length", starred) == 1
    assert not ours(comfy.page.problems())


def compare_two(comfy: Comfy) -> None:
    """Both clips loop in step, scrubbing shows every frame of both, Escape ends it."""
    comfy.page.click("[data-verb=compare]")
    comfy.page.wait(_CLOCK, seconds=PATIENCE)
    picture(comfy, "sweep_compare")
    for _ in range(5):
        first, second = comfy.page.evaluate(_SHOWN_FRAMES)
        assert first == second
    seen = comfy.page.evaluate(_SCRUB)
    assert seen == [[frame, frame] for frame in range(6)]
    comfy.page.press("Escape")
    comfy.page.wait("() => !document.querySelector('dialog')", seconds=60)


def test_the_same_plan_goes_on_and_another_is_refused(comfy: Comfy) -> None:
    """What the dialog says before anything runs."""
    comfy.clear()
    comfy.page.evaluate("() => { app.extensionManager.command.execute('SVDStudio.QueueSweep'); }")
    assert "no Sweep Plan" in comfy.page.wait(_ERROR, seconds=60)
    comfy.page.press("Escape")
    if comfy.first_nodes2() or not (comfy.server.base / "output" / "svd_sweeps" / name_of(comfy)).is_dir():
        pytest.skip("the test before this one makes the sweep")
    comfy.load(swept(comfy, "3 from 5"))
    comfy.page.evaluate("() => { app.extensionManager.command.execute('SVDStudio.QueueSweep'); }")
    comfy.page.wait("() => Boolean(document.querySelector('dialog .primary, dialog .error'))", seconds=PATIENCE)
    assert comfy.page.evaluate(_FACTS)["Sweep"].startswith("resumes")
    comfy.page.press("Escape")
    comfy.load(swept(comfy, "3 fro 5"))
    comfy.page.evaluate("() => { app.extensionManager.command.execute('SVDStudio.QueueSweep'); }")
    assert "3 fro 5" in comfy.page.wait(_ERROR, seconds=PATIENCE)
    comfy.page.press("Escape")


def swept(comfy: Comfy, seeds: str) -> dict[str, Any]:
    """The graph the first clip of the sweep carries, with other seeds."""
    (clip, *_) = sorted((comfy.server.base / "output" / "svd_sweeps" / name_of(comfy) / "cells").glob("*.mp4"))
    workflow = read_workflow(clip)
    for node in workflow["nodes"]:
        if node["type"] == "SVDStudioSweepAxis" and node["widgets_values"][1] == "seed":
            node["widgets_values"][2] = seeds
    return workflow


def read_workflow(clip: Path) -> dict[str, Any]:
    """What the page finds in a saved clip."""
    import json

    import av

    with av.open(str(clip)) as container:
        return json.loads(container.metadata["workflow"])


def test_cameras_are_picked_from_the_list(comfy: Comfy) -> None:
    """The button is there for what has a list, and what is clicked becomes a line of the values."""
    if comfy.first_nodes2():
        pytest.skip("the first Nodes 2.0 has no room for widgets of a pack")
    comfy.clear()
    comfy.look_at(-200, -200, 1.0)
    hands = Hands(comfy)
    node = hands.add("SVD Sweep Axis", 1000, 300)
    hidden = """(id) => app.graph.getNodeById(id).widgets.find(({ name }) => name === "Pick values").hidden === true"""
    assert comfy.page.evaluate(hidden, node)
    hands.turn(node, "kind", "camera")
    assert not comfy.page.evaluate(hidden, node)
    hands.press(node, "Pick values")
    comfy.page.click("dialog [data-value=zoom_in]")
    comfy.page.click("dialog [data-value=static]")
    comfy.page.click("dialog .primary")
    values = """(id) => app.graph.getNodeById(id).widgets.find(({ name }) => name === "values").value"""
    assert comfy.page.evaluate(values, node) == "zoom_in:12\nstatic"
    saved = comfy.page.evaluate("() => app.graph.serialize().nodes[0].widgets_values")
    assert saved == ["seed", "camera", "zoom_in:12\nstatic"]


def test_ten_thousand_cells_open_at_once(comfy: Comfy) -> None:
    """Only what is in view is an element; the panel answers while the list is as long as it may get."""
    many_cells(comfy.server.base / "output" / "svd_sweeps" / FOLDER, MANY)
    if comfy.page.evaluate("() => Boolean(document.querySelector('.svd-sweeps'))"):
        comfy.page.evaluate("(tab) => { app.extensionManager.command.execute(tab); }", TAB)
        comfy.page.wait("() => !document.querySelector('.svd-sweeps')", seconds=PATIENCE)
    opened = comfy.page.evaluate(_OPEN, [TAB, FOLDER])
    again = comfy.page.evaluate(_SCROLL)
    print({**opened, **again})
    assert again["end"] and again["most"] < 600
    assert opened["opened"] < 1000 and opened["cells"] < 30_000
    assert again["median"] < 100 and again["longest"] < 500
    comfy.page.evaluate("() => { document.querySelector('.svd-sweeps .grid').scrollTop = 0; }")
    wait_for_counts(comfy, "9,000 of 10,000 clips, 500 failed")
    comfy.page.wait("() => document.querySelector('.svd-sweeps .card[data-status]')?.dataset.status !== 'loading'")
    reach_by_keys(comfy)
    filter_and_cancel(comfy)
    assert not ours(comfy.page.problems())


def reach_by_keys(comfy: Comfy) -> None:
    """End, Home and arrows walk through the cells; Space picks."""
    comfy.page.evaluate("() => document.querySelector(\".svd-sweeps .card[tabindex='0']\").focus()")
    focused = "(position) => document.activeElement?.dataset.position === String(position)"
    for key, position in (("End", MANY - 1), ("Home", 0), ("ArrowRight", 1)):
        comfy.page.press(key)
        comfy.page.wait(focused, position, seconds=PATIENCE)
    comfy.page.wait("() => document.activeElement.dataset.status === 'done'", seconds=PATIENCE)
    comfy.page.press("Space")
    comfy.page.wait("() => document.activeElement.getAttribute('aria-selected') === 'true'", seconds=60)


def filter_and_cancel(comfy: Comfy) -> None:
    """Failed cells say why; sorting shows the least flicker first; what is left can be cancelled."""
    choose = """([label, value]) => {
      const list = document.querySelector(`.svd-sweeps select[aria-label="${label}"]`);
      list.value = value;
      list.dispatchEvent(new Event("change"));
    }"""
    comfy.page.evaluate(choose, ["Show", "failed"])
    reason = "() => document.querySelector('.card[data-status=failed] .reason')?.textContent.includes('found a text')"
    comfy.page.wait(reason, seconds=PATIENCE)
    comfy.page.wait(
        "() => document.querySelector('.grid').ariaRowCount * document.querySelector('.grid').ariaColCount < 510"
    )
    comfy.page.evaluate(choose, ["Show", ""])
    comfy.page.evaluate(choose, ["Sort", "flicker"])
    least = "() => document.querySelector('.card[data-position=\"0\"] .metric')?.textContent === 'flicker 0.000'"
    comfy.page.wait(least, seconds=PATIENCE)
    comfy.page.evaluate(choose, ["Sort", "index"])
    state = "() => document.querySelector('.svd-sweeps header .state').textContent"
    if comfy.page.evaluate(state) == "paused":
        comfy.page.click(".svd-sweeps [data-verb=cancel]")
    comfy.page.wait(f"() => ({state})() === 'cancelled'", seconds=PATIENCE)


def test_clock_rows_and_words(comfy: Comfy) -> None:
    """What needs no page: one clock for clips of several rates, an answer older than an event, labels."""
    told = comfy.page.evaluate(
        """async () => {
          const names = ["clock", "rows", "words"];
          const load = (name) => import(`/extensions/svd-studio/sweep_${name}.js`);
          const [{ timeline, frameAt }, { Rows }, { caption, duration, size }] = await Promise.all(names.map(load));
          const clips = [{ frames: 14, fps: 8 }, { frames: 42, fps: 24 }, { frames: 3, fps: 4 }];
          const time = timeline(clips);
          const shown = [0, 2, 3, 18, 41].map((tick) => clips.map((clip) => frameAt(tick, time, clip)));
          let answer;
          const rows = new Rows(() => new Promise((resolve) => (answer = resolve)), () => {});
          const fetched = rows.load(0);
          rows.put({ cell: "a", status: "done" });
          answer({ total: 2, cells: [{ cell: "a", status: "running" }, { cell: "b", status: "waiting" }] });
          await fetched;
          rows.put({ cell: "b", status: "running" });
          const words = [caption({ seed: "3", image: "hills" }), duration(90), duration(null), size(1234567)];
          return { time, shown, rows: [rows.at(0).status, rows.at(1).status, rows.total], words };
        }"""
    )
    assert told["time"] == {"rate": 24, "ticks": 42}
    assert told["shown"] == [[0, 0, 0], [0, 2, 0], [1, 3, 0], [6, 18, 2], [13, 41, 2]]
    assert told["rows"] == ["done", "running", 2]
    assert told["words"] == ["seed 3, hills", "about 2 min", "not known yet", "1.2 MB"]


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_text_stands_out(comfy: Comfy, palette: str) -> None:
    """Read in the host's dark and its light theme."""
    if not comfy.page.evaluate("() => Boolean(document.querySelector('.svd-sweeps .card'))"):
        many_cells(comfy.server.base / "output" / "svd_sweeps" / FOLDER, MANY)
        comfy.page.evaluate(_OPEN, [TAB, FOLDER])
    comfy.page.evaluate("(name) => app.extensionManager.setting.set('Comfy.ColorPalette', name)", palette)
    comfy.settle()
    try:
        for selector, least in (
            (".svd-sweeps h3", 4.5),
            (".svd-sweeps .counts", 3),
            (".svd-sweeps .card .name", 4.5),
            (".svd-sweeps select", 4.5),
        ):
            found = comfy.page.evaluate(_CONTRAST, selector)
            assert found >= least, f"{selector} in the {palette} theme: contrast {found:.1f}"
    finally:
        comfy.page.evaluate("() => app.extensionManager.setting.set('Comfy.ColorPalette', 'dark')")
