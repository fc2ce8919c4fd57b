"""What the example workflows contain. `make_examples.py` builds them in the real page and saves what it saves."""

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


def _node(kind: str, /, **inputs: Any) -> Node:
    return Node(kind, inputs)


def _load(model: str = EMBEDDED) -> Node:
    return _node("SVDStudioLoadModel", model=model, dtype="auto")


def _condition(**changes: Any) -> Node:
    sources = {
        "clip_vision": Link("load", "clip_vision"),
        "vae": Link("load", "vae"),
        "image": Link("picture", "IMAGE"),
    }
    values = {"size": "auto", "width": 64, "height": 64, "framing": "crop", "frames": 14, "fps": 8, "motion_bucket": 48}
    return _node("SVDStudioImageConditioning", **{**sources, **values, **changes})


def _guidance(source: str = "load", **changes: Any) -> Node:
    return _node(
        "SVDStudioGuidance",
        **{"model": Link(source, "model"), "shape": "linear", "minimum": 1.0, "maximum": 1.5, **changes},
    )


def _sampler(model: str = "guidance", **changes: Any) -> Node:
    conditioning = {name: Link("condition", name) for name in ("positive", "negative", "latent")}
    return _node(
        "SVDStudioSampler",
        **{"model": Link(model, "model"), **conditioning, "seed": 0, "steps": 12, "cfg": 1.5, **changes},
    )


def _finish(condition: str = "condition") -> dict[str, Node]:
    decode = _node("SVDStudioDecode", vae=Link("load", "vae"), latent=Link("sampler", "latent"))
    save = _node(
        "SVDStudioSaveClip",
        images=Link("decode", "images"),
        fps=Link(condition, "fps"),
        frames=Link("decode", "frames"),
        filename="svd/%stem%_%date%",
        format="mp4",
    )
    return {"decode": decode, "save": save}


_PICTURE = _node("LoadImage", image="example.png")
_PLAIN = {
    "load": _load(),
    "picture": _PICTURE,
    "condition": _condition(),
    "guidance": _guidance(),
    "sampler": _sampler(),
    **_finish(),
}
_FIRST, _LAST = ("load", "picture"), ("save",)
_QUALITY = (
    "The embedded model makes soft clips of 64 x 64 pixels: enough to try the graph. For photographs put "
    "**svd_xt.safetensors** into `models/checkpoints`, choose it in *Load SVD Model*, and set width 1024, height 576, "
    "frames 25, fps 7, motion_bucket 127, steps 25, and maximum 3 in *SVD Guidance*."
)


_BETWEEN_QUALITY = (
    "The embedded model makes soft clips of 64 x 64 pixels. For photographs put **svd_xt.safetensors** into "
    "`models/checkpoints`, choose it in *Load SVD Model*, and set width 1024, height 576, frames 25, fps 7, "
    "motion_bucket 127 and steps 25."
)


def _with_camera(camera: Mapping[str, Node], last: str, *more: str, note: str, **after: Node) -> Example:
    """The plain graph with a camera, made by the nodes `camera`, put on its model."""
    put_on = {
        "preview": _node(
            "SVDStudioCameraPreview", image=Link("picture", "IMAGE"), camera=Link(last, "camera"), frames=14, fps=8
        ),
        # Picture and VAE are for moves no LoRA is there for.
        "apply": _node(
            "SVDStudioApplyCamera",
            model=Link("load", "model"),
            camera=Link(last, "camera"),
            image=Link("picture", "IMAGE"),
            vae=Link("load", "vae"),
            fps=8,
        ),
        "guidance": _guidance("apply"),
    }
    columns = {
        "Model and picture": _FIRST,
        "Camera": tuple(camera),
        "See it, use it": ("preview", "apply"),
        "Clip": ("guidance", "condition"),
        "Sample": ("sampler", "decode"),
        "Save": (*_LAST, *more),
    }
    nodes = {**_PLAIN, **camera, **put_on, **after}
    return Example(nodes, columns, f"{note}\n\n{_QUALITY}")


def _move(preset: str, amount: float, **more: Any) -> Node:
    return _node("SVDStudioCameraMove", preset=preset, amount=amount, **more)


def _between(inputs: Mapping[str, Any], pictures: tuple[str, ...], note: str) -> Example:
    """Pictures and what is made between them."""
    sources = {name: Link("load", name) for name in ("model", "clip_vision", "vae")}
    clip = {"width": 64, "height": 64, "frames": 14, "fps": 8, "motion_bucket": 48, "steps": 12}
    nodes = {
        "load": _load(),
        **dict.fromkeys(pictures, _PICTURE),
        "between": _node("SVDStudioInBetween", **{**sources, **clip, **inputs}),
        "save": _node(
            "SVDStudioSaveClip",
            images=Link("between", "images"),
            fps=Link("between", "fps"),
            filename="svd/%stem%_%date%",
            format="webp",
        ),
    }
    columns = {
        "Model": ("load",),
        "Pictures": pictures,
        "What lies between": ("between",),
        "Save": _LAST,
    }
    return Example(nodes, columns, f"{note}\n\n{_BETWEEN_QUALITY}")


_MEASURE = {
    "measure": _node(
        "SVDStudioMeasureCamera",
        images=Link("decode", "images"),
        fps=Link("condition", "fps"),
        camera=Link("move", "camera"),
    ),
    "plot": _node("PreviewImage", images=Link("measure", "plot")),
}

EXAMPLES: dict[str, Example] = {
    "image_to_video": Example(
        _PLAIN,
        {
            "Model and picture": _FIRST,
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": _LAST,
        },
        f"Choose a picture and press **Run**. {_QUALITY}",
    ),
    "portrait_photo": Example(
        _PLAIN
        | {"condition": _condition(framing="blur", motion_bucket=48), "sampler": _sampler(steps=12)}
        | {
            "what": _node("SVDStudioInfo", file=EMBEDDED),
        },
        {
            "Model and picture": (*_FIRST, "what"),
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": _LAST,
        },
        "For upright, square and odd pictures. With *size* on **auto** the clip gets the size nearest to the area of "
        "width x height and to the picture's own shape; *framing* says what happens to the rest, and *SVD Decode* cuts "
        f"a border away again. *What Is This File?* tells what a model file holds.\n\n{_QUALITY}",
    ),
    "with_comfyui_nodes": Example(
        {
            "load": _load(),
            "picture": _PICTURE,
            "condition": _node(
                "SVD_img2vid_Conditioning",
                clip_vision=Link("load", "clip_vision"),
                init_image=Link("picture", "IMAGE"),
                vae=Link("load", "vae"),
                width=64,
                height=64,
                video_frames=14,
                motion_bucket_id=48,
                fps=8,
                augmentation_level=0.0,
            ),
            "guidance": _node("VideoLinearCFGGuidance", model=Link("load", "model"), min_cfg=1.0),
            "sampler": _node(
                "KSampler",
                model=Link("guidance", "MODEL"),
                positive=Link("condition", "positive"),
                negative=Link("condition", "negative"),
                latent_image=Link("condition", "latent"),
                seed=0,
                steps=12,
                cfg=1.5,
                sampler_name="euler",
                scheduler="karras",
                denoise=1.0,
            ),
            "decode": _node("SVDStudioDecode", vae=Link("load", "vae"), latent=Link("sampler", "LATENT")),
            "save": _node(
                "SVDStudioSaveClip",
                images=Link("decode", "images"),
                fps=8.0,
                frames=Link("decode", "frames"),
                filename="svd/%stem%_%date%",
                format="webp",
            ),
        },
        {
            "Model and picture": _FIRST,
            "ComfyUI's own nodes": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": _LAST,
        },
        "MODEL, CLIP_VISION and VAE are ComfyUI's own sockets, so its conditioning, guidance and KSampler work on what "
        "*Load SVD Model* loads, and *SVD Sampler* and *SVD Decode* work on what *Image Only Checkpoint Loader* loads. "
        f"Exchange them one by one.\n\n{_QUALITY}",
    ),
    "orbit": Example(
        {
            "load": _load("sv3d_p.safetensors"),
            "picture": _PICTURE,
            "condition": _node(
                "SVDStudioOrbit",
                clip_vision=Link("load", "clip_vision"),
                vae=Link("load", "vae"),
                image=Link("picture", "IMAGE"),
                width=576,
                height=576,
                frames=21,
                elevation="0:10, 0.5:30, 1:10",
            ),
            "guidance": _guidance(shape="triangle", maximum=2.5),
            "sampler": _sampler(steps=20, cfg=2.5),
            **_finish(),
        },
        {
            "Model and picture": _FIRST,
            "Around the subject": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": _LAST,
        },
        "Needs **sv3d_p.safetensors** (huggingface.co/stabilityai/sv3d, under its own licence) in "
        "`models/checkpoints`; the embedded model cannot orbit. Best is one object in the middle of the picture, cut "
        "out: transparency becomes white. *elevation* rises to 30 degrees half-way round; leave *azimuth* empty for a "
        "full turn.",
    ),
    "camera_preset": _with_camera(
        {"move": _move("pan_left", 12.0)},
        "move",
        "measure",
        "plot",
        note="One camera move: choose the *preset* and how far it goes a second. *SVD Camera Preview* shows it without "
        "sampling; *SVD Measure Camera* says whether the finished clip does it.",
        **_MEASURE,
    ),
    "camera_pan_then_zoom": _with_camera(
        {
            "pan": _move("pan_right", 12.0, ease="in-out"),
            "zoom": _move("zoom_in", 15.0, ease="in"),
            "join": _node(
                "SVDStudioCameraJoin", camera_1=Link("pan", "camera"), camera_2=Link("zoom", "camera"), crossfade=4
            ),
            "keep": _node("SVDStudioSaveCamera", camera=Link("join", "camera"), name="pan then zoom"),
        },
        "join",
        note="First a pan, then a zoom, each with an ease, with four frames in which one slows down while the other "
        "gets going. *Save SVD Camera* keeps the result for other graphs.",
    ),
    "camera_saved": _with_camera(
        {
            "stored": _node("SVDStudioLoadCamera", name="pan then zoom"),
            "sway": _move("handheld", 6.0, shake_seed=1),
            "mix": _node("SVDStudioCameraMix", camera_1=Link("stored", "camera"), camera_2=Link("sway", "camera")),
        },
        "mix",
        note="A camera saved by the workflow *camera_pan_then_zoom* (run that one first), with the sway of a hand on "
        "top.",
    ),
    "camera_lora": _with_camera(
        {
            "lora": _node("SVDStudioLoadCameraLora", lora_name="my_pan_left.safetensors", strength=1.0),
            "what": _node("SVDStudioInfo", file="camera lora: my_pan_left.safetensors"),
        },
        "lora",
        note="A LoRA from disk as a camera. Put it into `models/svd_camera_loras` or `models/loras`, press R and "
        "choose it; every naming in use is read, and the node says how much of the file found its place.",
    ),
    "camera_hold": _with_camera(
        {"move": _move("static", 0.0)},
        "move",
        "measure",
        "plot",
        note="A camera on a tripod: things may move, the frame does not. *SVD Measure Camera* shows what is left.",
        **_MEASURE,
    ),
    "sweep": Example(
        _PLAIN
        | {
            "cameras": _node(
                "SVDStudioSweepAxis", name="camera", kind="camera", values="pan_left:12\npan_right:12\nzoom_in:15"
            ),
            "seeds": _node(
                "SVDStudioSweepAxis", name="seed", kind="seed", values="3 from 0", axis=Link("cameras", "axis")
            ),
            "plan": _node(
                "SVDStudioSweepPlan",
                axis=Link("seeds", "axis"),
                name="three cameras",
                combine="product",
                order="grouped",
            ),
            "camera": _node("SVDStudioSweepCell", plan=Link("plan", "plan"), axis="camera", cell=0),
            "seed": _node("SVDStudioSweepCell", plan=Link("plan", "plan"), axis="seed", cell=0),
            "apply": _node(
                "SVDStudioApplyCamera",
                model=Link("load", "model"),
                camera=Link("camera", "camera"),
                image=Link("picture", "IMAGE"),
                vae=Link("load", "vae"),
                fps=8,
            ),
            "guidance": _guidance("apply"),
            "sampler": _sampler(seed=Link("seed", "int"), steps=8),
            "sheet": _node("SVDStudioContactSheet", sweep="three cameras", plan=Link("plan", "plan")),
        },
        {
            "Model and picture": _FIRST,
            "What is varied": ("cameras", "seeds", "plan"),
            "In this cell": ("camera", "seed"),
            "Clip": ("apply", "guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": (*_LAST, "sheet"),
        },
        "Three cameras by three seeds. **Queue sweep** on *SVD Sweep Plan* renders all nine clips, one prompt each, "
        "into `output/svd_sweeps/three cameras`; the *Sweeps* tab shows them as they come. **Run** renders the cell "
        "that *cell* names in both *SVD Sweep Cell* nodes. More axes: pictures of a folder, motion, LoRA files, text."
        "\n\n"
        f"{_QUALITY}",
    ),
    "camera_in_words": Example(
        {
            "picture": _PICTURE,
            "words": _node("SVDStudioSweepValue", kind="camera", value="pan_left:12 + zoom_in:15:0-6"),
            "preview": _node(
                "SVDStudioCameraPreview",
                image=Link("picture", "IMAGE"),
                camera=Link("words", "camera"),
                frames=14,
                fps=8,
            ),
        },
        {"Camera in words": ("words", "picture"), "What it does": ("preview",)},
        "A camera written down, as sweeps do it: moves made together with + between, each PRESET:amount or "
        "PRESET:amount:first-last. Wire *camera* into *SVD Apply Camera* as that of *SVD Camera Move*.",
    ),
    "slow_motion": Example(
        _PLAIN
        | {
            "condition": _node("SVDStudioImageConditioning", **{**_PLAIN["condition"].inputs, "fps": 7}),
            "between": _node(
                "SVDStudioInterpolate",
                images=Link("decode", "images"),
                source_fps=Link("condition", "fps"),
                mode="fps",
                fps=24.0,
            ),
            "save": _node(
                "SVDStudioSaveClip",
                images=Link("between", "images"),
                fps=Link("between", "fps"),
                filename="svd/%stem%_smooth_%date%",
                format="mp4",
            ),
        },
        {
            "Model and picture": _FIRST,
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Frames between": ("between",),
            "Save": _LAST,
        },
        "From 7 frames a second to 24 by *SVD Interpolate*, each frame at its exact time, as long as before. For slow "
        "motion set *mode* to factor, disconnect *fps* of *Save Clip* and write a lower one. It needs no model and "
        f"works on any frames.\n\n{_QUALITY}",
    ),
    "slow_motion_rife": Example(
        _PLAIN
        | {
            "between": _node(
                "SVDStudioInterpolate",
                images=Link("decode", "images"),
                source_fps=Link("condition", "fps"),
                mode="factor",
                factor=4.0,
                engine_model=Link("rife", "engine_model"),
            ),
            "rife": _node("SVDStudioLoadInterpolator", interpolator_name="rife49.pth"),
            "save": _node(
                "SVDStudioSaveClip",
                images=Link("between", "images"),
                fps=Link("between", "fps"),
                filename="svd/%stem%_rife_%date%",
                format="mp4",
            ),
        },
        {
            "Model and picture": _FIRST,
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Frames between": ("rife", "between"),
            "Save": _LAST,
        },
        "The new frames are made by RIFE, from a file you have: put it into `models/frame_interpolation` and choose it "
        "in *Load SVD Interpolator*. Any version from 4.0 to 4.26 does. Without a file use the example *slow_motion*."
        f"\n\n{_QUALITY}",
    ),
    "perfect_loop": _between(
        {"start": Link("picture", "IMAGE"), "loop": True, "motion_bucket": 200, "keep_ends": False},
        ("picture",),
        "A clip that begins and ends at one picture and plays round without a seam: the model is run forwards from it "
        "and backwards to it. The picture is shown once. For a real checkpoint turn *keep_ends* on.",
    ),
    "two_photos": _between(
        {
            "start": Link("picture", "IMAGE"),
            "end": Link("last", "IMAGE"),
            "flow_start": 1.0,
            "keep_ends": False,
        },
        ("picture", "last"),
        "From one photo to another of the same scene, taken a second or two apart; more pictures in a batch make a "
        "chain. If the clip turns round half-way, choose mpd or a higher *fps*. For a real checkpoint turn *keep_ends* "
        "on, so that both photos are in the clip bit for bit.",
    ),
    "camera_train": Example(
        {
            "train": _node(
                "SVDStudioTrainCameraLora",
                model=EMBEDDED,
                preset="pan_left",
                learn_from="photos",
                folder="my_photos",
                name="my_%preset%",
                steps=400,
            ),
            "look": _node("PreviewImage", images=Link("train", "preview")),
        },
        {"Learn a move from photos": ("train",), "What it does": ("look",)},
        "Put 20 or more pictures into a folder of ComfyUI's `input` folder and write its name into *folder*. The LoRA "
        "goes to `models/svd_camera_loras`; press R, then use it with *SVD Camera Move* or *Load SVD Camera LoRA*. "
        "Cancel any time: the same settings go on where they were.",
    ),
}
