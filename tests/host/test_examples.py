"""Every example workflow runs in the real host; together they show every node."""

from __future__ import annotations

import shutil

import pytest

from svd_core.video_io import read_clip
from tests.host.server import Prompt, Server
from tests.host.workflows import EXAMPLES, to_prompt

FRAMES = 4
# What runs must follow what makes its files: a saved camera, a trained LoRA.
AFTER = {"camera_saved": "camera_pan_then_zoom", "camera_lora": "camera_train"}
NAMES = sorted((path.stem for path in EXAMPLES.glob("*.json")), key=lambda name: (name in AFTER, name))
# Small and quick, by node and input.
QUICK = {
    "LoadImage": {"image": "picture.png"},
    "SVDStudioSampler": {"steps": 2},
    "KSampler": {"steps": 2},
    "SVDStudioImageConditioning": {"frames": FRAMES},
    "SVD_img2vid_Conditioning": {"video_frames": FRAMES},
    # A loop shows its picture once.
    "SVDStudioInBetween": {"frames": FRAMES + 1, "steps": 2},
    "SVDStudioLoadInterpolator": {"interpolator_name": "rife_random.pth"},
    "SVDStudioOrbit": {"frames": FRAMES, "width": 64, "height": 64},
    "SVDStudioTrainCameraLora": {"steps": 2, "rank": 2, "frames": FRAMES, "measured_clips": 1},
}


def quick(name: str, server: Server) -> Prompt:
    prompt = to_prompt(EXAMPLES / f"{name}.json", server.get("/object_info"))
    for entry in prompt.values():
        entry["inputs"] |= QUICK.get(entry["class_type"], {})
        if entry["inputs"].get("model") == "sv3d_p.safetensors":
            entry["inputs"]["model"] = "sv3d_tiny.safetensors"
    return prompt


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(server: Server, name: str) -> None:
    photos = server.base / "input" / "my_photos"
    if not photos.exists():
        photos.mkdir()
        for picture in ("picture.png", "square.png"):
            shutil.copy2(server.base / "input" / picture, photos)
    if name in AFTER and not _made(server, AFTER[name]):
        server.run(quick(AFTER[name], server))
    if name != "camera_lora":
        # Two steps teach no direction, and a LoRA of the artist's goes before the shipped one of its name.
        for file in (server.base / "models" / "svd_camera_loras").rglob("my_pan_left*"):
            file.unlink()
    prompt = quick(name, server)
    done = server.run(prompt)
    assert done.outputs, "nothing came out"
    for node, entry in prompt.items():
        if entry["class_type"] == "SVDStudioSaveClip":
            (file,) = server.files(done, node)
            # Interpolation makes more of them.
            assert len(read_clip(file)) >= FRAMES


def _made(server: Server, name: str) -> bool:
    """Whether an example has run on this server."""
    places = {"camera_pan_then_zoom": "user", "camera_train": "models/svd_camera_loras"}
    wanted = {"camera_pan_then_zoom": "pan then zoom*", "camera_train": "my_pan_left*"}
    return any((server.base / places[name]).rglob(wanted[name]))


def test_every_node_is_in_one(server: Server) -> None:
    info = server.get("/object_info")
    shown = {entry["class_type"] for name in NAMES for entry in to_prompt(EXAMPLES / f"{name}.json", info).values()}
    # Sweeps put it into their prompts; no artist needs to.
    shown.add("SVDStudioSweepValue")
    missing = {name for name in info if name.startswith("SVDStudio")} - shown
    assert not missing, f"no example shows {sorted(missing)}"


def test_every_one_has_a_thumbnail() -> None:
    """The page looks for a JPEG of the same name."""
    assert [name for name in NAMES if not (EXAMPLES / f"{name}.jpg").exists()] == []
