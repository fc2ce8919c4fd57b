"""A chromium page as an object; `driver.mjs` is its other end.

What is needed, and is not part of the repository:

- node (18 or newer) and a chromium: Debian's packages `nodejs` and `chromium`, or `$SVD_STUDIO_CHROMIUM`;
- in `$SVD_STUDIO_BROWSER` (else `~/.cache/svd-studio-browser`): playwright-core, which drives it, and for the tests of
  the newest front-end that package unpacked.

        npm install --prefix ~/.cache/svd-studio-browser playwright-core
        python -m pip install --no-deps --target ~/.cache/svd-studio-browser/front-end-1.58.1 \\
            comfyui-frontend-package==1.58.1

Tests that miss one of these are skipped and say which.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("driver.mjs")


class PageError(Exception):
    """What the browser answered instead of a value."""


class Page:
    """The one page of a browser."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _ask(self, verb: str, **values: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"verb": verb} | values) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser ended"
        answer = json.loads(line)
        if "error" in answer:
            raise PageError(f"{verb} {str(values)[:300]}: {answer['error']}")
        return answer["value"]

    def open(self, url: str) -> None:
        """Go there and wait for the page to load."""
        self._ask("open", url=url)

    def evaluate(self, code: str, argument: object = None) -> Any:
        """Result of the JavaScript function `code` called with `argument` in the page; promises are awaited."""
        return self._ask("evaluate", code=code, argument=argument)

    def wait(self, code: str, argument: object = None, seconds: float = 60) -> Any:
        """The first true result of the function, asked again and again."""
        return self._ask("wait", code=code, argument=argument, seconds=seconds)

    def screenshot(self, path: Path, clip: tuple[float, float, float, float] | None = None) -> Path:
        """PNG of the page, or of `(x, y, width, height)` of it."""
        box = None if clip is None else dict(zip(("x", "y", "width", "height"), clip, strict=True))
        self._ask("screenshot", path=str(path), clip=box)
        return path

    def mouse(self, kind: str, x: float = 0, y: float = 0, **more: object) -> None:
        """`move`, `down`, `up`, `click`, `dblclick` or `wheel`."""
        self._ask("mouse", kind=kind, x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one point and let go at another, as a hand does it."""
        self.mouse("move", *start)
        self.mouse("down")
        self.mouse("move", (start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=4)
        self.mouse("move", *end, steps=6)
        self.mouse("up")

    def press(self, key: str) -> None:
        """A key, such as Enter."""
        self._ask("press", key=key)

    def type(self, text: str) -> None:
        """Keys, one after the other."""
        self._ask("type", text=text)

    def click(self, selector: str) -> None:
        """The first element that matches."""
        self._ask("click", selector=selector)

    def hover(self, selector: str) -> None:
        """Put the pointer on the first element that matches."""
        self._ask("hover", selector=selector)

    def problems(self) -> list[str]:
        """Errors of the page and its console since the last call."""
        return self._ask("problems")


@contextmanager
def browsing(width: int = 1600, height: int = 1000) -> Iterator[Page]:
    """A fresh browser with one empty page, closed afterwards; skips the test where something is missing."""
    command = [_node(), str(DRIVER), str(packages()), _chromium(), str(width), str(height)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        yield Page(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def packages() -> Path:
    """Where playwright-core is installed."""
    folder = Path(os.environ.get("SVD_STUDIO_BROWSER", "~/.cache/svd-studio-browser")).expanduser()
    if not (folder / "node_modules" / "playwright-core").is_dir():
        pytest.skip(f"no playwright-core in {folder}; see tests/browser/browser.py")
    return folder


def front_end(version: str) -> Path:
    """The page's files of a front-end version."""
    folder = packages() / f"front-end-{version}" / "comfyui_frontend_package" / "static"
    if not folder.is_dir():
        pytest.skip(f"no front-end {version} in {packages()}; see tests/browser/browser.py")
    return folder


def _node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("no node on the path")
    return found


def _chromium() -> str:
    names = [os.environ.get("SVD_STUDIO_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium on the path; set SVD_STUDIO_CHROMIUM")
    return found
