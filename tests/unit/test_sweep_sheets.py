"""Contact sheets from a manifest alone, and the commands `svd sweep` and `svd sheet`."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from svd_core.errors import InputError
from svd_core.sweep.axes import Axis
from svd_core.sweep.layout import Layout, axes_of, pages
from svd_core.sweep.manifest import Manifest, Record
from svd_core.sweep.sheets import SheetStyle, draw_page, read_sheet, write_moving, write_png
from svd_core.sweep.web_page import write_page
from svd_core.types import Frames
from svd_core.video_io import write_clip
from tests.command_line import assert_refused, picture, run_here, small_checkpoint

SHADES = {0: 0.2, 1: 0.5, 2: 0.9}


def sweep_folder(folder: Path, *, plan: bool = True) -> Path:
    """2 x 3 cells: one failed, one never made; each clip is a plain grey that tells its seed."""
    (folder / "cells").mkdir(parents=True)
    manifest = Manifest(folder / "manifest.jsonl")
    for index, (image, seed) in enumerate([("a.png", 0), ("a.png", 1), ("a.png", 2), ("b.png", 0), ("b.png", 1)]):
        values: dict[str, Any] = {"image": image, "seed": seed}
        if index == 3:
            manifest.append(Record(cell=str(index), index=index, status="failed", values=values, error="<no> picture"))
            continue
        clip = folder / f"cells/{index}.webp"
        ramp = torch.linspace(0, 0.1, 4)[:, None, None, None]
        write_clip(Frames((SHADES[seed] + ramp).expand(4, 24, 32, 3), Fraction(8)), clip)
        track = {"per_second": {"pan": -3.0, "tilt": 1.0}, "motion": 0.5}
        manifest.append(
            Record(cell=str(index), index=index, status="done", values=values, file=f"cells/{index}.webp", track=track)
        )
    if plan:
        axes = [{"name": "image", "values": ["a.png", "b.png"]}, {"name": "seed", "count": 3}]
        document = {"version": 1, "name": "test", "template": {"kind": "animate"}, "axes": axes}
        (folder / "plan.json").write_text(json.dumps(document))
    return folder


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


def shade(drawn: Image.Image, x: int, y: int) -> float:
    return sum(drawn.convert("RGB").getpixel((x, y))) / 3 / 255  # type: ignore[arg-type]


@pytest.mark.parametrize("plan", [True, False])
def test_a_sheet_shows_every_clip_in_its_place(plan: bool, tmp_path: Path) -> None:
    sheet = read_sheet(sweep_folder(tmp_path / "s", plan=plan))
    page = sheet.pages[0]
    assert page.rows == ("a", "b") and page.columns == ("seed 0", "seed 1", "seed 2")
    style = SheetStyle(height=48, strip=1)
    drawn = draw_page(page, sheet.folder, style)
    step, left, top = 64 + 8, 16 + 140, 16 + 22
    for seed, expected in SHADES.items():
        assert shade(drawn, left + seed * step + 32, top + 24) == pytest.approx(expected, abs=0.08)
    # The failed cell is red, the one never made is neither black nor a clip.
    below = top + 48 + 14 + 16 + 24
    red = drawn.getpixel((left + 32, below))
    assert isinstance(red, tuple) and red[0] > 1.5 * red[1]
    assert shade(drawn, left + 2 * step + 32, below) == pytest.approx(0.15, abs=0.03)


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
    path = write_page(read_sheet(folder), folder / "sheet.html", "a <b> sweep", SheetStyle(height=32))
    text = path.read_text(encoding="utf-8")
    assert "a &lt;b&gt; sweep" in text and "&lt;no&gt; picture" in text and "<no>" not in text
    assert len(re.findall(r'src="data:image/webp;base64,', text)) == 4
    assert "http" not in text and text.count('class="hole"') == 1
    assert 'href="cells/0.webp"' in text and "pan -3.0/s" in text


def test_a_clip_deleted_since_is_a_hole(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path / "s")
    (folder / "cells/0.webp").unlink()
    (folder / "cells/1.webp").write_bytes(b"RIFF")
    sheet = read_sheet(folder)
    write_png(sheet, folder / "sheet.png", SheetStyle(height=32))
    write_page(sheet, folder / "sheet.html", "", SheetStyle(height=32))
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
    assert "4 clips, about" in shown and "a_seed0" in shown and not (tmp_path / "out").exists()
    facts = json.loads(run_here(capsys, "sweep", path, "--out", tmp_path / "out", "--dry-run", "--json").out)
    assert facts["clips"] == 4 and facts["gigabytes"] == pytest.approx(4 * 2 * 64 * 64 * 0.12 / 1e9)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "--steps"),
        ({"stepz": 3}, "--stepz"),
        ({"out": "x"}, "out"),
        ({"format": "avi"}, "format"),
        ({"size": "large"}, "--size"),
    ],
)
def test_bad_settings_are_found_before_anything_runs(
    settings: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_plan(tmp_path, **settings)
    assert_refused(run_here(capsys, "sweep", path, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


def test_sheet_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(run_here(capsys, "sheet", tmp_path), "finished cells")
    assert_refused(run_here(capsys, "sheet", sweep_folder(tmp_path / "s"), "--rows", "none"), "none")
