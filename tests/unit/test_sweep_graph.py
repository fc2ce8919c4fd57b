"""Graphs with sweep nodes become plans: literals at the consumers, one loader an axis, and nothing else changed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from svd_core.errors import InputError
from svd_core.sweep.cells import cells_of
from svd_core.sweep.entries import read_entries
from svd_core.sweep.graph import GraphError, GraphSweep, cell_values, graph_sweep, value_at, workflow_at
from svd_core.sweep.plan import GraphTemplate, parse_plan
from svd_core.sweep.prompts import cell_prompt
from tests.sweep_graphs import Prompt, axis, cell, find, node, plan_node, two_by


def swept(prompt: Prompt, plan: str = "3") -> GraphSweep:
    return graph_sweep(prompt, plan, find, Path("input"))


def prompts(sweep: GraphSweep) -> list[dict[str, Any]]:
    assert isinstance(sweep.plan.template, GraphTemplate)
    return [cell_prompt(sweep.plan.template, values) for values in sweep.plan.rows()]


def test_a_cell_is_the_graph_with_literals() -> None:
    before = two_by(3)
    given = copy.deepcopy(before)
    first, *_, last = prompts(swept(given))
    assert given == before, "the page's prompt was changed"
    assert set(first) == {"6", "7", "8", "svd_sweep_image"}, "sweep nodes or what hangs on the sheet alone were kept"
    assert first["7"] == node("KSampler", positive=["6", 0], seed=10, steps=2)
    assert first["6"] == node("Encode", image=["svd_sweep_image", 0], width=64)
    assert first["svd_sweep_image"] == node("SVDStudioSweepValue", kind="images", value="photos/a.png")
    assert first["8"]["inputs"]["notes"] == "photos/a.png", "the string of a picture is its name"
    assert last["7"]["inputs"]["seed"] == 11, "ends first, then the middle"
    assert last["svd_sweep_image"]["inputs"]["value"] == "photos/b.png"


def test_cells_of_one_picture_come_together() -> None:
    images = [prompt["svd_sweep_image"]["inputs"]["value"] for prompt in prompts(swept(two_by(6)))]
    assert images == ["photos/a.png"] * 6 + ["photos/b.png"] * 6


def test_an_axis_of_any_name_leads_and_names() -> None:
    prompt = two_by(3)
    prompt["1"] = axis("start_frame", "images", "photos/*.png")
    prompt["4"] = cell("3", "start-frame")
    # The seed axis first: grouping must not depend on the order of the axes.
    prompt["2"] = axis("seed", "seed", "3 from 10")
    prompt["1"]["inputs"]["axis"] = ["2", 0]
    prompt["3"] = plan_node("1")
    sweep = swept(prompt)
    images = [one["svd_sweep_start_frame"]["inputs"]["value"] for one in prompts(sweep)]
    assert images == ["photos/a.png"] * 3 + ["photos/b.png"] * 3
    assert [one.name for one in cells_of(sweep.plan)][:2] == ["a_seed10", "a_seed12"]


def test_the_plan_on_disk_is_the_same_plan() -> None:
    sweep = swept(two_by(2))
    again = parse_plan(sweep.plan.document(), Path())
    assert again.document() == sweep.plan.document()
    assert [one.key for one in cells_of(again)] == [one.key for one in cells_of(sweep.plan)]
    assert [axis.kind for axis in again.axes] == ["images", "seed"]


def test_a_camera_comes_from_one_loader() -> None:
    prompt = two_by(1)
    prompt["1"] = axis("camera", "camera", "pan_left:12\nzoom_in:5 + roll_cw:2\nsaved: mine")
    prompt["4"] = cell("3", "camera")
    prompt["6"] = node("Apply", camera=["4", 4], again=["4", 4])
    moves = [one["svd_sweep_camera"] for one in prompts(swept(prompt))]
    assert {(one["class_type"], one["inputs"]["kind"]) for one in moves} == {("SVDStudioSweepValue", "camera")}
    assert prompts(swept(prompt))[0]["6"]["inputs"] == {
        "camera": ["svd_sweep_camera", 1],
        "again": ["svd_sweep_camera", 1],
    }
    assert {one["inputs"]["value"] for one in moves} == {"pan_left:12", "zoom_in:5 + roll_cw:2", "saved: mine"}


def test_lists_take_any() -> None:
    prompt = two_by(1)
    prompt["1"] = axis("lora", "lora files", "*.safetensors")
    prompt["4"] = cell("3", "lora")
    prompt["6"] = node("LoraLoader", lora_name=["4", 5])
    assert [one["6"]["inputs"]["lora_name"] for one in prompts(swept(prompt))] == [
        "x/pan.safetensors",
        "roll.safetensors",
    ]


def test_nodes_of_subgraphs_are_nodes() -> None:
    prompt = two_by(2)
    prompt["12:5"] = prompt.pop("5")
    prompt["7"]["inputs"]["seed"] = ["12:5", 0]
    sweep = swept(prompt)
    assert prompts(sweep)[0]["7"]["inputs"]["seed"] == 10
    assert sweep.cells == {"4": "image", "12:5": "seed"}


def test_two_plans_in_one_graph() -> None:
    prompt = two_by(2)
    prompt |= {"20": axis("steps", "number", "2, 4"), "21": plan_node("20"), "22": cell("21", at=1)}
    prompt["7"]["inputs"]["steps"] = ["22", 0]
    first = prompts(swept(prompt))[0]
    assert {"20", "21", "22"} <= set(first), "the other plan's cell stays as it is"
    other = prompts(swept(prompt, "21"))
    assert [one["7"]["inputs"]["steps"] for one in other] == [2, 4]
    assert {"1", "2", "3", "4", "5"} <= set(other[0])


def test_primitive_nodes_are_read_through() -> None:
    prompt = two_by(2)
    prompt["30"] = node("PrimitiveStringMultiline", value="7, 8")
    prompt["2"]["inputs"]["values"] = ["30", 0]
    assert [one["7"]["inputs"]["seed"] for one in prompts(swept(prompt))][:2] == [7, 8]


def broken(change: str) -> tuple[Prompt, str]:
    """A graph that cannot be swept, and the node at fault."""
    prompt = two_by(2)
    match change:
        case "no plan":
            del prompt["3"]
            return prompt, "3"
        case "no axis":
            del prompt["3"]["inputs"]["axis"]
            return prompt, "3"
        case "unused axis":
            prompt["7"]["inputs"]["seed"] = 3
            return prompt, "2"
        case "wrong axis":
            prompt["5"] = cell("3", "sead")
            return prompt, "5"
        case "wrong output":
            prompt["7"]["inputs"]["seed"] = ["5", 3]
            return prompt, "5"
        case "fractions":
            prompt["2"] = axis("cfg", "number", "1.5, 2", "1")
            prompt["5"] = cell("3", "cfg")
            return prompt, "7"
        case "computed":
            prompt["30"] = node("StringConcatenate", a="1", b="2")
            prompt["2"]["inputs"]["values"] = ["30", 0]
            return prompt, "2"
        case "no values":
            prompt["2"]["inputs"]["values"] = " \n "
            return prompt, "2"
        case "missing picture":
            prompt["1"]["inputs"]["values"] = "photos/c.png"
            return prompt, "1"
        case _:
            prompt["3"] = plan_node("2", combine="zip", limit=0)
            prompt["2"] = axis("seed", "seed", "3 from 0", "1")
            return prompt, "3"


@pytest.mark.parametrize(
    "change",
    [
        "no plan",
        "no axis",
        "unused axis",
        "wrong axis",
        "wrong output",
        "fractions",
        "computed",
        "no values",
        "missing picture",
        "unequal zip",
    ],
)
def test_what_cannot_be_swept_is_a_sentence_about_a_node(change: str) -> None:
    prompt, at = broken(change)
    with pytest.raises(GraphError, match=r"^Expected .*; found .*") as error:
        swept(prompt)
    assert error.value.node == at


def test_a_graph_that_saves_nothing_is_refused() -> None:
    prompt = two_by(2)
    del prompt["8"]
    with pytest.raises(GraphError, match="Save Clip"):
        swept(prompt)


def test_of_several_save_nodes_the_one_that_is_swept() -> None:
    prompt = two_by(2)
    prompt["0"] = node("SVDStudioSaveClip", images=["40", 0])
    prompt["40"] = node("LoadImage", image="x.png")
    sweep = swept(prompt)
    assert sweep.save == "8" and "Save Clip 8" in sweep.notes[0]


def test_the_ordinary_queue_and_a_sweep_agree_on_cells() -> None:
    prompt = two_by(3)
    sweep = swept(prompt)
    for index, values in enumerate(sweep.plan.rows()):
        prompt["4"]["inputs"]["cell"] = prompt["5"]["inputs"]["cell"] = index
        told = {name: value for name, (_, value) in cell_values(prompt, find).items()}
        assert told == values
    with pytest.raises(InputError, match=r"0 \.\. 5"):
        value_at(sweep.plan, "seed", 6)


def test_the_graph_a_clip_carries_stands_at_its_cell() -> None:
    inner = {"id": 5, "type": "SVDStudioSweepCell", "widgets_values": ["seed", 0]}
    other = {"id": 6, "type": "SVDStudioSweepCell", "widgets_values": ["seed", 0]}
    workflow = {
        "nodes": [{"id": 4, "type": "SVDStudioSweepCell", "widgets_values": ["image", 0]}, other],
        "definitions": {"subgraphs": [{"nodes": [inner]}]},
    }
    turned = workflow_at(workflow, {"4": "image", "12:5": "seed"}, 7)
    assert turned["nodes"][0]["widgets_values"] == ["image", 7]
    assert turned["nodes"][1] == other, "a cell of another plan was changed"
    assert turned["definitions"]["subgraphs"][0]["nodes"][0]["widgets_values"] == ["seed", 7]
    assert inner["widgets_values"] == ["seed", 0], "the workflow given was changed"


@pytest.mark.parametrize(
    ("kind", "text", "values"),
    [
        ("number", "60 to 180 step 40", (60, 100, 140, 180)),
        ("number", "0.1..0.3 by 0.1, 5", (0.1, 0.2, 0.3, 5)),
        ("number", "3 to 1", (3, 2, 1)),
        ("number", "1 2\n-3.5", (1, 2, -3.5)),
        ("seed", "3 from 100", (100, 101, 102)),
        ("seed", "7, 2 from 0", (7, 0, 1)),
        ("text", " a dog \n\n a cat, too", ("a dog", "a cat, too")),
        ("images", "photos/b.png\nphotos/*.png", ("photos/b.png", "photos/a.png")),
    ],
)
def test_what_artists_type(kind: str, text: str, values: tuple[object, ...]) -> None:
    assert read_entries("x", kind, text, find).values == values


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("number", "one"),
        ("number", "1 to nan"),
        ("seed", "-1"),
        ("seed", "1.5"),
        ("camera", "pan_sideways:3"),
        ("camera", "saved: nothing"),
        ("number", "1, 1"),
        ("colour", "red"),
        ("text", ""),
    ],
)
def test_what_cannot_be_read(kind: str, text: str) -> None:
    with pytest.raises(InputError, match="Expected"):
        read_entries("x", kind, text, find)
