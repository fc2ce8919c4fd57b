"""What hands do on the graph: find a node by its name, turn its widgets, draw links. Each waits until it is done.

Both renderers are worked by pointer and keys alone; the page's objects are only asked where things are and what came
of it.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress

from tests.browser.browser import PageError
from tests.browser.comfy import PATIENCE, Comfy

# A gesture a busy page has missed is made again.
_TRIES, _SOON = 6, 8.0
_OFFERED = """(title) => [...document.querySelectorAll('[role="option"]')].some((option) =>
  option.textContent.includes(title) && option.getBoundingClientRect().height > 0)"""
_NEWEST = """([title, known]) => app.graph._nodes.map((node) => [Number(node.id), node.title])
  .filter(([id, shown]) => shown === title && !known.includes(id)).map(([id]) => id)[0] ?? null"""
_IDS = "() => app.graph._nodes.map(({ id }) => Number(id))"
_VALUE = """([id, name]) => {
  const { value, type } = app.graph.getNodeById(id).widgets.find((widget) => widget.name === name);
  return { value, type };
}"""
_LINKED = """([from, output, to, input]) => {
  const [source, target] = [from, to].map((id) => app.graph.getNodeById(id));
  const slot = target.inputs.findIndex((one) => one.name === input);
  const link = target.getInputLink?.(slot) ?? app.graph.links[target.inputs[slot].link];
  return Boolean(link) && Number(link.origin_id) === Number(from) && source.outputs[link.origin_slot].name === output;
}"""
# Middle of a widget the canvas draws, in CSS pixels.
_WIDGET = """([id, name]) => {
  const node = app.graph.getNodeById(id);
  const widget = node.widgets.find((one) => one.name === name);
  if (widget.y === undefined && widget.last_y === undefined) return null;
  const y = (widget.last_y ?? widget.y) + (widget.computedHeight ?? LiteGraph.NODE_WIDGET_HEIGHT) / 2;
  const [left, top] = app.canvas.ds.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + y]);
  const box = app.canvas.canvas.getBoundingClientRect();
  return [box.x + left, box.y + top];
}"""
_FIELD = """(selector) => {
  const field = [...document.querySelectorAll(selector)].find((one) => one.getBoundingClientRect().height > 0);
  if (!field) return null;
  const box = field.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""
_ENTRY = """(text) => {
  const entries = [...document.querySelectorAll('.litecontextmenu .litemenu-entry, [role="option"]')];
  const entry = entries.find((one) => one.textContent.trim() === text && one.getBoundingClientRect().height > 0);
  if (!entry) return null;
  const box = entry.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""
_PROMPT = "() => document.activeElement?.closest?.('.graphdialog') !== null && Boolean(document.activeElement)"


class Hands:
    """A pair of them on the page."""

    def __init__(self, comfy: Comfy) -> None:
        self.comfy = comfy
        self.page = comfy.page

    def add(self, title: str, x: float, y: float) -> int:
        """Double-click the canvas there, type the node's name, take it: its id."""
        known = self.page.evaluate(_IDS)
        self._open_search(x, y)
        self.page.type(title)
        self.page.wait(_OFFERED, title, seconds=PATIENCE)
        made = self._take_offered([title, known])
        # Newer front-ends let the new node hang on the pointer until a click.
        self.page.wait('() => !document.querySelector(\'[role="dialog"] [role="option"]\')', seconds=PATIENCE)
        self.page.mouse("move", x, y, steps=3)
        self.page.mouse("click", x, y)
        self.comfy.settle()
        return made

    def turn(self, node: int, name: str, value: str | float) -> None:
        """Give a widget a value as one does on the screen.

        Raises:
            AssertionError: it does not take it.
        """
        for _ in range(_TRIES):
            if self._has(node, name, value):
                return
            try:
                (self._turn_element if self.comfy.vue else self._turn_drawn)(node, name, value)
            except PageError:
                self.page.press("Escape")
            deadline = time.monotonic() + _SOON
            while not self._has(node, name, value) and time.monotonic() < deadline:
                self.comfy.settle()
        found = self.page.evaluate(_VALUE, [node, name])
        assert self._has(node, name, value), f"{name} of node {node} is {found}, not {value!r}"

    def link(self, source: int, output: str, target: int, name: str) -> None:
        """Draw a link from slot to slot.

        Raises:
            AssertionError: it does not hold.
        """
        wanted = [source, output, target, name]
        for _ in range(_TRIES):
            start, end = self.comfy.slot(source, output, output=True), self.comfy.slot(target, name, output=False)
            self.page.drag(start, end)
            deadline = time.monotonic() + _SOON
            while time.monotonic() < deadline:
                if self.page.evaluate(_LINKED, wanted):
                    return
                self.comfy.settle()
            # Let go over nothing a link opens a menu.
            self.page.press("Escape")
        raise AssertionError(f"no link {wanted} after {_TRIES} tries")

    def press(self, node: int, name: str) -> None:
        """A button on a node."""
        if self.comfy.vue:
            self.page.click(f'[data-node-id="{node}"] [data-widget-name="{name}"] button')
        else:
            self.page.mouse("click", *self._place(_WIDGET, [node, name]))

    def _open_search(self, x: float, y: float) -> None:
        """Double-click, a little lower if the first place was taken by a link."""
        for step in range(_TRIES):
            self.page.mouse("dblclick", x, y + 9 * step)
            with suppress(PageError):
                self.page.wait("() => document.activeElement?.tagName === 'INPUT'", seconds=_SOON)
                return
            self.page.press("Escape")
        raise AssertionError(f"no search opens at {x}, {y}")

    def _take_offered(self, wanted: list[object]) -> int:
        """Enter, again if the list was not ready for it."""
        for _ in range(_TRIES):
            self.comfy.settle()
            self.page.press("Enter")
            with suppress(PageError):
                return self.page.wait(_NEWEST, wanted, seconds=_SOON)
        raise AssertionError(f"{wanted[0]} was offered, but Enter did not take it")

    def _has(self, node: int, name: str, value: str | float) -> bool:
        found = self.page.evaluate(_VALUE, [node, name])["value"]
        return str(found) == str(value) or (isinstance(value, (int, float)) and found == value)

    def _place(self, code: str, argument: object) -> tuple[float, float]:
        x, y = self.page.wait(code, argument, seconds=20)
        return x, y

    def _turn_drawn(self, node: int, name: str, value: str | float) -> None:
        kind = self.page.evaluate(_VALUE, [node, name])["type"]
        self.page.mouse("click", *self._place(_WIDGET, [node, name]))
        if kind == "combo":
            self.page.mouse("click", *self._place(_ENTRY, value))
            return
        if kind == "customtext":
            self._write(str(value))
            return
        self.page.wait(_PROMPT, seconds=5)
        self._write(str(value))
        self.page.press("Enter")

    def _turn_element(self, node: int, name: str, value: str | float) -> None:
        inside = f'[data-node-id="{node}"] [data-widget-name={json.dumps(name)}]'
        if self.page.evaluate("(selector) => Boolean(document.querySelector(selector))", f"{inside} [role=combobox]"):
            self.page.mouse("click", *self._place(_FIELD, f"{inside} [role=combobox]"))
            self.page.mouse("click", *self._place(_ENTRY, value))
            return
        self.page.mouse("click", *self._place(_FIELD, f"{inside} input, {inside} textarea"))
        self._write(str(value))
        self.page.press("Tab")

    def _write(self, text: str) -> None:
        self.page.press("Control+A")
        self.page.type(text)
