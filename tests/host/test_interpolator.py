"""RIFE weights in the real host: loaded by its patcher, three frames interpolated, the same as without it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import svd_core
from svd_core.interpolation import Plan
from svd_core.types import Frames
from svd_core.weights import load_interpolator
from svd_core.weights.video_engine import EMBEDDED_INTERPOLATOR, load_video_engine
from tests.host.graphs import node
from tests.host.server import Prompt, PromptFailed, PromptRefused, Server
from tests.rife import frames, recorded, weights

FILES = {"4.17 lite": "rife417_lite.pth", "4.0 refined": "rife40.pkl"}
SIZE = (50, 70)


@pytest.fixture(scope="module")
def pictures(server: Server) -> list[str]:
    """Three frames among the host's inputs, and files in its folders of interpolators."""
    shown = [*frames(2, SIZE)[0], frames(1, SIZE)[1][0]]
    for index, frame in enumerate(shown):
        pixels = (frame.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(server.base / "input" / f"between_{index}.png")
    for folder, (run, name) in zip(("frame_interpolation", "rife"), FILES.items(), strict=True):
        place = server.base / "models" / folder
        place.mkdir(parents=True, exist_ok=True)
        torch.save(weights(recorded()[run].shapes), place / name)
    (server.base / "models" / "rife" / "page.pth").write_bytes(b"<html>")
    return [f"between_{index}.png" for index in range(len(shown))]


def path_of(server: Server, name: str) -> Path:
    return next((server.base / "models").glob(f"*/{name}"))


def graph(pictures: list[str], name: str, batch: int = 1, base: str = "nano (embedded)") -> Prompt:
    made = {f"picture{index}": node("LoadImage", image=picture) for index, picture in enumerate(pictures)}
    made["two"] = node("ImageBatch", image1=["picture0", 0], image2=["picture1", 0])
    made["three"] = node("ImageBatch", image1=["two", 0], image2=["picture2", 0])
    made["rife"] = node(
        "SVDStudioLoadInterpolator",
        interpolator_name=name,
        dtype="auto",
        flow_scale="1",
        batch=batch,
        refine=True,
        base=base,
    )
    made["between"] = node(
        "SVDStudioInterpolate",
        images=["three", 0],
        engine_model=["rife", 0],
        source_fps=8.0,
        mode="factor",
        factor=2.5,
        fps=24.0,
        loop="off",
        keep_duration=False,
        ease="linear",
        engine="flow",
        cut_guard="off",
        dedupe=False,
    )
    made["save"] = node("SaveImage", images=["between", 0], filename_prefix=f"between_{name}_{batch}")
    made["told"] = node("PreviewAny", source=["between", 4])
    return made


def shown(server: Server, prompt: Prompt, engine: str = "rife") -> Tensor:
    done = server.run(prompt)
    (report,) = done.outputs["told"]["text"]
    assert f"New frames by {engine}" in report
    return torch.stack([pixels(file) for file in server.files(done, "save")])


def pixels(file: Path) -> Tensor:
    with Image.open(file) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32) / 255)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", FILES.values())
def test_frames_are_those_of_the_command_line(server: Server, pictures: list[str], name: str, batch: int) -> None:
    made = shown(server, graph(pictures, name, batch))
    source = torch.stack([pixels(server.base / "input" / picture) for picture in pictures])
    engine = load_interpolator(path_of(server, name), refine=True)
    expected = svd_core.interpolate(
        Frames(source, Fraction(8)), Plan(factor=Fraction(5, 2)), engine=engine, cut_guard="off"
    )
    assert made.shape == (6, *SIZE, 3)
    assert torch.equal(made[0], source[0]) and torch.equal(made[5], source[2])
    assert (made - expected.pixels).abs().max() < 1.5 / 255
    assert (made[1] - source[0]).abs().mean() > 0.01


@pytest.mark.skipif(not EMBEDDED_INTERPOLATOR.is_file(), reason="no interpolator is shipped")
def test_the_embedded_video_interpolator_makes_the_command_line_s_frames(server: Server, pictures: list[str]) -> None:
    made = shown(server, graph(pictures, "nano (embedded)"), "svd:nano_interpolator")
    source = torch.stack([pixels(server.base / "input" / picture) for picture in pictures])
    expected = svd_core.interpolate(
        Frames(source, Fraction(8)), Plan(factor=Fraction(5, 2)), engine=load_video_engine(), cut_guard="off"
    )
    assert torch.equal(made[0], source[0]) and torch.equal(made[5], source[2])
    assert (made - expected.pixels).abs().max() < 1.5 / 255
    assert (made[1] - torch.lerp(source[0], source[1], 0.5)).abs().mean() > 1e-3


def test_a_video_interpolator_on_another_base_fails_with_a_sentence(server: Server, pictures: list[str]) -> None:
    with pytest.raises(PromptFailed, match=r"the model nano_interpolator.safetensors was trained on.*Name its own"):
        server.run(graph(pictures, "nano (embedded)", base="random.safetensors"))


def test_files_of_both_folders_are_listed_and_bad_ones_refused(server: Server, pictures: list[str]) -> None:
    listed = server.get("/object_info/SVDStudioLoadInterpolator")["SVDStudioLoadInterpolator"]
    names = listed["input"]["required"]["interpolator_name"][1]["options"]
    assert {*FILES.values(), "page.pth"} <= set(names) and names[-1] == "nano (embedded)"
    assert listed["output"][0] == "FRAME_INTERPOLATION_MODEL,INTERP_MODEL"
    with pytest.raises(PromptRefused) as refused:
        server.queue(graph(pictures, "page.pth"))
    assert "a web page" in refused.value.details("rife")
