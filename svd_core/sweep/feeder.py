"""A few prompts of all sweeps in the queue of one host, and what became of each: the sweep's record is the real queue.

The host is spoken to through its public API alone. What others do there has these outcomes. A prompt of ours that
somebody takes out of the queue waits again, and its sweep pauses: whoever clears a queue wants it empty. One that
somebody interrupts is failed, and its sweep pauses: stop means stop, and the cell is there for a retry. A sweep that is
paused or cancelled takes back what still waits at the host and lets what runs come to its end.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Protocol

from ..errors import InputError, SvdError, explain
from .graph import workflow_at
from .host_api import Finished, HostGone
from .index import Row
from .live import Sweep, out_of_reach
from .prompts import cell_prompt

# Enough that the host never idles between two cells, few enough that its queue stays the artist's.
AHEAD = 3
# A graph nothing comes out of is not tried ten thousand times.
_MOST_FAILURES = 20
# In a row: a share is away for a moment now and then.
_MOST_UNSEEN = 10
MARK = "sweep_cell"
"""The input of the saving node that says which cell its clip is; no node declares it, and only ours looks at it."""


class Host(Protocol):
    """As `HostApi`; every call may raise HostGone."""

    def queue(self, prompt: Mapping[str, Any], told: Mapping[str, Any]) -> str:
        """Hand in a prompt; InputError if the host refuses it."""
        ...

    def finished(self, prompt_id: str) -> Finished | None:
        """What became of it, None while it waits or runs."""
        ...

    def placed(self) -> tuple[set[str], set[str]]:
        """Prompts that run, and that wait."""
        ...

    def withdraw(self, prompt_ids: list[str]) -> None:
        """Take waiting prompts back."""
        ...


@dataclass(slots=True)
class _Sent:
    sweep: Sweep
    row: Row
    withdrawn: bool = False


Tell = Callable[[Sweep, Row | None], None]
"""Somebody should hear that a cell, or (None) the sweep itself, has changed."""


@dataclass(slots=True)
class Feeder:
    """The sweeps this server works on, oldest first, and their prompts at the host.

    `lock` is held while sweeps change and never while the host is asked. `measure` takes finished cells with the
    seconds they ran. `clients`: page by sweep, which the host tells about the prompts it runs.
    """

    host: Host
    lock: RLock
    tell: Tell
    measure: Callable[[Sweep, Row, float | None], None]
    sweeps: list[Sweep] = field(default_factory=list[Sweep])
    sent: dict[str, _Sent] = field(default_factory=dict[str, _Sent])
    clients: dict[str, str] = field(default_factory=dict[str, str])
    _failures: dict[str, int] = field(default_factory=dict[str, int])
    _unseen: dict[str, int] = field(default_factory=dict[str, int])

    def tick(self) -> bool:
        """Look after everything once; False when there is nothing left to look after.

        Raises:
            HostGone: no answer; the next call tries again.
        """
        with self.lock:
            for sweep in self.sweeps:
                self._look_for_folder(sweep)
        self._collect()
        self._withdraw()
        self._feed()
        with self.lock:
            for sweep in [sweep for sweep in self.sweeps if self._is_over(sweep)]:
                self.sweeps.remove(sweep)
                self._failures.pop(sweep.id, None)
                sweep.release()
                self.tell(sweep, None)
            return bool(self.sweeps)

    def add(self, sweep: Sweep) -> None:
        """Work on a sweep that has been taken."""
        if sweep not in self.sweeps:
            self.sweeps.append(sweep)
        self._failures.pop(sweep.id, None)
        self._unseen.pop(sweep.id, None)

    def pause_all(self, note: str) -> None:
        """Pause what runs and say why."""
        with self.lock:
            for sweep in self.sweeps:
                self._pause(sweep, note)

    def _look_for_folder(self, sweep: Sweep) -> None:
        """A sweep ends with its folder; one whose folder is out of reach for long pauses, and the others go on."""
        try:
            gone = sweep.gone
        except OSError as error:
            self._unseen[sweep.id] = self._unseen.get(sweep.id, 0) + 1
            if self._unseen[sweep.id] >= _MOST_UNSEEN:
                self._pause(sweep, str(out_of_reach(sweep.id, error)))
            return
        self._unseen.pop(sweep.id, None)
        if gone:
            sweep.wants("cancelled")

    def _is_over(self, sweep: Sweep) -> bool:
        if sweep.busy or any(sent.sweep is sweep for sent in self.sent.values()):
            return False
        return sweep.standing != "running"

    def _collect(self) -> None:
        unknown: list[str] = []
        for prompt_id, sent in list(self.sent.items()):
            ended = self.host.finished(prompt_id)
            if ended is None:
                unknown.append(prompt_id)
            else:
                self._settle(prompt_id, sent, ended)
        if not unknown:
            return
        running, waiting = self.host.placed()
        for prompt_id in unknown:
            sent = self.sent[prompt_id]
            if prompt_id in running or prompt_id in waiting:
                with self.lock:
                    status = "running" if prompt_id in running else "waiting"
                    if sent.row.status in ("waiting", "running") and sent.sweep.index.put(sent.row, status, prompt_id):
                        self.tell(sent.sweep, sent.row)
            # Asked twice, because a prompt may end between two questions.
            elif (ended := self.host.finished(prompt_id)) is not None:
                self._settle(prompt_id, sent, ended)
            else:
                self._vanished(prompt_id, sent)

    def _settle(self, prompt_id: str, sent: _Sent, ended: Finished) -> None:
        sweep, row = sent.sweep, sent.row
        with self.lock:
            del self.sent[prompt_id]
            sweep.index.refresh()
            blocked, row.blocked = row.blocked, None
            if row.status == "done":
                self._failures.pop(sweep.id, None)
                self.measure(sweep, row, ended.seconds)
                self.tell(sweep, row)
            elif blocked is not None:
                sweep.back(row)
                self._pause(sweep, blocked)
            else:
                error = ended.error or explain("a clip from Save Clip", "none", "Wire the frames to it.")
                self._failed(sweep, row, error, ended.seconds)
                if ended.interrupted:
                    self._pause(sweep, "A clip was interrupted. Resume goes on with the next, retry makes it again.")

    def _vanished(self, prompt_id: str, sent: _Sent) -> None:
        """Neither at the host nor in its history: withdrawn by us, or taken out by somebody."""
        sweep, row = sent.sweep, sent.row
        with self.lock:
            del self.sent[prompt_id]
            sweep.index.refresh()
            if row.status == "done":
                self.measure(sweep, row, None)
            else:
                sweep.back(row)
                if not sent.withdrawn:
                    self._pause(sweep, "Its clips were taken out of ComfyUI's queue. Resume puts them back.")
            self.tell(sweep, row)

    def _withdraw(self) -> None:
        with self.lock:
            unwanted = [
                (prompt_id, sent)
                for prompt_id, sent in self.sent.items()
                if sent.sweep.state.wish != "running" and sent.row.status != "running" and not sent.withdrawn
            ]
        if unwanted:
            self.host.withdraw([prompt_id for prompt_id, _ in unwanted])
            for _, sent in unwanted:
                sent.withdrawn = True

    def _feed(self) -> None:
        while len(self.sent) < AHEAD:
            with self.lock:
                chosen = next(((sweep, row) for sweep in self.sweeps if (row := sweep.next_waiting())), None)
            if chosen is None:
                return
            sweep, row = chosen
            try:
                prompt_id = self.host.queue(self._prompt(sweep, row), self._told(sweep, row))
            except InputError as error:
                with self.lock:
                    self._failed(sweep, row, str(error), None)
                continue
            except HostGone:
                with self.lock:
                    sweep.back(row)
                raise
            with self.lock:
                self.sent[prompt_id] = _Sent(sweep, row)
                if row.status == "waiting":
                    sweep.index.put(row, "waiting", prompt_id)
                    self.tell(sweep, row)

    def _prompt(self, sweep: Sweep, row: Row) -> dict[str, Any]:
        prompt = cell_prompt(sweep.template, row.cell.values)
        save = sweep.graph.save
        if save in prompt:
            # Told anew in every attempt, so that the host's cache never takes an old clip for this one.
            mark = {"sweep": sweep.id, "cell": row.cell.key, "attempt": uuid.uuid4().hex[:8]}
            prompt[save] = {**prompt[save], "inputs": {**prompt[save]["inputs"], MARK: mark}}
        return prompt

    def _told(self, sweep: Sweep, row: Row) -> dict[str, Any]:
        cell = row.cell
        facts = {"sweep": sweep.id, "cell": cell.key, "index": cell.index, "values": dict(cell.values)}
        told: dict[str, Any] = {"svd_studio": facts}
        if sweep.id in self.clients:
            told["client_id"] = self.clients[sweep.id]
        if sweep.graph.workflow:
            workflow = workflow_at(sweep.graph.workflow, sweep.graph.cells, cell.index)
            told["extra_pnginfo"] = {"workflow": workflow}
        return told

    def _failed(self, sweep: Sweep, row: Row, error: str, seconds: float | None) -> None:
        try:
            sweep.failed(row, error, seconds)
        except SvdError as unwritten:
            sweep.back(row)
            self._pause(sweep, str(unwritten))
            return
        self.tell(sweep, row)
        self._failures[sweep.id] = self._failures.get(sweep.id, 0) + 1
        if self._failures[sweep.id] >= _MOST_FAILURES and sweep.index.counts["waiting"]:
            self._failures.pop(sweep.id)
            self._pause(sweep, f"{_MOST_FAILURES} clips failed one after the other, the last with: {error}")

    def _pause(self, sweep: Sweep, note: str) -> None:
        if sweep.state.wish == "running":
            sweep.wants("paused", note)
            self.tell(sweep, None)
