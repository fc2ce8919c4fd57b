"""Our own nodes from picture to file in the real host, held against the command line's pipeline."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from svd_core.pipeline import animate_latents, decode_latents
from svd_core.settings import AnimateSettings
from svd_core.video_io import read_clip
from svd_core.weights import load_model
from tests.host import graphs
from tests.host.graphs import node
from tests.host.server import Prompt, PromptFailed, PromptRefused, Server
from tests.host.workflows import EXAMPLES, to_prompt

MODEL, FRAMES, STEPS, SEED = "random.safetensors", 4, 3, 7
# How far one batch of two may round differently from two calls.
TOLERANCE = 1e-5


def clip(**changes: dict[str, Any]) -> Prompt:
    """Loader, conditioning, guidance, sampler; `changes` are inputs by node."""
    prompt = {
        "load": node("SVDStudioLoadModel", model=MODEL, dtype="float32"),
        "picture": node("LoadImage", image="picture.png"),
        "condition": node(
            "SVDStudioImageConditioning",
            clip_vision=["load", 1],
            vae=["load", 2],
            image=["picture", 0],
            size="manual",
            width=64,
            height=64,
            framing="crop",
            frames=FRAMES,
            fps=8,
            motion_bucket=100,
            augmentation=0.1,
            seed=SEED,
        ),
        "guidance": node("SVDStudioGuidance", model=["load", 0], shape="linear", minimum=1.0, maximum=2.0),
        "sample": node(
            "SVDStudioSampler",
            model=["guidance", 0],
            positive=["condition", 0],
            negative=["condition", 1],
            latent=["condition", 2],
            seed=SEED,
            steps=STEPS,
            cfg=1.0,
            solver="euler",
            schedule="karras",
        ),
        "saved": node("SaveLatent", samples=["sample", 0], filename_prefix="room"),
    }
    for name, inputs in changes.items():
        prompt[name]["inputs"] |= inputs
    return prompt


def decoded(prompt: Prompt, kind: str = "mp4", **changes: Any) -> Prompt:
    decode = {"decode_chunk": 8, "overlap": 4, "tile": 0, "restore_shape": True} | changes
    return prompt | {
        "decode": node("SVDStudioDecode", vae=["load", 2], latent=["sample", 0], **decode),
        "save": node(
            "SVDStudioSaveClip",
            images=["decode", 0],
            fps=["condition", 3],
            frames=["decode", 1],
            filename="rooms/%stem%_%seed%",
            format=kind,
            notes=["condition", 4],
        ),
    }


def latents(server: Server, prompt: Prompt) -> torch.Tensor:
    (file,) = server.files(server.run(prompt), "saved")
    return load_file(file)["latent_tensor"]


def difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def reference(server: Server, **changes: Any) -> tuple[torch.Tensor, Any]:
    """Latents `t c h w` of the pipeline, unscaled, and the model."""
    model = load_model(server.base / "models" / "checkpoints" / MODEL)
    picture = Image.open(server.base / "input" / "picture.png").convert("RGB")
    settings = {"size": (64, 64), "frames": FRAMES, "fps": 8, "motion_bucket": 100, "augmentation": 0.1, "seed": SEED}
    settings |= {"steps": STEPS, "solver": "euler", "schedule": "karras", "guidance": "linear:1:2"} | changes
    found, _ = animate_latents(model, [picture], AnimateSettings(**settings))
    return found[0] / model.config.autoencoder.scale_factor, model


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"solver": "heun", "schedule": "align_your_steps"},
        {"solver": "euler_ancestral"},
    ],
    ids=lambda choice: choice.get("solver", "euler"),
)
def test_the_graph_gives_the_command_line_s_latents(server: Server, choice: dict[str, str]) -> None:
    found = latents(server, clip(sample=choice))
    expected, _ = reference(server, **choice)
    assert difference(found, expected) <= TOLERANCE, f"{difference(found, expected):.1e}, limit {TOLERANCE}"


def test_frames_in_the_file_are_the_pipeline_s(server: Server) -> None:
    done = server.run(decoded(clip(), "png"))
    files = server.files(done, "save")
    assert [file.name for file in files] == [f"{index:04d}.png" for index in range(FRAMES)]
    assert files[0].parent.name.startswith(f"picture_{SEED}_"), files[0]
    expected, model = reference(server)
    scaled = expected[None] * model.config.autoencoder.scale_factor
    (pixels,) = decode_latents(model, scaled)
    found = read_clip(files[0].parent)
    assert (found.pixels - pixels).abs().max() <= 1 / 255 + 1e-6
    assert found.fps == 8


def test_the_video_brings_its_graph_along(server: Server) -> None:
    import av

    prompt = decoded(clip())
    (file,) = server.files(server.run(prompt), "save")
    with av.open(str(file)) as container:
        assert json.loads(container.metadata["prompt"])["sample"]["inputs"]["seed"] == SEED
        assert "64x64" in container.metadata["comment"]
        assert container.streams.video[0].average_rate == 8
    assert len(read_clip(file)) == FRAMES


def test_clips_of_a_batch_equal_those_made_alone(server: Server) -> None:
    def two(order: str) -> Prompt:
        both = {
            "other": node("LoadImage", image="square.png"),
            "batch": node("ImageBatch", image1=["picture", 0], image2=["other", 0]),
        }
        return clip(condition={"image": [order, 0]}) | both

    batch = latents(server, two("batch"))
    assert len(batch) == 2 * FRAMES
    first = latents(server, clip())
    # The host squeezes the second picture to the first one's size when it makes a batch.
    second = two("cut") | {"cut": node("ImageFromBatch", image=["batch", 0], batch_index=1, length=1)}
    second["condition"]["inputs"]["seed"] = second["sample"]["inputs"]["seed"] = SEED + 1
    for found, alone in zip(batch.split(FRAMES), (first, latents(server, second)), strict=True):
        assert difference(found, alone) <= TOLERANCE, f"{difference(found, alone):.1e}"
    host = two("batch")
    host["sample"] = node(
        "KSampler",
        **{name: ["condition", slot] for name, slot in (("positive", 0), ("negative", 1), ("latent_image", 2))},
        model=["guidance", 0],
        seed=SEED,
        steps=STEPS,
        cfg=1.0,
        sampler_name="euler",
        scheduler="karras",
        denoise=1.0,
    )
    assert difference(latents(server, host).split(FRAMES)[0], first) <= TOLERANCE


def test_guidance_is_the_same_whatever_cfg_says(server: Server) -> None:
    one, three = (latents(server, clip(sample={"cfg": cfg})) for cfg in (1.0, 3.0))
    assert torch.equal(one, three)
    constant = clip(guidance={"points": "0:2"})
    plain = clip(sample={"model": ["load", 0], "cfg": 2.0})
    assert difference(latents(server, constant), latents(server, plain)) <= TOLERANCE


def test_decoding_in_pieces_and_the_picture_s_shape(server: Server) -> None:
    prompt = decoded(clip(condition={"framing": "pad"}), "webp", decode_chunk=2, tile=64)
    (file,) = server.files(server.run(prompt), "save")
    found = read_clip(file)
    # 64x80 in a square of 64: bars left and right are gone again.
    assert found.pixels.shape[:3] == (FRAMES, 64, 52)


@pytest.mark.parametrize(
    ("room", "inputs", "words"),
    [
        ("condition", {"width": 72, "height": 60}, ("multiples of 8", "72x60")),
        ("condition", {"width": 8192, "height": 8192, "frames": 1000}, ("1000 frames of 8192x8192",)),
        ("condition", {"image": ["speck", 0]}, ("at least 8x8", "1x1")),
        ("sample", {"positive": ["words", 0]}, ("`positive` of 128 channels", "64")),
        ("save", {"filename": "../away"}, ("output folder", "../away")),
        ("save", {"frames": 3}, ("whole clips of 3",)),
    ],
)
def test_bad_input_is_a_sentence(server: Server, room: str, inputs: dict[str, Any], words: tuple[str, ...]) -> None:
    others = {
        "speck": node("EmptyImage", width=1, height=1, batch_size=1, color=0),
        "loaded": node("SVDStudioLoadModel", model="svd_tiny.safetensors", dtype="float32"),
        "words": clip(condition={"clip_vision": ["loaded", 1]})["condition"],
    }
    prompt = decoded(clip())
    prompt[room]["inputs"] |= inputs
    prompt |= {name: entry for name, entry in others.items() if name in str(inputs)}
    prompt |= {"loaded": others["loaded"]} if "words" in prompt else {}
    with pytest.raises(PromptFailed) as failed:
        server.run(prompt)
    for word in words:
        assert word in str(failed.value)


@pytest.mark.parametrize(
    ("room", "inputs", "words"),
    [
        ("condition", {"frames": 0}, "frames"),
        ("condition", {"frames": 4096}, "frames"),
        ("condition", {"motion_bucket": 256}, "motion_bucket"),
        ("condition", {"framing": "zoom"}, "crop, pad, blur, stretch"),
        ("condition", {"motion_points": "fast"}, "`motion_points`"),
        ("guidance", {"points": "0-1"}, "0:1, 0.5:3, 1:1"),
        ("guidance", {"shape": "round"}, "constant, linear"),
        ("sample", {"solver": "magic"}, "euler"),
        ("save", {"format": "webm", "codec": "h264"}, "vp9, av1"),
        ("load", {"dtype": "int8"}, "bfloat16"),
    ],
)
def test_what_the_node_can_know_is_refused_before_it_runs(
    server: Server, room: str, inputs: dict[str, Any], words: str
) -> None:
    prompt = decoded(clip())
    # The host runs whatever else a graph ends in.
    del prompt["saved"]
    prompt[room]["inputs"] |= inputs
    with pytest.raises(PromptRefused) as refused:
        server.run(prompt)
    assert words in refused.value.details(room)


def test_cancel_stops_at_the_next_step_and_leaves_nothing_behind(server: Server) -> None:
    expected = latents(server, clip(sample={"seed": 21}))
    name = server.queue(clip(sample={"seed": 22, "steps": 900}))
    deadline = time.monotonic() + 60
    while not server.get("/queue")["queue_running"]:
        assert time.monotonic() < deadline, "the graph never started"
        time.sleep(0.1)
    time.sleep(2)
    urllib.request.urlopen(urllib.request.Request(server.url + "/interrupt", b"", method="POST"), timeout=30).close()
    while name not in (history := server.get(f"/history/{name}")):
        assert time.monotonic() < deadline, "still running a minute later"
        time.sleep(0.1)
    assert "execution_interrupted" in dict(history[name]["status"]["messages"])
    # Other steps in between, so that nothing comes from the host's cache.
    again = clip(sample={"seed": 21}, condition={"playback_fps": 9.0})
    assert torch.equal(latents(server, again), expected)


def test_the_example_runs(server: Server) -> None:
    prompt = to_prompt(EXAMPLES / "image_to_video.json", server.get("/object_info"))
    by_kind = {entry["class_type"]: entry["inputs"] for entry in prompt.values()}
    by_kind["LoadImage"]["image"] = "picture.png"
    by_kind["SVDStudioImageConditioning"]["frames"] = FRAMES
    by_kind["SVDStudioSampler"]["steps"] = 2
    save = next(name for name, entry in prompt.items() if entry["class_type"] == "SVDStudioSaveClip")
    (file,) = server.files(server.run(prompt), save)
    assert file.name.startswith("picture_") and len(read_clip(file)) == FRAMES


def test_the_host_s_own_conditioning_goes_through_our_sampler(server: Server) -> None:
    host = graphs.clip(MODEL, seed=3)
    ours = clip(guidance={"minimum": 1.0, "maximum": 2.0}, sample={"steps": 2, "seed": 3})
    ours["condition"] = host["condition"]
    ours["sample"]["inputs"]["schedule"] = "karras"
    found, expected = latents(server, ours), load_file(server.files(server.run(host), "latent")[0])["latent_tensor"]
    assert difference(found, expected) <= TOLERANCE, f"{difference(found, expected):.1e}"
