"""A real ComfyUI in its own process and its own folders, spoken to as a browser does."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hosting import Host

ROOT = Path(__file__).resolve().parents[2]
Prompt = dict[str, dict[str, Any]]
# A pack on a busy machine: starting takes ten seconds when it is idle.
START_SECONDS, PROMPT_SECONDS = 240, 240
SHIPPED = ("__init__.py", "nodes", "svd_core", "web", "locales", "example_workflows")
SHIPPED += ("pyproject.toml", "requirements.txt", "node_list.json")


class PromptRefused(Exception):
    """The host found the graph invalid; `errors` is its answer by node id."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(json.dumps(answer)[:2000])
        self.errors: Mapping[str, Any] = answer["node_errors"]

    def details(self, node: str) -> str:
        """What the page shows at a node."""
        return " ".join(error["details"] for error in self.errors[node]["errors"])


class PromptFailed(Exception):
    """A node raised while the graph ran."""


@dataclass
class Done:
    """What became of a prompt."""

    outputs: dict[str, dict[str, Any]]
    cached: list[str] = field(default_factory=list)


@dataclass
class Server:
    """A running host."""

    url: str
    base: Path
    log: Path
    process: int = 0

    def get(self, path: str) -> Any:
        """JSON of a GET request."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def queue(self, prompt: Prompt) -> str:
        """Hand in a graph: its id.

        Raises:
            PromptRefused: it does not pass validation.
        """
        body = json.dumps({"prompt": prompt}).encode()
        request = urllib.request.Request(self.url + "/prompt", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["prompt_id"]
        except urllib.error.HTTPError as error:
            raise PromptRefused(json.load(error)) from None

    def run(self, prompt: Prompt) -> Done:
        """Run a graph to its end.

        Raises:
            PromptRefused: it does not pass validation.
            PromptFailed: a node raised; the text is the error's.
        """
        return self.wait(self.queue(prompt))

    def wait(self, name: str) -> Done:
        """What becomes of a graph that was handed in.

        Raises:
            PromptFailed: a node raised; the text is the error's.
        """
        deadline = time.monotonic() + PROMPT_SECONDS
        while name not in (history := self.get(f"/history/{name}")):
            assert time.monotonic() < deadline, f"no result after {PROMPT_SECONDS} s; log:\n{self.tail()}"
            time.sleep(0.1)
        entry = history[name]
        messages = dict(entry["status"]["messages"])
        if entry["status"]["status_str"] != "success":
            raise PromptFailed(messages.get("execution_error", messages).get("exception_message", str(messages)))
        return Done(entry["outputs"], list(messages.get("execution_cached", {}).get("nodes", [])))

    def resident(self) -> int:
        """Bytes of memory the host has in use, where the system tells it under /proc."""
        status = Path(f"/proc/{self.process}/status").read_text(encoding="utf-8").splitlines()
        (line,) = [line for line in status if line.startswith("VmRSS")]
        return 1024 * int(line.split()[1])

    def import_seconds(self) -> float:
        """How long the host says importing the pack took, to a tenth of a second."""
        (line,) = [line for line in self.tail(10**7).splitlines() if line.endswith("custom_nodes/svd-studio")]
        return float(line.split()[0])

    def files(self, done: Done, node: str) -> list[Path]:
        """The files an output node wrote."""
        listed = [entry for entries in done.outputs[node].values() for entry in entries if isinstance(entry, dict)]
        return [self.base / "output" / entry["subfolder"] / entry["filename"] for entry in listed]

    def tail(self, characters: int = 4000) -> str:
        """The end of the host's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-characters:]


def install_pack(folder: Path) -> None:
    """Copy what a user gets, and nothing of the tests, into a custom_nodes folder."""
    folder.mkdir(parents=True)
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, folder / name)


@contextmanager
def serving(host: Host, base: Path, *arguments: str) -> Iterator[Server]:
    """Start the host on `base`, wait until it answers, end it afterwards."""
    port = _free_port()
    command = [str(host.python), str(host.root / "main.py"), "--cpu", "--port", str(port), "--listen", "127.0.0.1"]
    command += ["--disable-auto-launch", "--disable-api-nodes", "--base-directory", str(base)]
    command += ["--database-url", "sqlite:///:memory:", *arguments]
    # Our root must not be importable there: the host has a top-level module `nodes` as well.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    server = Server(f"http://127.0.0.1:{port}", base, base / "host.log")
    with server.log.open("wb") as log:
        process = subprocess.Popen(command, cwd=host.root, env=environment, stdout=log, stderr=subprocess.STDOUT)
        server.process = process.pid
        try:
            _wait(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, f"the host ended with {process.returncode}:\n{server.tail()}"
        assert time.monotonic() < deadline, f"the host did not answer in {START_SECONDS} s:\n{server.tail()}"
        try:
            server.get("/system_stats")
        except OSError:
            time.sleep(0.25)
        else:
            return
