"""Plans: axes, combinations, order, the cells they give and the keys these are known by."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svd_core.errors import FileFormatError, InputError
from svd_core.sweep import order
from svd_core.sweep.axes import Axis, natural, parse_axis, spread
from svd_core.sweep.cells import cells_of
from svd_core.sweep.plan import Plan, load_plan, parse_plan


def plan(folder: Path = Path(), **fields: Any) -> Plan:
    template = {"kind": "animate", "settings": {"steps": 2}}
    return parse_plan({"version": 1, "template": template, **fields}, folder)


def seeds(count: int) -> dict[str, Any]:
    return {"name": "seed", "count": count}


# axes


def test_ranges_are_decimal_and_inclusive() -> None:
    assert spread("x", [0, 0.3, 0.1]) == (0.0, 0.1, 0.2, 0.3)
    assert spread("x", [60, 180, 40]) == (60, 100, 140, 180)
    assert spread("x", [3, 1, -1]) == (3, 2, 1)
    assert spread("x", [1, 4, 2]) == (1, 3)
    assert all(isinstance(value, int) for value in spread("x", [0, 4, 2]))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "a"}, "exactly one"),
        ({"name": "a", "values": [1], "count": 2}, "values and count"),
        ({"name": "a", "values": []}, "1 to"),
        ({"name": "a", "values": [1, 1]}, "twice"),
        ({"name": "a", "values": [[1]]}, "texts and numbers"),
        ({"name": "a", "values": [float("nan")]}, "finite"),
        ({"name": "a", "range": [0, 1, 0]}, "a step"),
        ({"name": "a", "range": [0, 1, -1]}, "a step"),
        ({"name": "a", "range": [0, 10**9, 1]}, "larger step"),
        ({"name": "a", "range": [0, 1]}, "[start, stop, step]"),
        ({"name": "a", "glob": "*.none"}, "none matching"),
        ({"name": "a", "glob": ""}, "pattern"),
        ({"name": "a", "count": 0}, "count"),
        ({"name": "a", "count": True}, "count"),
        ({"name": "a", "count": 2, "base": -1}, "seeds"),
        ({"name": "a", "count": 2, "step": 2}, "step"),
        ({"name": "a b", "values": [1]}, "axis name"),
        ({"values": [1]}, "with a name"),
        ("seed", "as an object"),
    ],
)
def test_axes_that_cannot_be(entry: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Expected .*; found .*"):
        parse_axis(entry, tmp_path)
    with pytest.raises(InputError) as refused:
        parse_axis(entry, tmp_path)
    assert said in str(refused.value)


def test_one_and_true_are_different_values() -> None:
    assert len(Axis("a", (1, True, 1.0, "1")).values) == 4


def test_files_come_in_natural_order(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.png", "Img1.png", "note.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "img3.png").mkdir()
    assert parse_axis({"name": "image", "glob": "*.png"}, tmp_path).values == ("Img1.png", "img2.png", "img10.png")


@given(st.lists(st.text(max_size=8), max_size=6))
def test_natural_order_takes_any_names(names: list[str]) -> None:
    keys = [natural(name) for name in sorted(names, key=natural)]
    assert keys == sorted(keys)


# order


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_coarse_is_the_same_cells_ends_first(sizes: list[int]) -> None:
    cells = list(order.every(sizes))
    ordered = order.coarse(cells, sizes)
    assert sorted(ordered) == sorted(cells)
    corners = {cell for cell in cells if all(i in (0, n - 1) for i, n in zip(cell, sizes, strict=True))}
    assert set(ordered[: len(corners)]) == corners


def test_coarse_halves_the_gaps() -> None:
    values = [cell[0] for cell in order.coarse(list(order.every([9])), [9])]
    assert values[:5] == [0, 8, 4, 2, 6] and sorted(values) == list(range(9))


def test_grouped_keeps_leaders_together() -> None:
    rows = plan(axes=[seeds(3), {"name": "image", "values": ["a", "b"]}], order="grouped").rows()
    assert [row["image"] for row in rows] == ["a"] * 3 + ["b"] * 3
    assert [row["seed"] for row in rows] == [0, 2, 1] * 2


def test_random_cells_are_different_and_seeded() -> None:
    axes = [seeds(10), {"name": "steps_", "values": [1, 2, 3]}]
    drawn = plan(axes=axes, combine={"random": 12, "seed": 3}, order="given").rows()
    assert len({tuple(row.items()) for row in drawn}) == 12
    assert drawn == plan(axes=axes, combine={"random": 12, "seed": 3}, order="given").rows()
    assert drawn != plan(axes=axes, combine={"random": 12, "seed": 4}, order="given").rows()
    assert len(plan(axes=axes, combine={"random": 99}).rows()) == 30
    vast = [{"name": name, "count": 50_000} for name in ("seed", "a", "b", "c", "d")]
    assert len({tuple(row.items()) for row in plan(axes=vast, combine={"random": 7}).rows()}) == 7


def test_zip_goes_side_by_side_and_limit_cuts() -> None:
    axes = [seeds(3), {"name": "fps", "values": [6, 8, 10]}, {"name": "solver", "values": ["euler"]}]
    rows = plan(axes=axes, combine="zip", order="given", limit=2).rows()
    assert rows == [{"seed": 0, "fps": 6, "solver": "euler"}, {"seed": 1, "fps": 8, "solver": "euler"}]
    assert len(plan(axes=axes, combine="zip", limit=10**30).rows()) == 3
    assert plan(axes=[], combine="zip").rows() == [{}]
    with pytest.raises(InputError, match="one length"):
        plan(axes=[seeds(3), {"name": "fps", "values": [6, 8]}], combine="zip")


# plans


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"version": 2}, "version 1"),
        ({"axis": []}, "axis"),
        ({"axes": {}}, "a list"),
        ({"axes": [seeds(2), seeds(3)]}, "seed twice"),
        ({"axes": [{"name": "steps", "values": [1]}]}, "both for steps"),
        ({"combine": "sum"}, "combine"),
        ({"combine": {"random": 0}}, "combine"),
        ({"order": "backwards"}, "grouped, coarse, given"),
        ({"limit": 0}, "limit"),
        ({"combine": {"random": True}}, "combine"),
        ({"name": 3}, "name as a text"),
        ({"template": {"kind": "film"}}, "animate, graph"),
        ({"template": {"kind": "animate", "setting": {}}}, "setting"),
        ({"axes": [seeds(1000), {"name": "fps", "range": [1, 1000, 1]}]}, "1,000,000"),
    ],
)
def test_plans_that_cannot_be(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refused:
        plan(**fields)
    assert said in str(refused.value) and "found" in str(refused.value)


def test_graph_bindings_must_exist() -> None:
    prompt = {"3": {"class_type": "KSampler", "inputs": {"seed": 0}}}
    good = plan(template={"kind": "graph", "prompt": prompt, "bindings": {"seed": ["3", "seed"]}}, axes=[seeds(2)])
    assert good.document()["template"]["bindings"] == {"seed": [["3", "seed"]]}
    for bindings in ({}, {"seed": ["4", "seed"]}, {"seed": ["3", "sed"]}, {"seed": [["3"]]}, {"seed": []}):
        with pytest.raises(InputError):
            plan(template={"kind": "graph", "prompt": prompt, "bindings": bindings}, axes=[seeds(2)])
    for node in ("words", {"class_type": "Note", "inputs": None}):
        with pytest.raises(InputError, match="node 4"):
            plan(template={"kind": "graph", "prompt": {**prompt, "4": node}, "bindings": {}}, axes=[])


@pytest.mark.parametrize(
    ("axis", "value", "label", "told"),
    [
        (("seed", None), 3, "3", "seed 3"),
        (("image", None), "photos/hills.png", "hills", "hills"),
        (("model", None), "models/svd-xt-1.1", "svd-xt-1.1", "svd-xt-1.1"),
        (("camera_lora", None), "loras/pan.safetensors:0.5", "pan:0.5", "pan:0.5"),
        (("camera", None), "pan_right:8", "pan_right:8", "camera pan_right:8"),
        (("picture", "images"), "a/b.png", "b", "b"),
        (("image", "text"), "a.b", "a.b", "image a.b"),
    ],
)
def test_labels(axis: tuple[str, str | None], value: Any, label: str, told: str) -> None:
    one = Axis(axis[0], (value,), axis[1])
    assert (one.label(value), one.told(value)) == (label, told)


def test_plan_files(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"version": 1, "template": {"kind": "animate"}}).encode())
    assert load_plan(path).rows() == [{}]
    for content in (b"{", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(FileFormatError):
            load_plan(path)
    with pytest.raises(InputError):
        load_plan(tmp_path / "none.json")


def test_document_means_the_same_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    first = plan(tmp_path, axes=[{"name": "image", "glob": "*.png"}, seeds(2)], limit=2)
    again = parse_plan(json.loads(json.dumps(first.document())), Path("/somewhere/else"))
    assert cells_of(again) == cells_of(first)


# cells


def test_keys_follow_contents_not_names_or_places(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, name, content in ((one, "a.png", b"same"), (two, "b.png", b"same"), (two, "c.png", b"other")):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    def key(folder: Path, image: str, **fields: Any) -> str:
        return cells_of(plan(folder, axes=[{"name": "image", "values": [image]}], **fields))[0].key

    assert key(one, "a.png") == key(two, "b.png") == key(one, "a.png", name="other", order="given")
    assert key(one, "a.png") != key(two, "c.png")
    other = {"kind": "animate", "settings": {"steps": 3}}
    assert key(one, "a.png") != key(one, "a.png", template=other)


def test_lora_with_a_strength_is_read_too(tmp_path: Path) -> None:
    def key(value: str) -> str:
        return cells_of(plan(tmp_path, axes=[{"name": "camera_lora", "values": [value]}]))[0].key

    (tmp_path / "pan.safetensors").write_bytes(b"1")
    before = key("pan.safetensors:0.5")
    assert before != key("pan.safetensors:0.6")
    (tmp_path / "pan.safetensors").write_bytes(b"2")
    assert before != key("pan.safetensors:0.5")


def test_names_are_distinct_and_fit_every_file_system(tmp_path: Path) -> None:
    images = ["a/" + "long" * 80 + f"{end}.png" for end in "xy"] + ["böse:名前?.png", "BÖSE:名前?.png"]
    cells = cells_of(plan(tmp_path, axes=[{"name": "image", "values": images}, seeds(2)]))
    names = [cell.name for cell in cells]
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert len(name.encode()) < 220 and not set(name) & set('\\/:*?"<>|')
        (tmp_path / f"{name}.mp4").write_bytes(b"")


def test_ten_thousand_cells_in_a_moment() -> None:
    started = time.perf_counter()
    axes = [{"name": "image", "values": ["a.png", "b.png"]}, {"name": "fps", "range": [1, 50, 1]}, seeds(100)]
    cells = cells_of(plan(axes=axes))
    assert len({cell.key for cell in cells}) == len({cell.name for cell in cells}) == 10_000
    # Generous for a loaded machine: it takes a quarter of a second on an idle core.
    assert time.perf_counter() - started < 5 or os.cpu_count() == 1
