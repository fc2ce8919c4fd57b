"""Clips by a Ray cluster: one actor a GPU, or a CPU where there is none.

Workers hand the finished file back and only this process writes into the sweep's folder. So the machines need no common
disk for the clips, and a worker that was given up for dead and still runs cannot touch what another has made.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import InputError, SvdError, explain
from ..video_io.atomic import atomic_file, atomic_folder
from .jobs import Job, MakeRender, Outcome
from .rendering import outcome_of
from .waiting import TRIES, Waiting

LOCAL = "local"
_CONNECT = 5.0
_WORDS = 300
_REMEDY = "Start it with `ray start --head`, correct the address, or write --ray local for one on this machine."


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An outcome and the files of its clip: one under "", or the frames of a folder by name."""

    outcome: Outcome
    files: Mapping[str, bytes]


class RayExecutor:
    """Cells on the cluster at `address`; "local" starts one on this machine and ends it, no other is ever ended.

    Pictures, models and LoRAs must lie at the same paths on all machines of the cluster.
    """

    def __init__(self, address: str, make_render: MakeRender) -> None:
        self._ray = _import_ray()
        self._address = address
        self._make_render = make_render

    def run(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        """See `Executor.run`.

        Raises:
            InputError: no cluster at the address, or one without GPUs and CPUs.
            SvdError: no worker gets as far as its first cell.
        """
        with _connected(self._ray, self._address):
            gpus, count = _places(self._ray)
            yield from _Crew(self._ray, self._make_render, gpus).work(jobs, count)


class _Crew:
    """The actors of one run. A job is given to one that has answered, so none waits for a machine that never comes."""

    def __init__(self, ray: Any, make_render: MakeRender, gpus: bool) -> None:  # noqa: ANN401 - an optional package
        self._ray = ray
        resources = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        self._actor = ray.remote(**resources, max_restarts=0, runtime_env={"env_vars": _threads()})(_Worker)
        self._arguments = (make_render, "cuda" if gpus else "cpu")
        # What each reference under way stands for: an actor and its job, or None while it gets ready.
        self._pending: dict[Any, tuple[Any, Job | None]] = {}
        self._actors: set[Any] = set()
        self._unready = 0

    def work(self, jobs: Iterable[Job], count: int) -> Generator[Outcome, None, None]:
        source = iter(jobs)
        first = list(islice(source, count))
        waiting = Waiting(chain(first, source))
        upcoming = waiting.next()
        try:
            for _ in first:
                self._start()
            while upcoming is not None or any(job is not None for _, job in self._pending.values()):
                (reference,), _ = self._ray.wait(list(self._pending), num_returns=1)
                actor, job = self._pending.pop(reference)
                try:
                    made = self._ray.get(reference)
                except self._ray.exceptions.RayError as error:
                    self._died(actor, job, error)
                    failed = None if job is None else waiting.again(job, f"the Ray worker ended ({_line(error)})")
                    if failed is not None:
                        yield failed
                else:
                    self._unready = 0
                    if upcoming is not None:
                        self._pending[actor.make.remote(upcoming)] = (actor, upcoming)
                        upcoming = None
                    if made is not None and job is not None:
                        yield _kept(made, job)
                if upcoming is None:
                    upcoming = waiting.next()
        finally:
            for actor in list(self._actors):
                self._end(actor)

    def _start(self) -> None:
        actor = self._actor.remote(*self._arguments)
        self._actors.add(actor)
        self._pending[actor.ready.remote()] = (actor, None)

    def _died(self, actor: Any, job: Job | None, error: Exception) -> None:  # noqa: ANN401
        """Put another in its place, wherever the cluster has room."""
        self._end(actor)
        self._unready += job is None
        if self._unready > TRIES:
            found = f"one that ended: {_line(error)}"
            remedy = "Look into Ray's logs; svd-studio must be installed on every machine."
            raise SvdError(explain("a Ray worker that starts", found, remedy)) from error
        self._start()

    def _end(self, actor: Any) -> None:  # noqa: ANN401
        self._actors.discard(actor)
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor)


class _Worker:
    """Lives in a process of the cluster and keeps its model loaded between cells."""

    def __init__(self, make_render: MakeRender, device: str) -> None:
        self._render = make_render(device)

    def ready(self) -> None:
        """Answered once the process stands."""

    def make(self, job: Job) -> Made:
        """Render into a folder of this machine and hand over what came of it."""
        place = Path(tempfile.mkdtemp(prefix="svd-sweep-"))
        try:
            outcome = outcome_of(self._render, replace(job, target=place / job.target.name))
            clip = outcome.clip or place / job.target.name
            files = {} if outcome.error is not None else _bytes_of(clip)
            return Made(outcome=replace(outcome, job=job, clip=None), files=files)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _threads() -> dict[str, str]:
    """As many threads a worker as a process of this machine would have, where Ray gives one: sums are rounded by how
    they are split, and the same cell is to have the same bytes here and there. Waiting ones leave the cores alone."""
    import torch

    return {"OMP_NUM_THREADS": str(torch.get_num_threads()), "OMP_WAIT_POLICY": "PASSIVE"}


def _kept(made: Made, job: Job) -> Outcome:
    """Put the clip where the job wants it, whole or not at all.

    Raises:
        OutputError: the disk is full.
    """
    if made.outcome.error is not None:
        # A full disk over there is that machine's trouble and ends nothing here.
        return replace(made.outcome, halt=False)
    try:
        if "" in made.files:
            with atomic_file(job.target) as temporary:
                temporary.write_bytes(made.files[""])
        else:
            with atomic_folder(job.target) as temporary:
                for name, content in made.files.items():
                    (temporary / Path(name).name).write_bytes(content)
    except InputError as error:
        return replace(made.outcome, error=str(error))
    return made.outcome


def _bytes_of(clip: Path) -> dict[str, bytes]:
    if clip.is_dir():
        return {file.name: file.read_bytes() for file in clip.iterdir()}
    return {"": clip.read_bytes()}


def _import_ray() -> Any:  # noqa: ANN401 - an optional package without types here
    try:
        return import_module("ray")
    except ImportError as error:
        remedy = "Install it with `pip install -e .[ray]` in the pack's folder, or leave --ray away."
        raise InputError(explain("the optional package ray for --ray", "none installed", remedy)) from error


@contextmanager
def _connected(ray: Any, address: str) -> Generator[None, None, None]:  # noqa: ANN401
    """Joined to the cluster, and left again; one that was joined before stays so."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        # Nothing is reported to anybody from a cluster that we start.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet |= {"include_dashboard": False}
    else:
        _knock(address)
    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        remedy = f"{_REMEDY} Where it asks for a token, set RAY_AUTH_MODE=token."
        raise InputError(explain(f"a Ray cluster at {address}", _line(error), remedy)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself tries for minutes to reach a machine that is not there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        # "auto", and whatever else Ray understands.
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise InputError(explain(f"a Ray cluster at {address}", _line(error), _REMEDY)) from error


def _places(ray: Any) -> tuple[bool, int]:  # noqa: ANN401
    """Whether the cluster has GPUs, and how many workers fit on those or else on its CPUs."""
    resources: Mapping[str, float] = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if not gpus and not cpus:
        raise InputError(explain("a Ray cluster with GPUs or CPUs", "none of them", "Add a machine to it."))
    return bool(gpus), gpus or cpus


def _line(error: Exception) -> str:
    """One line of what is often a page: the last of a traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if any(line.startswith("Traceback") for line in lines) else 0][:_WORDS].rstrip(".")
