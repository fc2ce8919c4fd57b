"""Sweeps in the real host: one prompt a cell, encoded once a picture, on record, and never in an artist's way."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any
from urllib.parse import quote

import pytest
import torch

from svd_core.cli.main import main
from svd_core.sweep.manifest import Manifest
from svd_core.video_io import read_clip, read_metadata
from tests.host.graphs import node
from tests.host.server import Server
from tests.host.sweeping import Client, Refused, graph, photos
from tests.sweep_graphs import axis, cell


@pytest.fixture(scope="module")
def page(server: Server) -> Client:
    photos(server.base, "photos", 2)
    return Client(server)


def ran(entry: dict[str, Any], node: str) -> bool:
    """Whether a node was executed in a prompt, and not taken from the cache."""
    cached = dict(entry["status"]["messages"])["execution_cached"]["nodes"]
    return node in entry["prompt"][2] and node not in cached


def test_two_pictures_by_six_seeds_are_encoded_twice(page: Client) -> None:
    prompt = graph("encode twice", "6 from 0")
    told = page.ask("/estimate", {"prompt": prompt, "plan_node": "plan"})
    assert told["cells"] == 12 and not told["exists"]
    assert told["axes"][0] == {"name": "image", "labels": ["photo1", "photo2"]}
    page.start(prompt)
    last = page.until("encode twice", "finished")
    assert last["counts"] == {"waiting": 0, "running": 0, "done": 12, "failed": 0}
    entries = page.prompts("encode twice")
    assert len(entries) == 12, "one prompt a cell"
    assert sum(ran(entry, "condition") for entry in entries.values()) == 2
    assert sum(ran(entry, "load") for entry in entries.values()) <= 1
    assert sum(ran(entry, "sample") for entry in entries.values()) == 12
    assert set(entries) == {row["cell"] for row in page.cells("encode twice")}


def test_a_finished_cell_has_a_clip_a_record_numbers_and_pictures(page: Client) -> None:
    page.start(graph("looked at", "2 from 5", "photos/photo1.png"))
    page.until("looked at", "finished")
    wait_for_numbers(page, "looked at")
    first, second = page.cells("looked at")
    assert (first["name"], second["name"]) == ("sweep_seed5", "sweep_seed6") or first["name"].startswith("photo1_seed5")
    folder = page.folder("looked at")
    record = Manifest(folder / "manifest.jsonl").latest()[first["cell"]]
    clip = folder / str(record.file)
    inside = read_metadata(clip)
    assert inside["cell"] == first["cell"] and inside["axes"] == {"image": "photos/photo1.png", "seed": 5}
    sidecar = json.loads(clip.with_suffix(".json").read_text(encoding="utf-8"))
    assert sidecar["settings"]["width"] == 64 and sidecar["sha256"] == record.sha256
    assert first["seconds"] > 0 and {"motion", "flicker", "colour_drift", "sharpness"} <= set(first["metrics"])
    assert first["values"] == {"image": "photo1", "seed": "5"}
    for address, kind in (
        (first["clip"], "video/mp4"),
        (first["thumbnail"], "image/webp"),
        # Where the link of a sheet that was asked for here leads.
        (f"/svd_studio/sweeps/looked%20at/{quote(str(record.file))}", "video/mp4"),
        ("/svd_studio/sweeps/looked%20at/sheet.png", "image/png"),
        ("/svd_studio/sweeps/looked%20at/sheet.html", "text/html"),
    ):
        with urllib.request.urlopen(page.server.url + address, timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith(kind) and len(answer.read()) > 500
    assert page.ask("/looked%20at/star", {"cell": second["cell"], "starred": True}) == {"stars": [second["cell"]]}
    assert [row["cell"] for row in page.cells("looked at", "sort=starred")] == [second["cell"], first["cell"]]
    values = page.ask(f"/looked%20at/cells/{second['cell']}/values")
    assert values["index"] == 1
    assert {(one["node"], one["input"], one["value"]) for one in values["nodes"]} == {
        ("picture", "cell", 1),
        ("seed", "cell", 1),
    }


def wait_for_numbers(page: Client, name: str) -> None:
    deadline = time.monotonic() + 60
    while any(not row["metrics"] for row in page.cells(name, "status=done&limit=100")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_one_corrupt_picture_costs_one_cell(page: Client) -> None:
    base = page.server.base
    photos(base, "album", 4)
    whole = (base / "input" / "album" / "photo3.png").read_bytes()
    (base / "input" / "album" / "photo3.png").write_bytes(whole[:60])
    page.start(graph("corrupt", "1 from 1", "album"))
    assert page.until("corrupt", "finished")["counts"] == {"waiting": 0, "running": 0, "done": 3, "failed": 1}
    rows = page.cells("corrupt")
    assert [row["name"] for row in rows] == ["photo1", "photo2", "photo3", "photo4"]
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert failed["name"] == "photo3" and "complete picture" in failed["error"]
    names = sorted(path.name for path in (page.folder("corrupt") / "cells").glob("*.mp4"))
    assert names == ["photo1.mp4", "photo2.mp4", "photo4.mp4"]
    # Mended: what is missing is made and nothing else. The picture is another one, so another cell; keys are read anew
    # once the server has let the folder go.
    wait_for_numbers(page, "corrupt")
    time.sleep(2)
    (base / "input" / "album" / "photo3.png").write_bytes(whole)
    page.act("corrupt", "retry")
    assert page.until("corrupt", "finished")["counts"] == {"waiting": 0, "running": 0, "done": 4, "failed": 0}
    mended = page.cells("corrupt")[2]
    assert mended["cell"] != failed["cell"] and mended["name"] == "photo3"


def test_button_ordinary_queue_and_command_line_make_equal_frames(page: Client, tmp_path: Any) -> None:
    prompt = graph("equal", "2 from 40", save={"format": "webp", "quality": "best"})
    page.start(prompt)
    page.until("equal", "finished")
    by_button = {
        row["index"]: read_clip(page.folder("equal") / "cells" / f"{row['name']}.webp").pixels
        for row in page.cells("equal")
    }
    prompt["picture"]["inputs"]["cell"] = prompt["seed"]["inputs"]["cell"] = 2
    (one,) = page.server.files(page.server.run(prompt), "save")
    assert one.name.startswith("photo2_40"), "the name of the cell's picture and its seed"
    assert torch.equal(read_clip(one).pixels, by_button[2])
    assert len(Manifest(page.folder("equal") / "manifest.jsonl").latest()) == 4, "the ordinary queue adds to no record"
    plan, out = page.folder("equal") / "plan.json", tmp_path / "out"
    assert main(["sweep", str(plan), "--out", str(out), "--host", page.server.url]) == 0
    # By their place: the command line does not see what the server's models hold, which the server's keys tell.
    records = {record.index: record for record in Manifest(out / "manifest.jsonl").records()}
    for row in page.cells("equal"):
        assert torch.equal(read_clip(out / str(records[row["index"]].file)).pixels, by_button[row["index"]])


def test_lists_cameras_and_the_sheet(page: Client) -> None:
    """A wire from `any` into a list passes the host's own check; an output the axis cannot fill is refused."""
    prompt = graph("lists", "1 from 0", "photos/photo1.png", plan={"axis": ["words", 0]})
    prompt |= {
        "words": axis("solver", "text", "euler\nheun", "cameras"),
        "cameras": axis("camera", "camera", "pan_left:12 + zoom_in:5", "seeds"),
        "solver": cell("plan", "solver", 1),
        "camera": cell("plan", "camera"),
        "moved": node("SVDStudioApplyCamera", model=["load", 0], camera=["camera", 4], bake=False, fps=8.0),
        "sheet": node("SVDStudioContactSheet", sweep="", plan=["plan", 0], moving=True),
    }
    prompt["moved"]["inputs"] |= {"image": ["picture", 3], "vae": ["load", 2]}
    prompt["sample"]["inputs"] |= {"solver": ["solver", 5], "model": ["moved", 0]}
    done = page.server.run(prompt)
    assert len(page.server.files(done, "save")) == 1
    assert "No" in str(done.outputs["sheet"]) or "none" in str(done.outputs["sheet"]), (
        "nothing to draw yet, and said so"
    )
    page.start(prompt)
    assert page.until("lists", "finished")["counts"]["done"] == 2
    assert {row["values"]["solver"] for row in page.cells("lists")} == {"euler", "heun"}
    done = page.server.run({"sheet": node("SVDStudioContactSheet", sweep="lists", moving=True)})
    (sheet,) = page.server.files(done, "sheet")
    assert sheet.name == "sheet.png" and sheet.with_suffix(".webp").is_file() and sheet.with_suffix(".html").is_file()
    prompt["sample"]["inputs"]["seed"] = ["picture", 0]
    with pytest.raises(Refused, match="image or string or any"):
        page.start(prompt)


def test_clearing_and_pausing(page: Client) -> None:
    def queue(body: dict[str, Any]) -> None:
        request = urllib.request.Request(
            page.server.url + "/queue", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()

    page.start(graph("stopped", "4 from 0", frames=6))
    page.until("stopped", done=1)
    queue({"clear": True})
    told = page.until("stopped", "paused", "finished")
    if told["state"] == "paused":
        assert "taken out" in told["note"]
    page.act("stopped", "resume")
    page.until("stopped", done=3)
    page.act("stopped", "pause")
    told = page.until("stopped", "paused", "finished")
    assert told["note"] is None
    page.act("stopped", "resume")
    page.until("stopped", "running", "finished")
    urllib.request.urlopen(urllib.request.Request(page.server.url + "/interrupt", b"{}"), timeout=30).close()
    told = page.until("stopped", "paused", "finished")
    if told["counts"]["failed"]:
        assert "interrupted" in told["note"]
    page.act("stopped", "retry")
    assert page.until("stopped", "finished")["counts"]["done"] == 8
    lines = list(Manifest(page.folder("stopped") / "manifest.jsonl").records())
    assert len({line.cell for line in lines if line.status == "done"}) == 8


def test_what_is_refused(page: Client) -> None:
    page.start(graph("taken", "1 from 0", "photos/photo1.png"))
    page.until("taken", "finished")
    assert page.start(graph("taken", "1 from 0", "photos/photo1.png"))["counts"]["done"] == 1, "the same plan goes on"
    with pytest.raises(Refused, match="another name") as refused:
        page.start(graph("taken", "2 from 0", "photos/photo1.png"))
    assert refused.value.node == "plan"
    with pytest.raises(Refused, match="steps"):
        page.start(graph("taken", "1 from 0", "photos/photo1.png", sample={"steps": 3}))
    with pytest.raises(Refused, match="inside ComfyUI's input folder") as refused:
        page.start(graph("escape", "1 from 0", "../output/*.png"))
    assert refused.value.node == "pictures"
    with pytest.raises(Refused, match="in API form"):
        page.start({**graph("odd", "1 from 0"), "odd": {"class_type": "X", "inputs": [1]}})  # type: ignore[dict-item]
    for path in ("/..%2F..%2Finput", "/taken/cells/..%2F..%2Fplan/clip", "/nothing/pause"):
        with pytest.raises(Refused, match=r"Expected a (sweep|cell)"):
            page.ask(path, {} if path.endswith("pause") else None)
    assert "taken" in {one["id"] for one in page.ask("")["sweeps"]}
