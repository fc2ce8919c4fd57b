"""A server of sweeps with a host that renders in no time, in the place of ComfyUI."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from svd_core.camera.stack_text import parse_moves
from svd_core.errors import SvdError
from svd_core.sweep.feeder import MARK
from svd_core.sweep.host_api import Finished
from svd_core.sweep.service import Surroundings, Sweeps
from svd_core.types import Frames
from svd_core.video_io import write_clip
from tests.sweep_graphs import find, two_by


class Host:
    """Renders a prompt the moment it is asked about it, through the sweeps' own door for finished clips."""

    def __init__(self) -> None:
        self.sweeps: Sweeps | None = None
        self.waiting: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, Finished] = {}
        self.hold = threading.Event()
        self.hold.set()
        self.queued = 0

    def queue(self, prompt: Mapping[str, Any], told: Mapping[str, Any]) -> str:
        self.queued += 1
        name = f"p{self.queued}"
        self.waiting[name] = prompt["8"]["inputs"][MARK]
        return name

    def finished(self, prompt_id: str) -> Finished | None:
        mark = self.waiting.get(prompt_id)
        if mark is not None and self.hold.is_set():
            del self.waiting[prompt_id]
            assert self.sweeps is not None
            try:
                self.sweeps.save(mark["sweep"], mark["cell"], ".gif", write)
                self.ended[prompt_id] = Finished(status="done", seconds=0.25)
            except SvdError as error:
                self.ended[prompt_id] = Finished(status="failed", error=f"SVDStudioSaveClip: {error}")
        return self.ended.get(prompt_id)

    def placed(self) -> tuple[set[str], set[str]]:
        return set(), set(self.waiting)

    def withdraw(self, prompt_ids: list[str]) -> None:
        for name in prompt_ids:
            self.waiting.pop(name, None)


def write(path: Path, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """A clip of one frame that brightens."""
    shift = torch.arange(6)[:, None, None, None] * 0.02
    pixels = (torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1)) + shift).clamp(0, 1)
    write_clip(Frames(pixels, 8), path, told)  # type: ignore[arg-type]
    return told


class Server:
    """The sweeps below a folder, and everything that was told about them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = Host()
        self.events: list[Mapping[str, Any]] = []
        around = Surroundings(
            root=lambda: root,
            pictures=lambda: root,
            host=lambda: self.host,
            find=find,
            cameras=lambda text: parse_moves([text]),
            files=lambda word: [path for path in [root / "models" / word] if path.is_file()],
            tell=self.events.append,
        )
        self.sweeps = self.host.sweeps = Sweeps(around)

    def start(self, seeds: int = 2, **plan: Any) -> dict[str, Any]:
        """Queue two pictures by some seeds."""
        return self.sweeps.start(two_by(seeds, **plan), {}, "3", "page")

    def until(self, name: str, *states: str) -> dict[str, Any]:
        """What is told of a sweep once it is in one of these states and let go."""
        deadline = time.monotonic() + 60
        while (told := self.sweeps.detail(name))["state"] not in states or self.busy(name):
            assert time.monotonic() < deadline, told
            time.sleep(0.01)
        return told

    def busy(self, name: str) -> bool:
        """Whether the server works in the folder of a sweep."""
        # Without the lock it would be looked for while another thread puts it last.
        with self.sweeps._lock:  # pyright: ignore[reportPrivateUsage]
            opened = self.sweeps._open.get(name)  # pyright: ignore[reportPrivateUsage]
            return opened is not None and opened.held


def wait(ready: Callable[[], bool]) -> None:
    """Until it is so, a minute at the most."""
    deadline = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)
