"""Sweeps by the page's own requests, against a running host."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from tests.host.graphs import node
from tests.host.server import PROMPT_SECONDS, Prompt, Server
from tests.sweep_graphs import axis, cell, plan_node


class Refused(Exception):
    """The server says no; its sentence, and the node it is about."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["error"])
        self.node = told["node"]


def graph(name: str, seeds: str, pictures: str = "photos/*.png", *, frames: int = 4, **changes: Any) -> Prompt:
    """Pictures by seeds through our nodes, as the page would send it."""
    prompt = {
        "load": node("SVDStudioLoadModel", model="random.safetensors", dtype="float32"),
        "pictures": axis("image", "images", pictures),
        "seeds": axis("seed", "seed", seeds, "pictures"),
        "plan": plan_node("seeds", name=name),
        "picture": cell("plan", "image"),
        "seed": cell("plan", "seed"),
        "condition": node(
            "SVDStudioImageConditioning",
            clip_vision=["load", 1],
            vae=["load", 2],
            image=["picture", 3],
            size="manual",
            width=64,
            height=64,
            framing="crop",
            frames=frames,
            fps=8,
            motion_bucket=100,
            augmentation=0.02,
            seed=3,
        ),
        "sample": node(
            "SVDStudioSampler",
            model=["load", 0],
            positive=["condition", 0],
            negative=["condition", 1],
            latent=["condition", 2],
            seed=["seed", 0],
            steps=2,
            cfg=1.0,
            solver="euler",
            schedule="karras",
        ),
        "decode": node(
            "SVDStudioDecode",
            vae=["load", 2],
            latent=["sample", 0],
            decode_chunk=8,
            overlap=4,
            tile=0,
            restore_shape=True,
        ),
        "save": node(
            "SVDStudioSaveClip",
            images=["decode", 0],
            fps=["condition", 3],
            filename="one/%stem%_%seed%",
            format="mp4",
        ),
    }
    for name, inputs in changes.items():
        prompt[name]["inputs"] |= inputs
    return prompt


def photos(base: Path, folder: str, count: int) -> None:
    """Pictures of one size that differ."""
    (base / "input" / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture = Image.linear_gradient("L").resize((80, 64)).convert("RGB")
        picture.paste((200, 40 * index, 30), (8 * index, 10, 30 + 8 * index, 40))
        picture.save(base / "input" / folder / f"photo{index + 1}.png")


class Client:
    """A page, as far as sweeps go."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.server.url}/svd_studio/sweeps{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)) from None

    def start(self, prompt: Prompt, **more: Any) -> dict[str, Any]:
        return self.ask("", {"prompt": prompt, "workflow": {}, "plan_node": "plan", **more})

    def detail(self, name: str) -> dict[str, Any]:
        return self.ask(f"/{quote(name)}")

    def act(self, name: str, verb: str) -> dict[str, Any]:
        return self.ask(f"/{quote(name)}/{verb}", {})

    def cells(self, name: str, query: str = "limit=100") -> list[dict[str, Any]]:
        return self.ask(f"/{quote(name)}/cells?{query}")["cells"]

    def until(self, name: str, *states: str, done: int = 0) -> dict[str, Any]:
        """Wait for a state, or for so many finished cells."""
        deadline = time.monotonic() + PROMPT_SECONDS
        while True:
            told = self.detail(name)
            if told["state"] in states or (done and told["counts"]["done"] >= done):
                return told
            assert time.monotonic() < deadline, f"{told}\n{self.server.tail()}"
            time.sleep(0.1)

    def folder(self, name: str) -> Path:
        return self.server.base / "output" / "svd_sweeps" / name

    def prompts(self, name: str) -> dict[str, dict[str, Any]]:
        """The host's history of a sweep, by cell."""
        history = self.server.get("/history").values()
        told = [(entry["prompt"][3].get("svd_studio", {}), entry) for entry in history]
        return {facts["cell"]: entry for facts, entry in told if facts.get("sweep") == name}
