"""What the example workflows contain. `make_examples.py` builds them in the real page and saves what it saves."""

from __future__ import annotations

from tests.browser.example_parts import (
    EMBEDDED,
    FIRST,
    LAST,
    MEASURE,
    PICTURE,
    PLAIN,
    QUALITY,
    Example,
    Link,
    between,
    condition,
    finish,
    guidance,
    load,
    move,
    node,
    sampler,
    save_between,
    with_camera,
)

EXAMPLES: dict[str, Example] = {
    "image_to_video": Example(
        PLAIN,
        {
            "Model and picture": FIRST,
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": LAST,
        },
        f"Choose a picture and press **Run**. {QUALITY}",
    ),
    "portrait_photo": Example(
        PLAIN
        | {"condition": condition(framing="blur", motion_bucket=90), "sampler": sampler(steps=12)}
        | {
            "what": node("SVDStudioInfo", file=EMBEDDED),
        },
        {
            "Model and picture": (*FIRST, "what"),
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": LAST,
        },
        "For upright, square and odd pictures. With *size* on **auto** the clip gets the size nearest to the area of "
        "width x height and to the picture's own shape; *framing* says what happens to the rest, and *SVD Decode* cuts "
        f"a border away again. *What Is This File?* tells what a model file holds.\n\n{QUALITY}",
    ),
    "with_comfyui_nodes": Example(
        {
            "load": load(),
            "picture": PICTURE,
            "condition": node(
                "SVD_img2vid_Conditioning",
                clip_vision=Link("load", "clip_vision"),
                init_image=Link("picture", "IMAGE"),
                vae=Link("load", "vae"),
                width=64,
                height=64,
                video_frames=14,
                motion_bucket_id=90,
                fps=8,
                augmentation_level=0.0,
            ),
            "guidance": node("VideoLinearCFGGuidance", model=Link("load", "model"), min_cfg=1.0),
            "sampler": node(
                "KSampler",
                model=Link("guidance", "MODEL"),
                positive=Link("condition", "positive"),
                negative=Link("condition", "negative"),
                latent_image=Link("condition", "latent"),
                seed=0,
                steps=12,
                cfg=2.0,
                sampler_name="euler",
                scheduler="karras",
                denoise=1.0,
            ),
            "decode": node("SVDStudioDecode", vae=Link("load", "vae"), latent=Link("sampler", "LATENT")),
            "save": node(
                "SVDStudioSaveClip",
                images=Link("decode", "images"),
                fps=8.0,
                frames=Link("decode", "frames"),
                filename="svd/%stem%_%date%",
                format="webp",
            ),
        },
        {
            "Model and picture": FIRST,
            "ComfyUI's own nodes": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": LAST,
        },
        "MODEL, CLIP_VISION and VAE are ComfyUI's own sockets, so its conditioning, guidance and KSampler work on what "
        "*Load SVD Model* loads, and *SVD Sampler* and *SVD Decode* work on what *Image Only Checkpoint Loader* loads. "
        f"Exchange them one by one.\n\n{QUALITY}",
    ),
    "orbit": Example(
        {
            "load": load("sv3d_p.safetensors"),
            "picture": PICTURE,
            "condition": node(
                "SVDStudioOrbit",
                clip_vision=Link("load", "clip_vision"),
                vae=Link("load", "vae"),
                image=Link("picture", "IMAGE"),
                width=576,
                height=576,
                frames=21,
                elevation="0:10, 0.5:30, 1:10",
            ),
            "guidance": guidance(shape="triangle", maximum=2.5),
            "sampler": sampler(steps=20, cfg=2.5),
            **finish(),
        },
        {
            "Model and picture": FIRST,
            "Around the subject": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": LAST,
        },
        "Needs **sv3d_p.safetensors** (huggingface.co/stabilityai/sv3d, under its own licence) in "
        "`models/checkpoints`; the embedded model cannot orbit. Best is one object in the middle of the picture, cut "
        "out: transparency becomes white. *elevation* rises to 30 degrees half-way round; leave *azimuth* empty for a "
        "full turn.",
    ),
    "camera_preset": with_camera(
        {"move": move("pan_left", 7.0)},
        "move",
        "measure",
        "plot",
        note="One camera move: choose the *preset* and how far it goes a second. *SVD Camera Preview* shows it without "
        "sampling; *SVD Measure Camera* says whether the finished clip does it.",
        **MEASURE,
    ),
    "camera_pan_then_zoom": with_camera(
        {
            "pan": move("pan_right", 7.0, ease="in-out"),
            "zoom": move("zoom_in", 12.0, ease="in"),
            "join": node(
                "SVDStudioCameraJoin", camera_1=Link("pan", "camera"), camera_2=Link("zoom", "camera"), crossfade=4
            ),
            "keep": node("SVDStudioSaveCamera", camera=Link("join", "camera"), name="pan then zoom"),
        },
        "join",
        note="First a pan, then a zoom, each with an ease, with four frames in which one slows down while the other "
        "gets going. *Save SVD Camera* keeps the result for other graphs.",
    ),
    "camera_saved": with_camera(
        {
            "stored": node("SVDStudioLoadCamera", name="pan then zoom"),
            "sway": move("handheld", 6.0, shake_seed=1),
            "mix": node("SVDStudioCameraMix", camera_1=Link("stored", "camera"), camera_2=Link("sway", "camera")),
        },
        "mix",
        note="A camera saved by the workflow *camera_pan_then_zoom* (run that one first), with the sway of a hand on "
        "top.",
    ),
    "camera_lora": with_camera(
        {
            "lora": node("SVDStudioLoadCameraLora", lora_name="my_pan_left.safetensors", strength=1.0),
            "what": node("SVDStudioInfo", file="camera lora: my_pan_left.safetensors"),
        },
        "lora",
        note="A LoRA from disk as a camera. Put it into `models/svd_camera_loras` or `models/loras`, press R and "
        "choose it; every naming in use is read, and the node says how much of the file found its place.",
    ),
    "camera_hold": with_camera(
        {"move": move("static", 0.0)},
        "move",
        "measure",
        "plot",
        note="A camera on a tripod: things may move, the frame does not. *SVD Measure Camera* shows what is left.",
        **MEASURE,
    ),
    "sweep": Example(
        PLAIN
        | {
            "cameras": node(
                "SVDStudioSweepAxis", name="camera", kind="camera", values="pan_left:8\npan_right:8\nzoom_in:12"
            ),
            "seeds": node(
                "SVDStudioSweepAxis", name="seed", kind="seed", values="3 from 0", axis=Link("cameras", "axis")
            ),
            "plan": node(
                "SVDStudioSweepPlan",
                axis=Link("seeds", "axis"),
                name="three cameras",
                combine="product",
                order="grouped",
            ),
            "camera": node("SVDStudioSweepCell", plan=Link("plan", "plan"), axis="camera", cell=0),
            "seed": node("SVDStudioSweepCell", plan=Link("plan", "plan"), axis="seed", cell=0),
            "apply": node(
                "SVDStudioApplyCamera",
                model=Link("load", "model"),
                camera=Link("camera", "camera"),
                image=Link("picture", "IMAGE"),
                vae=Link("load", "vae"),
                fps=8,
            ),
            "condition": condition(motion_bucket=48),
            "guidance": guidance("apply"),
            "sampler": sampler(seed=Link("seed", "int")),
            "sheet": node("SVDStudioContactSheet", sweep="three cameras", plan=Link("plan", "plan")),
        },
        {
            "Model and picture": FIRST,
            "What is varied": ("cameras", "seeds", "plan"),
            "In this cell": ("camera", "seed"),
            "Clip": ("apply", "guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Save": (*LAST, "sheet"),
        },
        "Three cameras by three seeds. **Queue sweep** on *SVD Sweep Plan* renders all nine clips, one prompt each, "
        "into `output/svd_sweeps/three cameras`; the *Sweeps* tab shows them as they come. **Run** renders the cell "
        "that *cell* names in both *SVD Sweep Cell* nodes. More axes: pictures of a folder, motion, LoRA files, text."
        "\n\n"
        f"{QUALITY}",
    ),
    "camera_in_words": Example(
        {
            "picture": PICTURE,
            "words": node("SVDStudioSweepValue", kind="camera", value="pan_left:12 + zoom_in:15:0-6"),
            "preview": node(
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
        PLAIN
        | {
            "condition": node("SVDStudioImageConditioning", **{**PLAIN["condition"].inputs, "fps": 7}),
            "between": node(
                "SVDStudioInterpolate",
                images=Link("decode", "images"),
                source_fps=Link("condition", "fps"),
                mode="fps",
                fps=24.0,
            ),
            "save": save_between("svd/%stem%_smooth_%date%", "mp4"),
        },
        {
            "Model and picture": FIRST,
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Frames between": ("between",),
            "Save": LAST,
        },
        "From 7 frames a second to 24 by *SVD Interpolate*, each frame at its exact time, as long as before. For slow "
        "motion set *mode* to factor, disconnect *fps* of *Save Clip* and write a lower one. It needs no model and "
        f"works on any frames.\n\n{QUALITY}",
    ),
    "slow_motion_rife": Example(
        PLAIN
        | {
            "between": node(
                "SVDStudioInterpolate",
                images=Link("decode", "images"),
                source_fps=Link("condition", "fps"),
                mode="factor",
                factor=4.0,
                engine_model=Link("rife", "engine_model"),
            ),
            "rife": node("SVDStudioLoadInterpolator", interpolator_name="rife49.pth"),
            "save": node(
                "SVDStudioSaveClip",
                images=Link("between", "images"),
                fps=Link("between", "fps"),
                filename="svd/%stem%_rife_%date%",
                format="mp4",
            ),
        },
        {
            "Model and picture": FIRST,
            "What moves, and how": ("guidance", "condition"),
            "Sample": ("sampler", "decode"),
            "Frames between": ("rife", "between"),
            "Save": LAST,
        },
        "The new frames are made by RIFE, from a file you have: put it into `models/frame_interpolation` and choose it "
        "in *Load SVD Interpolator*. Any version from 4.0 to 4.26 does. Without a file use the example *slow_motion*."
        f"\n\n{QUALITY}",
    ),
    "perfect_loop": between(
        {"start": Link("picture", "IMAGE"), "loop": True, "motion_bucket": 200, "keep_ends": False},
        ("picture",),
        "A clip that begins and ends at one picture and plays round without a seam: the model is run forwards from it "
        "and backwards to it. The picture is shown once. For a real checkpoint turn *keep_ends* on.",
    ),
    "two_photos": between(
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
            "train": node(
                "SVDStudioTrainCameraLora",
                model=EMBEDDED,
                preset="pan_left",
                learn_from="photos",
                folder="my_photos",
                name="my_%preset%",
                steps=400,
            ),
            "look": node("PreviewImage", images=Link("train", "preview")),
        },
        {"Learn a move from photos": ("train",), "What it does": ("look",)},
        "Put 20 or more pictures into a folder of ComfyUI's `input` folder and write its name into *folder*. The LoRA "
        "goes to `models/svd_camera_loras`; press R, then use it with *SVD Camera Move* or *Load SVD Camera LoRA*. "
        "Cancel any time: the same settings go on where they were.",
    ),
}
