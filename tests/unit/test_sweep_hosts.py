"""Plans made by running hosts: a stand-in server that queues, runs, fails, restarts and vanishes like a real one."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from svd_core.errors import InputError
from svd_core.sweep.host_api import HostApi, HostGone
from svd_core.sweep.hosts import HostExecutor, clip_of
from svd_core.sweep.manifest import Manifest
from svd_core.sweep.plan import GraphTemplate, Plan, parse_plan
from svd_core.sweep.prompts import cell_prompt
from svd_core.sweep.run import run_plan
from svd_core.sweep.state import STATE, State, write_state
from tests.command_line import assert_refused, run_here

PROMPT = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
    "3": {"class_type": "KSampler", "inputs": {"seed": 0, "cfg": 2.5, "model": ["4", 0]}},
}


def plan(count: int = 4) -> Plan:
    bindings = {"seed": ["3", "seed"], "image": [["1", "image"]]}
    return parse_plan(
        {
            "version": 1,
            "name": "graph",
            "template": {"kind": "graph", "prompt": PROMPT, "bindings": bindings},
            "axes": [{"name": "image", "values": ["a.png", "b.png"]}, {"name": "seed", "count": count}],
        },
        Path(),
    )


class StandIn:
    """A host whose prompts end one at every look at the queue."""

    def __init__(self) -> None:
        self.prompts: dict[str, dict[str, Any]] = {}
        self.waiting: list[str] = []
        self.ended: dict[str, dict[str, Any]] = {}
        self.most_waiting = 0
        self.answers = True
        self.forget_after: int | None = None
        self.withdrawn: list[str] = []

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/queue":
            self.withdrawn += body["delete"]
            return 200, {}
        prompt = body["prompt"]
        if prompt["3"]["inputs"]["seed"] == 99:
            errors = {"3": {"class_type": "KSampler", "errors": [{"message": "Value 99", "details": "seed"}]}}
            return 400, {"error": {"message": "Prompt outputs failed validation"}, "node_errors": errors}
        prompt_id = f"p{len(self.prompts)}"
        self.prompts[prompt_id] = body
        self.waiting.append(prompt_id)
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        return 200, {"prompt_id": prompt_id, "number": len(self.prompts), "node_errors": {}}

    def get(self, path: str) -> tuple[int, Any]:
        parts = urlsplit(path)
        if parts.path == "/queue":
            answer = {"queue_running": [[0, prompt, {}] for prompt in self.waiting[:1]]}
            answer["queue_pending"] = [[1, prompt, {}] for prompt in self.waiting[1:]]
            if self.forget_after is not None and len(self.ended) >= self.forget_after:
                self.waiting.clear()
                self.forget_after = None
            elif self.waiting:
                self.end(self.waiting.pop(0))
            return 200, answer
        if parts.path.startswith("/history/"):
            prompt_id = parts.path.rpartition("/")[2]
            return 200, {prompt_id: self.ended[prompt_id]} if prompt_id in self.ended else {}
        query = parse_qs(parts.query)
        held = io.BytesIO()
        Image.new("RGB", (8, 8), (int(query["filename"][0].split("_")[1].split(".")[0]), 0, 0)).save(held, "GIF")
        return 200, held.getvalue()

    def end(self, prompt_id: str) -> None:
        seed = self.prompts[prompt_id]["prompt"]["3"]["inputs"]["seed"]
        if self.prompts[prompt_id]["prompt"]["1"]["inputs"]["image"] == "b.png" and seed == 1:
            told = {"node_type": "LoadImage", "exception_message": "cannot identify image file\n"}
            status = {"status_str": "error", "messages": [["execution_start", {}], ["execution_error", told]]}
            self.ended[prompt_id] = {"status": status, "outputs": {}}
            return
        files = [{"filename": f"s_{seed}.gif", "subfolder": "x", "type": "output"}]
        preview = [{"filename": "p.png", "subfolder": "", "type": "temp"}]
        other = [{"filename": "other_7.gif", "subfolder": "", "type": "output"}]
        outputs = {"8": {"images": preview}, "9": {"images": files, "animated": [True]}}
        if "7" in self.prompts[prompt_id]["prompt"]:
            outputs = {"7": {"images": other, "animated": [True]}, **outputs}
        self.ended[prompt_id] = {"status": {"status_str": "success", "messages": []}, "outputs": outputs}


@contextmanager
def serving(host: StandIn) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self, found: tuple[int, Any]) -> None:
            code, tree = found
            body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if host.answers:
                self.answer(host.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if host.answers:
                self.answer(host.post(self.path, body))

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def executor(*urls: str) -> HostExecutor:
    template = plan().template
    assert isinstance(template, GraphTemplate)
    now = iter(range(0, 10**6, 7))
    return HostExecutor(urls, template, clock=lambda: float(next(now)), sleep=lambda _: None)


def test_values_become_literals_and_nothing_else_changes() -> None:
    template = plan().template
    assert isinstance(template, GraphTemplate)
    made = cell_prompt(template, {"seed": 7, "image": "b.png"})
    assert made["3"]["inputs"] == {"seed": 7, "cfg": 2.5, "model": ["4", 0]}
    assert made["1"]["inputs"] == {"image": "b.png"}
    assert PROMPT["3"]["inputs"]["seed"] == 0  # type: ignore[index]


def test_a_plan_on_a_host(tmp_path: Path) -> None:
    host = StandIn()
    with serving(host) as url:
        progress = run_plan(plan(), tmp_path, executor(url), resume=True)
        assert (progress.made, progress.failed) == (7, 1)
        assert host.most_waiting <= 3
        assert sorted(path.name for path in (tmp_path / "cells").glob("*.gif"))[0] == "a_seed0.gif"
        failed = [record for record in Manifest(tmp_path / "manifest.jsonl").records() if record.status == "failed"]
        assert "LoadImage: cannot identify image file" in str(failed[0].error)
        assert [body["extra_data"]["svd_studio"]["index"] for body in host.prompts.values()] == list(range(8))
        # Again: only the failed cell is asked for.
        before = len(host.prompts)
        run_plan(plan(), tmp_path, executor(url), resume=True)
        assert len(host.prompts) == before + 1


def test_a_folder_a_server_began_is_left_to_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, host = tmp_path / "out", StandIn()
    with serving(host) as url:
        run_plan(plan(1), out, executor(url))
        write_state(out, State())
        before = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
        words = ("sweep", out / "plan.json", "--out", out, "--resume", "--host", url)
        assert_refused(run_here(capsys, *words), "begun by a ComfyUI server", "Resume it in the Sweeps tab")
        assert before == {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
        (out / STATE).unlink()
        assert "0 made, 2 kept" in run_here(capsys, *words).out
        assert len(host.prompts) == 2, "nothing was asked for again"


def test_of_two_clips_the_one_that_depends_on_the_cell_is_taken(tmp_path: Path) -> None:
    saves = {
        "7": {"class_type": "SVDStudioSaveClip", "inputs": {}},
        "9": {"class_type": "SVDStudioSaveClip", "inputs": {"images": ["3", 0]}},
    }
    tree = plan(1).document()
    two = parse_plan({**tree, "template": {**tree["template"], "prompt": {**PROMPT, **saves}}}, Path())
    assert isinstance(two.template, GraphTemplate)
    with serving(StandIn()) as url:
        run_plan(two, tmp_path, HostExecutor([url], two.template, sleep=lambda _: None), resume=True)
    beside = [json.loads(path.read_text()) for path in (tmp_path / "cells").glob("*.json")]
    assert [told["settings"]["saved_as"] for told in beside] == ["s_0.gif"] * 2


def test_a_prompt_the_host_refuses_is_one_failed_cell(tmp_path: Path) -> None:
    with serving(StandIn()) as url:
        progress = run_plan(plan(100), tmp_path, executor(url), resume=True)
    assert progress.made + progress.failed == 200
    errors = [str(record.error) for record in Manifest(tmp_path / "manifest.jsonl").records() if record.error]
    assert sum("KSampler: Value 99 seed" in error for error in errors) == 2


def test_a_restarted_host_gets_its_cells_again(tmp_path: Path) -> None:
    host = StandIn()
    host.forget_after = 2
    with serving(host) as url:
        progress = run_plan(plan(), tmp_path, executor(url), resume=True)
    assert progress.made == 7 and len(host.prompts) > 8


def test_a_dead_host_leaves_its_cells_to_the_others(tmp_path: Path) -> None:
    with serving(StandIn()) as alive:
        progress = run_plan(plan(), tmp_path, executor("http://127.0.0.1:9", alive), resume=True)
    assert progress.made == 7
    with pytest.raises(HostGone, match=r"127\.0\.0\.1:9"):
        run_plan(plan(), tmp_path / "two", executor("http://127.0.0.1:9"))


def test_stopping_takes_waiting_prompts_back(tmp_path: Path) -> None:
    host = StandIn()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with serving(host) as url, pytest.raises(KeyboardInterrupt):
        run_plan(plan(), tmp_path, executor(url), resume=True, on_record=stop)
    assert host.withdrawn


@pytest.mark.parametrize("url", ["", "localhost:8188", "ftp://host", "http://"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InputError, match="http"):
        HostApi(url)


def test_the_clip_among_all_that_a_prompt_saves() -> None:
    latent, film = ("x.latent", "latents", "output"), ("x.webm", "clips", "output")
    frames = [(f"{number}.png", "clips/x_", "output") for number in range(3)]
    other, preview = ("y.png", "stills", "output"), ("p.gif", "", "temp")
    assert clip_of([preview, latent, other, film, *frames]) == [film]
    assert clip_of([preview, latent, *frames, other]) == frames
    assert clip_of([preview, latent]) == []


def test_frames_are_fetched_as_a_folder(tmp_path: Path) -> None:
    host = StandIn()

    def end(prompt_id: str) -> None:
        frames = [{"filename": f"s_{number}.png", "subfolder": "x", "type": "output"} for number in range(3)]
        host.ended[prompt_id] = {"status": {"status_str": "success", "messages": []}, "outputs": {"9": {"i": frames}}}

    host.end = end  # type: ignore[method-assign]
    with serving(host) as url:
        assert run_plan(plan(1), tmp_path, executor(url), resume=True).made == 2
    assert sorted(path.name for path in (tmp_path / "cells/a").iterdir()) == ["s_0.png", "s_1.png", "s_2.png"]
    assert run_plan(plan(1), tmp_path, executor("http://127.0.0.1:9"), resume=True).kept == 2
