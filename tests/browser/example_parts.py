"""What the example workflows are made of: nodes and links, and the parts many of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EMBEDDED = "nano (embedded)"


@dataclass(frozen=True)
class Link:
    """An output of another node of the example."""

    node: str
    output: str


@dataclass(frozen=True)
class Node:
    """A node's type and its inputs: values for widgets, links for sockets; the rest keeps its defaults."""

    kind: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """Nodes by name, the columns they stand in under a heading each, and a note below."""

    nodes: Mapping[str, Node]
    columns: Mapping[str, tuple[str, ...]]
    note: str


def node(kind: str, /, **inputs: Any) -> Node:
    return Node(kind, inputs)


def load(model: str = EMBEDDED) -> Node:
    return node("SVDStudioLoadModel", model=model, dtype="auto")


def condition(**changes: Any) -> Node:
    sources = {
        "clip_vision": Link("load", "clip_vision"),
        "vae": Link("load", "vae"),
        "image": Link("picture", "IMAGE"),
    }
    values = {"size": "auto", "width": 64, "height": 64, "framing": "crop", "frames": 14, "fps": 8, "motion_bucket": 90}
    return node("SVDStudioImageConditioning", **{**sources, **values, **changes})


def guidance(source: str = "load", **changes: Any) -> Node:
    return node(
        "SVDStudioGuidance",
        **{"model": Link(source, "model"), "shape": "linear", "minimum": 1.0, "maximum": 2.0, **changes},
    )


def sampler(model: str = "guidance", **changes: Any) -> Node:
    conditioning = {name: Link("condition", name) for name in ("positive", "negative", "latent")}
    return node(
        "SVDStudioSampler",
        **{"model": Link(model, "model"), **conditioning, "seed": 0, "steps": 12, "cfg": 2.0, **changes},
    )


def finish(condition: str = "condition") -> dict[str, Node]:
    decode = node("SVDStudioDecode", vae=Link("load", "vae"), latent=Link("sampler", "latent"))
    save = node(
        "SVDStudioSaveClip",
        images=Link("decode", "images"),
        fps=Link(condition, "fps"),
        frames=Link("decode", "frames"),
        filename="svd/%stem%_%date%",
        format="mp4",
    )
    return {"decode": decode, "save": save}


PICTURE = node("LoadImage", image="example.png")
PLAIN = {
    "load": load(),
    "picture": PICTURE,
    "condition": condition(),
    "guidance": guidance(),
    "sampler": sampler(),
    **finish(),
}
FIRST, LAST = ("load", "picture"), ("save",)
QUALITY = (
    "The embedded model makes soft clips of 64 x 64 pixels: enough to try the graph. For photographs put "
    "**svd_xt.safetensors** into `models/checkpoints`, choose it in *Load SVD Model*, and set width 1024, height 576, "
    "frames 25, fps 7, motion_bucket 127, steps 25, and maximum 3 in *SVD Guidance*."
)


BETWEEN_QUALITY = (
    "The embedded model makes soft clips of 64 x 64 pixels. For photographs put **svd_xt.safetensors** into "
    "`models/checkpoints`, choose it in *Load SVD Model*, and set width 1024, height 576, frames 25, fps 7, "
    "motion_bucket 127 and steps 25."
)


def with_camera(camera: Mapping[str, Node], last: str, *more: str, note: str, **after: Node) -> Example:
    """The plain graph with a camera, made by the nodes `camera`, put on its model."""
    put_on = {
        "preview": node(
            "SVDStudioCameraPreview", image=Link("picture", "IMAGE"), camera=Link(last, "camera"), frames=14, fps=8
        ),
        # Picture and VAE are for moves no LoRA is there for.
        "apply": node(
            "SVDStudioApplyCamera",
            model=Link("load", "model"),
            camera=Link(last, "camera"),
            image=Link("picture", "IMAGE"),
            vae=Link("load", "vae"),
            fps=8,
        ),
        # Little motion of its own, so that what is seen is the camera.
        "condition": condition(motion_bucket=48),
        "guidance": guidance("apply"),
    }
    columns = {
        "Model and picture": FIRST,
        "Camera": tuple(camera),
        "See it, use it": ("preview", "apply"),
        "Clip": ("guidance", "condition"),
        "Sample": ("sampler", "decode"),
        "Save": (*LAST, *more),
    }
    nodes = {**PLAIN, **camera, **put_on, **after}
    return Example(nodes, columns, f"{note}\n\n{QUALITY}")


def move(preset: str, amount: float, **more: Any) -> Node:
    return node("SVDStudioCameraMove", preset=preset, amount=amount, **more)


def save_between(filename: str, format: str) -> Node:
    """Saves what the node called "between" made, at the rate it says."""
    images, fps = Link("between", "images"), Link("between", "fps")
    return node("SVDStudioSaveClip", images=images, fps=fps, filename=filename, format=format)


def between(inputs: Mapping[str, Any], pictures: tuple[str, ...], note: str) -> Example:
    """Pictures and what is made between them."""
    sources = {name: Link("load", name) for name in ("model", "clip_vision", "vae")}
    clip = {"width": 64, "height": 64, "frames": 14, "fps": 8, "motion_bucket": 90, "steps": 12}
    nodes = {
        "load": load(),
        **dict.fromkeys(pictures, PICTURE),
        "between": node("SVDStudioInBetween", **{**sources, **clip, **inputs}),
        "save": save_between("svd/%stem%_%date%", "webp"),
    }
    columns = {
        "Model": ("load",),
        "Pictures": pictures,
        "What lies between": ("between",),
        "Save": LAST,
    }
    return Example(nodes, columns, f"{note}\n\n{BETWEEN_QUALITY}")


MEASURE = {
    "measure": node(
        "SVDStudioMeasureCamera",
        images=Link("decode", "images"),
        fps=Link("condition", "fps"),
        camera=Link("move", "camera"),
    ),
    "plot": node("PreviewImage", images=Link("measure", "plot")),
}
