"""The camera nodes in the real host: built by a graph, saved, found again, previewed and refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.host.graphs import node
from tests.host.server import Prompt, PromptRefused, Server


def move(preset: str, amount: float, **more: Any) -> dict[str, Any]:
    return node(
        "SVDStudioCameraMove",
        **{"preset": preset, "amount": amount, "first_frame": 0, "last_frame": -1, "ease": "linear"} | more,
    )


def graph(**changes: dict[str, Any]) -> Prompt:
    """A pan with a sway, then a zoom; drawn and saved."""
    prompt = {
        "picture": node("LoadImage", image="picture.png"),
        "pan": move("pan_right", 20.0, ease="in-out"),
        "sway": move("handheld", 10.0, shake_seed=3, camera=["pan", 0]),
        "zoom": move("zoom_in", 10.0),
        "join": node("SVDStudioCameraJoin", camera_1=["sway", 0], camera_2=["zoom", 0], crossfade=4, starts="9"),
        "preview": node("SVDStudioCameraPreview", image=["picture", 0], camera=["join", 0], frames=17, fps=8),
        "save": node("SVDStudioSaveCamera", camera=["join", 0], name="pan then zoom"),
        "shown": node("SaveImage", images=["preview", 1], filename_prefix="curves"),
    }
    for name, inputs in changes.items():
        prompt[name]["inputs"] |= inputs
    return prompt


def test_a_camera_is_drawn_saved_and_loaded_again(server: Server) -> None:
    outputs = server.run(graph()).outputs
    assert outputs["preview"]["images"], "the path is shown on the node"
    assert "pan then zoom.json" in outputs["save"]["text"][0]
    info = server.get("/object_info/SVDStudioLoadCamera")["SVDStudioLoadCamera"]
    assert "pan then zoom" in json.dumps(info["input"]["required"]["name"])
    again = {
        "picture": node("LoadImage", image="picture.png"),
        "load": node("SVDStudioLoadCamera", name="pan then zoom"),
        "chain": move("saved: pan then zoom", 12.0),
        "mix": node("SVDStudioCameraMix", camera_1=["load", 0], camera_2=["chain", 0]),
        "preview": node("SVDStudioCameraPreview", image=["picture", 0], camera=["mix", 0], frames=17, fps=8),
    }
    assert server.run(again).outputs["preview"]["images"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pan": {"preset": "sideways"}}, "preset"),
        ({"pan": {"ease": "custom", "points": "1:0, 0:1"}}, "ascending"),
        ({"pan": {"first_frame": 9, "last_frame": 4}}, "last_frame"),
        ({"save": {"name": "../outside"}}, "name"),
        ({"join": {"starts": "soon"}}, "starts"),
    ],
)
def test_bad_values_are_refused_before_anything_runs(
    server: Server, changes: dict[str, dict[str, Any]], words: str
) -> None:
    prompt = graph(**changes)
    # The host leaves out outputs that are invalid and refuses only a graph without any other.
    for other in ("preview", "shown"):
        del prompt[other]
    with pytest.raises(PromptRefused, match=words):
        server.run(prompt)
