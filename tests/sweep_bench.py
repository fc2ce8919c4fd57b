"""A feeder of sweeps and a host that queues, runs, fails, forgets and is interfered with like a real one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import torch

from svd_core.errors import InputError
from svd_core.sweep.feeder import MARK, Feeder
from svd_core.sweep.graph import graph_sweep
from svd_core.sweep.host_api import Finished, HostGone
from svd_core.sweep.index import Row
from svd_core.sweep.live import Sweep
from svd_core.sweep.state import GraphFacts, State, write_graph, write_state
from svd_core.types import Frames
from svd_core.video_io import write_clip
from tests.sweep_graphs import find, two_by


class Host:
    """Prompts in order; `step` runs the first: its saving node writes the clip unless told otherwise."""

    def __init__(self) -> None:
        self.prompts: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.waiting: list[str] = []
        self.running: str | None = None
        self.ended: dict[str, Finished] = {}
        self.most = 0
        self.gone = False
        self.sweeps: dict[str, Sweep] = {}

    def queue(self, prompt: dict[str, Any], told: dict[str, Any]) -> str:
        if self.gone:
            raise HostGone("no answer")
        if prompt["7"]["inputs"]["seed"] == 99:
            raise InputError("Expected a prompt; found 99. Correct it.")
        name = f"p{len(self.prompts)}"
        self.prompts[name] = (prompt, told)
        self.waiting.append(name)
        self.most = max(self.most, len(self.waiting) + (self.running is not None))
        return name

    def finished(self, prompt_id: str) -> Finished | None:
        return self.ended.get(prompt_id)

    def placed(self) -> tuple[set[str], set[str]]:
        return ({self.running} if self.running else set()), set(self.waiting)

    def withdraw(self, prompt_ids: list[str]) -> None:
        self.waiting = [name for name in self.waiting if name not in prompt_ids]

    def begin(self) -> str:
        self.running = self.waiting.pop(0)
        return self.running

    def end(self, outcome: Finished | None = None, save: bool = True) -> None:
        name, self.running = self.running, None
        assert name is not None
        if outcome is None:
            if save:
                self.save(name)
            outcome = Finished(status="done", seconds=1.5)
        self.ended[name] = outcome

    def step(self) -> None:
        self.begin()
        self.end()

    def mark(self, name: str) -> dict[str, str]:
        return self.prompts[name][0]["8"]["inputs"][MARK]

    def save(self, name: str) -> None:
        sweep = self.sweeps[self.mark(name)["sweep"]]
        save_clip(sweep, sweep.index.by_key[self.mark(name)["cell"]])


def save_clip(sweep: Sweep, row: Row) -> Path:
    """What Save Clip does."""
    target = sweep.target(row.cell, ".gif")
    write_clip(Frames(torch.full((2, 8, 8, 3), row.cell.index / 100), 8), target, {"cell": row.cell.key})
    sweep.finished(row, target, {"cell": row.cell.key})
    return target


class Bench:
    """A feeder whose sweeps were just begun."""

    def __init__(self, root: Path, seeds: int = 2, names: tuple[str, ...] = ("one",), text: str | None = None) -> None:
        self.host = Host()
        self.told: list[tuple[str, str | None]] = []
        self.measured: list[tuple[str, float | None]] = []
        self.feeder = Feeder(self.host, threading.RLock(), self.tell, self.measure)
        self.sweeps = [self.begin(root / name, seeds, text) for name in names]

    def begin(self, path: Path, seeds: int, text: str | None) -> Sweep:
        path.mkdir(exist_ok=True)
        prompt = two_by(seeds, name=path.name)
        if text:
            prompt["2"]["inputs"]["values"] = text
        planned = graph_sweep(prompt, "3", find, path)
        (path / "plan.json").write_text(json.dumps(planned.plan.document()), encoding="utf-8")
        workflow = {"nodes": [{"id": 5, "type": "SVDStudioSweepCell", "widgets_values": ["seed", 0]}]}
        write_graph(path, GraphFacts(cells=planned.cells, save=planned.save, plan_node="3", workflow=workflow))
        write_state(path, State())
        return self.open(path)

    def open(self, path: Path) -> Sweep:
        """As a server does it: after its start, or for the first time."""
        sweep = Sweep(path)
        sweep.take()
        self.host.sweeps[sweep.id] = sweep
        self.feeder.add(sweep)
        return sweep

    def tell(self, sweep: Sweep, row: Row | None) -> None:
        self.told.append((sweep.id, row and row.status))

    def measure(self, sweep: Sweep, row: Row, seconds: float | None) -> None:
        self.measured.append((row.cell.key, seconds))

    def run(self, most: int = 100) -> int:
        """Until nothing is left; the ticks it took."""
        for ticks in range(most):
            if not self.feeder.tick():
                return ticks
            if self.host.waiting:
                self.host.step()
        raise AssertionError(f"still at work after {most} ticks: {self.sweeps[0].index.counts}")
