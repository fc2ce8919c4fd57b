"""Contact sheets from a manifest alone, and the commands `svd sweep` and `svd sheet`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from svd_core.errors import InputError
from svd_core.sweep.axes import Axis
from svd_core.sweep.drawing import SheetStyle, draw_page
from svd_core.sweep.layout import Layout, axes_of, pages
from svd_core.sweep.local import LocalExecutor
from svd_core.sweep.manifest import Manifest, Record
from svd_core.sweep.plan import Plan, parse_plan
from svd_core.sweep.run import Progress, run_plan
from svd_core.sweep.sheets import read_sheet, write_moving, write_png
from svd_core.sweep.web_page import write_page
from tests import sweep_workers
from tests.command_line import ROOT, assert_refused, picture, run_here, small_checkpoint
from tests.sweep_folders import SHADES, sweep_folder


def test_layout_puts_the_cheap_axis_across() -> None:
    axes = (Axis("image", ("a", "b")), Axis("seed", (0, 1, 2)), Axis("solver", ("euler",)))
    assert Layout.choose(axes) == Layout(rows=("image",), columns="seed")
    assert Layout.choose(axes, rows="seed") == Layout(rows=("seed",), columns="image")
    many = (Axis("image", tuple(map(str, range(40)))), Axis("fps", (6, 7)), Axis("seed", tuple(range(50))))
    assert Layout.choose(many) == Layout(rows=("fps",), columns="seed")
    for wrong in ({"rows": "none"}, {"rows": "seed", "columns": "seed"}):
        with pytest.raises(InputError):
            Layout.choose(axes, **wrong)


def test_pages_know_their_holes() -> None:
    axes = (Axis("a", (1, 2)), Axis("b", (1, 2)), Axis("c", (1, 2)))
    records = [Record(cell="x", index=0, status="done", values={"a": 1, "b": 2, "c": 1})]
    page = next(iter(pages(axes, records, Layout(rows=("b",), columns="c"))))
    assert page.title == "a 1" and page.rows == ("b 1", "b 2") and page.columns == ("c 1", "c 2")
    assert [[cell is not None for cell in line] for line in page.cells] == [[False, False], [True, False]]
    assert len(list(pages(axes, records, Layout(rows=("b",), columns="c")))) == 1
    assert axes_of(records) == (Axis("a", (1,)), Axis("b", (2,)), Axis("c", (1,)))


def fields(drawn: Image.Image, y: int) -> list[tuple[int, ...]]:
    """Colours of what is at least 40 pixels wide on a line of a picture, from left to right, background left out."""
    line = [drawn.convert("RGB").getpixel((x, y)) for x in range(drawn.width)]
    runs = [(colour, len(list(run))) for colour, run in groupby(line)]
    return [colour for colour, length in runs if length >= 40 and colour != line[0]]  # type: ignore[misc]


def lines(drawn: Image.Image) -> list[list[tuple[int, ...]]]:
    """The different lines of fields of a sheet, from top to bottom."""
    return [found for found, _ in groupby(fields(drawn, y) for y in range(drawn.height)) if found]


@pytest.mark.parametrize("plan", [True, False])
def test_a_sheet_shows_every_clip_in_its_place(plan: bool, tmp_path: Path) -> None:
    sheet = read_sheet(sweep_folder(tmp_path / "s", plan=plan))
    page = sheet.pages[0]
    assert page.rows == ("a", "b") and page.columns == ("seed 0", "seed 1", "seed 2")
    assert sheet.told() == "4 clips, 1 failed, 1 to come" and sheet.title == ("test" if plan else "s")
    drawn = lines(draw_page(page, sheet.folder, SheetStyle(height=48, strip=1)))
    above = next(found for found in drawn if len(found) == 3)
    assert [sum(colour) / 3 / 255 for colour in above] == pytest.approx(list(SHADES.values()), abs=0.08)
    # The failed cell is red, the one never made is neither black nor a clip.
    below = [found for found in drawn if len(found) == 3 and found[0][0] > 1.5 * found[0][1]]
    assert below and all(20 < max(found[2]) < 80 and found[1] == above[1] for found in below)


def test_places_outside_the_plan_stay_free(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "limit": 5, "order": "given"}))
    sheet = read_sheet(folder)
    assert sheet.told() == "4 clips, 1 failed" and not sheet.pages[0].missing(1, 2)
    drawn = lines(draw_page(sheet.pages[0], folder, SheetStyle(height=48, strip=1)))
    assert len(drawn[0]) == 3 and all(len(found) <= 2 for found in drawn[1:])
    write_page(sheet, folder / "sheet.html", SheetStyle(height=32))
    assert 'class="hole"' not in (folder / "sheet.html").read_text()


def test_values_side_by_side_are_a_list(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    (folder / "manifest.jsonl").write_bytes(b"")
    for index in range(4):
        values = {"image": f"{index}.png", "seed": index}
        Manifest(folder / "manifest.jsonl").append(
            Record(cell=str(index), index=index, status="done", values=values, file=f"cells/{index}.webp")
        )
    axes = [{"name": "image", "values": [f"{index}.png" for index in range(6)]}, {"name": "seed", "count": 6}]
    document = {"version": 1, "name": "test", "template": {"kind": "animate"}, "axes": axes, "combine": "zip"}
    (folder / "plan.json").write_text(json.dumps(document))
    sheet = read_sheet(folder)
    (page,) = sheet.pages
    assert page.rows[:2] == ("0\nseed 0", "1\nseed 1") and page.columns == ("",)
    assert [line[0] is not None for line in page.cells] == [True] * 4 + [False] * 2
    assert sheet.told() == "4 clips, 2 to come"
    # Asked for, it is a grid all the same.
    assert len(read_sheet(folder, rows="seed").pages[0].columns) == 6


def test_long_words_stay_inside_their_cells(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s", plan=False)
    values = {"image": "a" * 300, "seed": 0}
    Manifest(folder / "manifest.jsonl").append(
        Record(cell="9", index=9, status="failed", values=values, error="Expected more; found less. " * 40)
    )
    sheet = read_sheet(folder, rows="image")
    drawn = draw_page(sheet.pages[0], folder, SheetStyle(height=48, strip=1))
    assert drawn.width < 700 and drawn.height < 400
    margins = [drawn.getpixel((drawn.width - 2, y)) for y in range(drawn.height)]
    assert len(set(margins)) == 1


def test_a_sheet_can_be_drawn_in_the_middle_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = plan_of_gifs(4)
    drawn: list[str] = []

    def look(progress: Progress, record: Record) -> None:
        # From the manifest alone, by another process as far as the run is concerned.
        (tmp_path / "out/plan.json").rename(tmp_path / "plan.json")
        drawn.append(run_here(capsys, "sheet", tmp_path / "out", "--json").out)
        (tmp_path / "plan.json").rename(tmp_path / "out/plan.json")
        drawn.append(read_sheet(tmp_path / "out").told())

    run_plan(wanted, tmp_path / "out", LocalExecutor(["cpu"], sweep_workers.make_render), on_record=look)
    assert drawn[1::2] == [f"{made} clips, {4 - made} to come" for made in range(1, 4)] + ["4 clips"]
    assert all(json.loads(text)["files"] for text in drawn[::2])
    # Its other way: everything but the record is gone.
    for path in (tmp_path / "out").glob("sheet*"):
        path.unlink()
    before = (tmp_path / "out/manifest.jsonl").read_bytes()
    assert run_here(capsys, "sheet", tmp_path / "out").code == 0
    assert (tmp_path / "out/sheet.png").is_file() and (tmp_path / "out/manifest.jsonl").read_bytes() == before


def plan_of_gifs(count: int) -> Plan:
    template = {"kind": "animate", "settings": {"format": "gif"}}
    return parse_plan({"version": 1, "template": template, "axes": [{"name": "seed", "count": count}]}, Path())


def test_png_pages_and_a_moving_sheet(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    (folder / "sheet-2.png").write_bytes(b"of a longer sheet")
    sheet = read_sheet(folder)
    assert write_png(sheet, folder / "sheet.png", SheetStyle(height=32)) == [folder / "sheet.png"]
    assert not (folder / "sheet-2.png").exists()
    with Image.open(write_moving(sheet, folder / "sheet.webp", SheetStyle(height=32))) as moving:
        assert moving.n_frames == 4  # type: ignore[attr-defined]


def test_the_web_page_needs_nothing_from_anywhere(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    sheet = replace(read_sheet(folder), title="a <b> sweep")
    path = write_page(sheet, folder / "sheet.html", SheetStyle(height=32))
    text = path.read_text(encoding="utf-8")
    assert "a &lt;b&gt; sweep" in text and "&lt;no&gt; picture" in text and "<no>" not in text
    assert len(re.findall(r'src="data:image/webp;base64,', text)) == 4
    assert "http" not in text and text.count('class="hole"') == 1
    assert 'href="cells/0.webp"' in text and "pan -3.0%/s" in text


def test_a_clip_deleted_since_is_a_hole(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    (folder / "cells/0.webp").unlink()
    (folder / "cells/1.webp").write_bytes(b"RIFF")
    sheet = read_sheet(folder)
    write_png(sheet, folder / "sheet.png", SheetStyle(height=32))
    write_page(sheet, folder / "sheet.html", SheetStyle(height=32))
    write_moving(sheet, folder / "sheet.webp", SheetStyle(height=32))


# commands


def write_plan(folder: Path, **settings: Any) -> Path:
    model = small_checkpoint(folder)
    picture(folder / "a.png")
    (folder / "bad.png").write_bytes(b"no picture")
    document = {
        "version": 1,
        "name": "test",
        "template": {"kind": "animate", "settings": {"model": model.name, "steps": 1, "frames": 2, **settings}},
        "axes": [{"name": "image", "glob": "*.png"}, {"name": "seed", "count": 2}],
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(document))
    return path


def test_sweep_from_plan_to_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write_plan(tmp_path), tmp_path / "out"
    outcome = run_here(capsys, "sweep", path, "--out", out, "--device", "cpu")
    assert outcome.code == 1 and "2 of 4 cells failed" in outcome.err and "bad.png" in outcome.err
    assert {clip.name for clip in (out / "cells").glob("*.mp4")} == {"a_seed0.mp4", "a_seed1.mp4"}
    assert (out / "sheet.png").is_file() and (out / "sheet.html").is_file()
    records = {record.values["image"]: record for record in Manifest(out / "manifest.jsonl").records()}
    assert records["a.png"].track is not None and "per_second" in records["a.png"].track
    (tmp_path / "bad.png").unlink()
    outcome = run_here(capsys, "sweep", path, "--out", out, "--device", "cpu", "--resume", "--json")
    facts = json.loads(outcome.out)
    assert outcome.code == 0 and (facts["made"], facts["kept"]) == (0, 2)
    assert "sheet.webp" in run_here(capsys, "sheet", out, "--moving", "--rows", "seed").out


def test_sweep_says_what_it_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_plan(tmp_path, size="64x64")
    shown = run_here(capsys, "sweep", path, "--out", tmp_path / "out", "--dry-run").out
    assert "4 clips, 4 kB" in shown and "a_seed0" in shown and not (tmp_path / "out").exists()
    facts = json.loads(run_here(capsys, "sweep", path, "--out", tmp_path / "out", "--dry-run", "--json").out)
    assert facts["clips"] == 4 and facts["bytes"] == round(4 * 2 * 64 * 64 * 0.12)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "--steps"),
        ({"stepz": 3}, "--stepz"),
        ({"out": "x"}, "out"),
        ({"format": "avi"}, "format"),
        ({"size": "large"}, "--size"),
        ({"camera": "pan_lefty:8"}, "pan_lefty"),
        ({"camera": ["static", "zoom_in:fast"]}, "zoom_in:fast"),
        ({"solver": "eulr"}, "eulr"),
        ({"guidance": "linear:much"}, "linear:much"),
    ],
)
def test_bad_settings_are_found_before_anything_runs(
    settings: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_plan(tmp_path, **settings)
    assert_refused(run_here(capsys, "sweep", path, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there_is_found_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_plan(tmp_path)
    assert_refused(run_here(capsys, "sweep", path, "--out", tmp_path / "out", "--device", "cuda:99"), "cuda:99")
    assert not (tmp_path / "out").exists()


def test_a_sheet_of_an_edited_plan(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    values = [{"image": "a.png", "seed": 0, "fps": fps} for fps in (6, 8)]
    for index, told in enumerate(values):
        Manifest(folder / "manifest.jsonl").append(
            Record(cell=f"n{index}", index=index, status="done", values=told, file="cells/0.webp")
        )
    # The plan of before: its own cells, and none of those that vary something else.
    assert read_sheet(folder).told() == "4 clips, 1 failed, 1 to come"
    document = json.loads((folder / "plan.json").read_text())
    axes = [*document["axes"][:1], {"name": "seed", "values": [0]}, {"name": "fps", "values": [6, 8]}]
    (folder / "plan.json").write_text(json.dumps({**document, "axes": axes}))
    assert read_sheet(folder).told() == "2 clips, 2 to come"
    (folder / "plan.json").unlink()
    assert read_sheet(folder).told() == "2 clips"


def test_sheet_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(run_here(capsys, "sheet", tmp_path), "finished cells")
    assert_refused(run_here(capsys, "sheet", picture(tmp_path / "a.png")), "finished cells")
    assert_refused(run_here(capsys, "sheet", sweep_folder(tmp_path / "s"), "--rows", "none"), "none")


def test_missing_files_are_told_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = run_here(capsys, "sweep", write_plan(tmp_path, depth="none.png"), "--out", tmp_path / "out")
    assert_refused(refused, "depth at", "none.png", "no such file")
    document = json.loads(write_plan(tmp_path).read_text())
    document["axes"][0] = {"name": "image", "values": ["a.png", *(f"none{index}.png" for index in range(7))]}
    (tmp_path / "plan.json").write_text(json.dumps(document))
    told = run_here(capsys, "sweep", tmp_path / "plan.json", "--out", tmp_path / "out", "--dry-run")
    assert told.code == 0 and "none4.png and 2 more. Their cells will fail." in told.err


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a group of processes in another way there")
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(write_plan(tmp_path, steps=2).read_text())
    document["axes"] = [{"name": "image", "values": ["a.png"]}, {"name": "seed", "count": 400}]
    path, out = tmp_path / "plan.json", tmp_path / "out"
    path.write_text(json.dumps(document))
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "svd_core", "sweep", str(path), "--out", str(out), "--device", "cpu", "--json"]
    with subprocess.Popen(
        command,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite that runs in the background of a shell hands down deafness to this signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        deadline = time.monotonic() + 120
        while len(list(Manifest(out / "manifest.jsonl").records())) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        # As a terminal does it: to the workers as well.
        os.killpg(process.pid, signal.SIGINT)
        said, noted = process.communicate(timeout=60)
    facts = json.loads(said)
    assert process.returncode == 130 and facts["stopped"] and facts["made"] >= 1 and facts["left"] > 0
    assert "Traceback" not in noted and "--resume` goes on" in noted and noted.rstrip().endswith("svd: Stopped.")
    again = run_here(capsys, "sweep", path, "--out", out, "--resume", "--dry-run", "--json")
    assert json.loads(again.out)["clips"] <= facts["left"]
