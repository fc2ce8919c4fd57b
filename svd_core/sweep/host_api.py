"""A running ComfyUI through its public API: queue a prompt, ask what became of it, fetch what it saved."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import InputError, SvdError, explain
from ..video_io.atomic import atomic_file

_TIMEOUT = 30.0
_BLOCK = 2**20
_WORDS = 500
_PLACES = ("running", "pending")
_BROKEN = (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException)


SavedFile = tuple[str, str, str]
"""Name, subfolder and kind ("output", "temp", ...) of a file at the host."""


class HostGone(SvdError):
    """A host does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of a prompt: the files it saved, or the error it ended with.

    `seconds` it ran, where the host tells; `interrupted`: somebody stopped it.
    """

    status: Literal["done", "failed"]
    files: tuple[SavedFile, ...] = ()
    error: str | None = None
    seconds: float | None = None
    interrupted: bool = False


class HostApi:
    """One server, addressed like `http://127.0.0.1:8188`; `opener` is for one that needs its own way there."""

    def __init__(self, url: str, opener: urllib.request.OpenerDirector | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            remedy = "Write for example http://127.0.0.1:8188."
            raise InputError(explain("the address of a running ComfyUI", repr(url), remedy))
        self.url = url.rstrip("/")
        self._open = urllib.request.urlopen if opener is None else opener.open

    def queue(self, prompt: Mapping[str, Any], told: Mapping[str, Any]) -> str:
        """Queue a prompt; `told` goes into its history. Returns its id.

        Raises:
            InputError: the host refuses the prompt, with its reasons.
            HostGone: no answer.
        """
        body = json.dumps({"prompt": prompt, "extra_data": dict(told)}, default=str).encode()
        request = urllib.request.Request(
            f"{self.url}/prompt", body, {"Content-Type": "application/json"}, method="POST"
        )
        try:
            answer = self._json(request)
        except urllib.error.HTTPError as error:
            raise InputError(_refusal(error.read())) from error
        prompt_id = answer.get("prompt_id")
        if not isinstance(prompt_id, str):
            raise self._gone(f"an answer without a prompt id: {str(answer)[:80]}")
        return prompt_id

    def finished(self, prompt_id: str, saver: str | None = None) -> Finished | None:
        """What became of a prompt, None while it waits or runs; the files are those of `saver`, where it saved any.

        Raises:
            HostGone: no answer.
        """
        entry = self._get(f"/history/{prompt_id}").get(prompt_id)
        if not isinstance(entry, dict):
            return None
        told = cast("dict[str, Any]", entry)
        status = cast("dict[str, Any]", told.get("status") or {})
        messages = cast("list[Any]", status.get("messages") or [])
        seconds = _seconds(messages)
        if status.get("status_str") == "success":
            outputs = cast("dict[str, Any]", told.get("outputs") or {})
            files = tuple(_files({saver: outputs[saver]} if saver in outputs else outputs))
            return Finished(status="done", files=files, seconds=seconds)
        interrupted = any(message[:1] == ["execution_interrupted"] for message in messages)
        return Finished(status="failed", error=_error(messages), seconds=seconds, interrupted=interrupted)

    def queued(self) -> set[str]:
        """Ids of the prompts that wait or run.

        Raises:
            HostGone: no answer.
        """
        running, waiting = self.placed()
        return running | waiting

    def placed(self) -> tuple[set[str], set[str]]:
        """Ids of the prompts that run, and of those that wait.

        Raises:
            HostGone: no answer.
        """
        answer = self._get("/queue")
        running, waiting = ({str(entry[1]) for entry in answer.get(f"queue_{kind}", [])} for kind in _PLACES)
        return running, waiting

    def withdraw(self, prompt_ids: list[str]) -> None:
        """Take prompts that still wait out of the queue; one that runs goes on.

        Raises:
            HostGone: no answer.
        """
        body = json.dumps({"delete": prompt_ids}).encode()
        request = urllib.request.Request(f"{self.url}/queue", body, {"Content-Type": "application/json"}, method="POST")
        self._read(request)

    def fetch(self, name: str, subfolder: str, kind: str, target: Path) -> None:
        """Download a saved file, whole or not at all.

        Raises:
            HostGone: no answer, or an end in the middle.
            InputError, OutputError: the target cannot be written.
        """
        query = urllib.parse.urlencode({"filename": name, "subfolder": subfolder, "type": kind})
        with atomic_file(target) as temporary, temporary.open("wb") as stream:
            try:
                with self._open(f"{self.url}/view?{query}", timeout=_TIMEOUT) as answer:
                    while block := answer.read(_BLOCK):
                        stream.write(block)
                    if answer.length:
                        raise self._gone("an end in the middle of a file")
            except urllib.error.HTTPError as error:
                remedy = "Run the cell again."
                raise SvdError(explain(f"{name} from {self.url}", str(error), remedy)) from error
            except _BROKEN as error:
                raise self._gone(str(error)) from error

    def _get(self, path: str) -> dict[str, Any]:
        try:
            return self._json(urllib.request.Request(self.url + path))
        except urllib.error.HTTPError as error:
            raise self._gone(str(error)) from error

    def _json(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            tree = json.loads(self._read(request))
        except ValueError as error:
            raise self._gone("an answer that is no JSON") from error
        return cast("dict[str, Any]", tree) if isinstance(tree, dict) else {}

    def _read(self, request: urllib.request.Request) -> bytes:
        try:
            with self._open(request, timeout=_TIMEOUT) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise self._gone(str(error)) from error

    def _gone(self, found: str) -> HostGone:
        return HostGone(explain(f"a running ComfyUI at {self.url}", found, "Start it, or correct the address."))


def _files(outputs: Mapping[str, Any]) -> Iterator[SavedFile]:
    """Every saved file in a history's outputs, whatever the nodes call their lists."""
    for node in outputs.values():
        for entries in cast("Mapping[str, Any]", node).values():
            for entry in cast("list[Any]", entries) if isinstance(entries, list) else []:
                if isinstance(entry, dict) and isinstance(entry.get("filename"), str):  # pyright: ignore[reportUnknownMemberType]
                    told = cast("dict[str, str]", entry)
                    yield told["filename"], told.get("subfolder", ""), told.get("type", "output")


def _seconds(messages: list[Any]) -> float | None:
    """Between the first and the last message; None where the clock was set back in between."""
    stamps = [message[1].get("timestamp") for message in messages if len(message) > 1 and isinstance(message[1], dict)]
    known = [stamp for stamp in stamps if isinstance(stamp, int | float)]
    return (known[-1] - known[0]) / 1000 if len(known) > 1 and known[-1] >= known[0] else None


def _error(messages: list[Any]) -> str:
    for message in messages:
        if isinstance(message, list) and message and message[0] in ("execution_error", "execution_interrupted"):
            told = cast("dict[str, Any]", message[1])
            if message[0] == "execution_interrupted":
                return "It was interrupted on the host."
            return f"{told.get('node_type', 'a node')}: {told.get('exception_message', 'failed')}"[:_WORDS].strip()
    return "The host says that it failed, and not why."


def _refusal(body: bytes) -> str:
    """The host's own words about a prompt it does not take."""
    try:
        told = cast("dict[str, Any]", json.loads(body))
    except ValueError:
        told = {}
    reasons = [str(cast("dict[str, Any]", told.get("error") or {}).get("message", "no reason"))]
    for node in cast("dict[str, Any]", told.get("node_errors") or {}).values():
        for error in node.get("errors", []):
            reasons.append(f"{node.get('class_type')}: {error.get('message')} {error.get('details')}")
    found = "; ".join(reasons)[:_WORDS]
    return explain("a prompt the host can run", found, "Correct the graph or the axis.")
