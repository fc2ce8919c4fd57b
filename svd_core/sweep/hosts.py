"""Clips by running ComfyUI servers: a few prompts waiting at each, results fetched as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from ..errors import InputError, OutputError, SvdError, explain
from ..video_io.atomic import atomic_folder
from .folder import CLIP_ENDINGS
from .graph import saving_node
from .host_api import Finished, HostApi, HostGone, SavedFile
from .jobs import Job, Outcome
from .plan import GraphTemplate
from .prompts import cell_prompt

# Enough that a host never idles between two cells, few enough that the queue stays the artist's.
_AHEAD = 3
_PAUSE = 0.5
# A host that is restarted comes back within this; what it had is queued anew.
_PATIENCE = 60.0


@dataclass(slots=True)
class _Sent:
    """A prompt at a host."""

    job: Job
    started: float


@dataclass(slots=True)
class _Host:
    api: HostApi
    sent: dict[str, _Sent] = field(default_factory=dict[str, _Sent])
    silent_since: float | None = None


class HostExecutor:
    """Cells of a `graph` plan on any number of hosts; `ahead` prompts wait at each.

    clock and sleep are for tests.
    """

    def __init__(
        self,
        urls: Sequence[str],
        template: GraphTemplate,
        *,
        ahead: int = _AHEAD,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hosts = [_Host(HostApi(url)) for url in urls]
        self._template = template
        self._saver = saving_node(template.prompt, template.bindings)
        self._ahead = ahead
        self._clock = clock
        self._sleep = sleep

    def run(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        """See `Executor.run`. Closing the iterator takes the prompts that still wait back.

        Raises:
            HostGone: no host has answered for a minute.
        """
        source, returned = iter(jobs), deque[Job]()
        more = True
        try:
            while more or returned or any(host.sent for host in self._hosts):
                for host in self._hosts:
                    try:
                        while len(host.sent) < self._ahead and (returned or more):
                            job = returned.popleft() if returned else next(source, None)
                            if job is None:
                                more = False
                                break
                            try:
                                yield from self._send(host, job)
                            except HostGone:
                                returned.appendleft(job)
                                raise
                        yield from self._collect(host, returned)
                        host.silent_since = None
                    except HostGone as error:
                        self._missed(host, returned, error)
                self._sleep(_PAUSE)
        finally:
            self._withdraw()

    def _send(self, host: _Host, job: Job) -> Iterator[Outcome]:
        told = {"svd_studio": {"cell": job.cell.key, "index": job.cell.index, "values": dict(job.cell.values)}}
        try:
            prompt_id = host.api.queue(cell_prompt(self._template, job.cell.values), told)
        except InputError as error:
            yield Outcome(job=job, seconds=0.0, error=str(error))
            return
        host.sent[prompt_id] = _Sent(job, self._clock())

    def _collect(self, host: _Host, returned: deque[Job]) -> Iterator[Outcome]:
        """Outcomes of the prompts that have ended; what a restarted host no longer knows is queued again."""
        waiting = host.api.queued() if host.sent else set[str]()
        for prompt_id, sent in list(host.sent.items()):
            ended = host.api.finished(prompt_id, self._saver)
            if ended is not None:
                outcome = self._outcome(host, sent, ended)
                del host.sent[prompt_id]
                yield outcome
            elif prompt_id not in waiting and host.api.finished(prompt_id) is None:
                # Neither waiting nor ended, asked twice because a prompt may end between two questions.
                del host.sent[prompt_id]
                returned.append(sent.job)

    def _outcome(self, host: _Host, sent: _Sent, ended: Finished) -> Outcome:
        seconds = self._clock() - sent.started
        if ended.status == "failed":
            return Outcome(job=sent.job, seconds=seconds, error=ended.error)
        clip = clip_of(ended.files)
        if not clip:
            found = "a prompt that saved none"
            remedy = "End the graph in Save Clip."
            return Outcome(job=sent.job, seconds=seconds, error=explain("a saved clip", found, remedy))
        name, subfolder, kind = clip[0]
        target = sent.job.target
        try:
            if len(clip) > 1:
                with atomic_folder(target) as temporary:
                    for frame, _, _ in clip:
                        host.api.fetch(frame, subfolder, kind, temporary / PurePosixPath(frame).name)
            else:
                # Which format the graph saves is known only now.
                target = target.with_name(target.name + PurePosixPath(name).suffix.lower())
                host.api.fetch(name, subfolder, kind, target)
        except (HostGone, OutputError):
            raise
        except SvdError as error:
            return Outcome(job=sent.job, seconds=seconds, error=str(error))
        return Outcome(job=sent.job, clip=target, seconds=seconds, settings={"host": host.api.url, "saved_as": name})

    def _missed(self, host: _Host, returned: deque[Job], error: HostGone) -> None:
        """A silent host's cells go to the others at once and it is asked again, until all have been silent too long."""
        now = self._clock()
        host.silent_since = host.silent_since or now
        returned.extend(sent.job for sent in host.sent.values())
        host.sent.clear()
        silences = [other.silent_since for other in self._hosts]
        if all(since is not None and now - since > _PATIENCE for since in silences):
            raise error

    def _withdraw(self) -> None:
        for host in self._hosts:
            if host.sent:
                with suppress(SvdError):
                    host.api.withdraw(list(host.sent))


def clip_of(files: Sequence[SavedFile]) -> list[SavedFile]:
    """The clip among the files a prompt saved: the first film, else the frames of the first folder of pictures."""
    kept = [file for file in files if file[2] == "output" and PurePosixPath(file[0]).suffix.lower() in CLIP_ENDINGS]
    films = [file for file in kept if not file[0].lower().endswith(".png")]
    return films[:1] or [file for file in kept if file[1:] == kept[0][1:]]
