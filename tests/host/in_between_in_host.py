"""Runs inside the host's own Python (see `in_host.py`): SVD In-Between on both kinds of MODEL, against svd_core."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pack_in_host
from objects_in_host import difference
from rooms_in_host import hosts_model

FRAMES, STEPS, SEED = 4, 3, 7
WISH = {
    "loop": False,
    "method": "vibid",
    "flow_start": 0.0,
    "keep_ends": True,
    "size": "manual",
    "width": 64,
    "height": 64,
    "framing": "crop",
    "frames": FRAMES,
    "fps": 8,
    "motion_bucket": 100,
    "augmentation": 0.05,
    "seed": SEED,
    "steps": STEPS,
}
VARIANTS = {
    "vibid": {},
    "mpd": {"method": "mpd", "early": 0.7},
    "trf": {"method": "trf"},
    "guided": {"guidance": "linear:1:1.5"},
    "flow start": {"flow_start": 1.0},
    "loop": {"loop": True},
}


def results(folder: str) -> dict[str, Any]:
    """Numbers for `test_in_between_in_host.py`."""
    return {"ours": ours(folder), "hosts": hosts(folder), "chain": chain(folder), "camera": camera_refused(folder)}


def _module(name: str) -> Any:
    return import_module(f"{pack_in_host.NAME}.{name}")


def _pictures(count: int) -> Any:
    """Cuttings of one picture, a few pixels apart, so that motion leads from one to the next."""
    import torch

    wide = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(3))
    large = torch.nn.functional.interpolate(wide, (80, 96), mode="bicubic").clamp(0, 1).movedim(1, -1)
    return [large[:, 8 : 8 + 64, 5 * index : 5 * index + 64].contiguous() for index in range(count)]


def _parts(folder: str) -> Any:
    loaded = _module("nodes.host_model").load_for_host(Path(folder, "model.safetensors"), "float32")
    return _module("nodes.in_betweening").Parts(model=loaded.model, clip_vision=loaded.clip_vision, vae=loaded.vae)


def _made(parts: Any, images: Any, changes: dict[str, Any], prompt: Any = None, node: str | None = None) -> Any:
    import torch

    work = _module("nodes.in_betweening")
    with torch.inference_mode():
        return work.between_for_host(parts, images, work.Wish(**WISH | changes), prompt, node)


def ours(folder: str) -> dict[str, Any]:
    """The node on our MODEL against `in_between_clip` on the same file: relative difference of latents and frames."""
    core = _module("svd_core.weights.build").load_model(Path(folder, "model.safetensors"))
    run, settings = _module("svd_core.in_betweening.run"), _module("svd_core.in_betweening.settings")
    clip_settings, parts = _module("svd_core.settings").AnimateSettings, _parts(folder)
    found: dict[str, Any] = {}
    first: Any = None
    for name, changes in VARIANTS.items():
        images = _pictures(1 if name == "loop" else 2)
        made = _made(parts, images, changes)
        wish = WISH | changes
        clip = clip_settings(
            size=(64, 64), frames=FRAMES, steps=STEPS, guidance=wish.get("guidance"),
            **{key: wish[key] for key in ("fps", "motion_bucket", "augmentation", "seed")},
        )  # fmt: skip
        told = {"early": wish.get("early")}
        asked = settings.InBetweenSettings(
            clip=clip,
            bounded=run.bounded_with(wish["method"], told),
            flow_start=wish["flow_start"],
            loop=wish["loop"],
        )
        expected = run.in_between_clip(core, [image[0] for image in images], asked)
        scale = core.config.autoencoder.scale_factor
        found[name] = {
            "latents": difference(made.latent["samples"] * scale, expected.latents),
            "frames": difference(made.images, expected.frames.pixels),
            "summary": made.summary,
        }
        if name != "loop":
            first = made.latent["samples"] if first is None else first
            found[name]["effect"] = difference(made.latent["samples"], first)
    return found


def camera_refused(folder: str) -> str:
    """What is said to a model with a camera on it."""
    parts, camera = _parts(folder), _module("nodes.camera_start")
    turned = parts.model.clone()
    _module("nodes.host").put_around(turned, "OUTER_SAMPLE", camera.StartMoved(None, None).around_run)
    try:
        _made(dataclasses.replace(parts, model=turned), _pictures(2), {})
    except _module("svd_core.errors").InputError as error:
        return str(error)
    return ""


def hosts(folder: str) -> dict[str, float]:
    """The host's own class with its own network against svd_core's on the same weights and conditioning."""
    import torch
    from safetensors.torch import load_file

    names = ("config", "types", "unet", "conditioning", "in_betweening.gap", "in_betweening.chain", "sampling")
    config, types, unet, conditioning, gap, chain_room, sampling = (_module(f"svd_core.{name}") for name in names)
    work, clips, live = _module("nodes.in_betweening"), _module("nodes.clips"), _module("nodes.live")
    described = config.ModelConfig.from_json(Path(folder, "config.json").read_text(encoding="utf-8"))
    weights = load_file(f"{folder}/weights.safetensors")
    generator = torch.Generator().manual_seed(1)
    controls = types.MotionControls(8, 100, 0.05, SEED)
    values = conditioning.condition_values([controls, controls], None)
    told = types.ImageConditioning(
        context=torch.randn(2, 1, described.unet.context_dim, generator=generator),
        concat_latents=torch.randn(2, 4, 8, 8, generator=generator),
        vector=conditioning.assemble_vector(described.unet.vector, values, FRAMES),
        frames=FRAMES,
    )
    ends = torch.randn(2, 4, 8, 8, generator=generator)
    model, network = hosts_model(folder, weights), unet.VideoUNet(described.unet).eval()
    network.load_state_dict(weights)
    halves = [gap.one_of(told, side) for side in (0, 1)]
    ways = tuple(tuple(clips.as_conditioning(half, controls) for half in (one, one.unconditional())) for one in halves)
    facts = work._Told(ways=ways, ends=ends, start=None, level=None)
    found: dict[str, float] = {}
    for method in sampling.BETWEEN_METHODS:
        wish = work.Wish(**WISH | {"method": method, "guidance": "linear:1:2"})
        report = live.StepReport(SimpleNamespace(model=model.model), STEPS, 1, 8.0)
        with torch.inference_mode():
            made = work._sample(model, wish.bounded, wish, facts, chain_room.Gap(0, 0, 1, SEED), report, 0)
            scale = described.autoencoder.scale_factor
            directions = [
                sampling.Direction(
                    predict=gap.predict_for(network, halves[side], unet.FAST),
                    weights=torch.linspace(1, 2, FRAMES),
                    far=ends[1 - side] * scale,
                )
                for side in (0, 1)
            ]
            noise = sampling.draw([sampling.clip_generator(SEED, sampling.Stream.LATENT)], (FRAMES, 4, 8, 8))[0]
            sigmas = sampling.make_schedule("karras", STEPS, 0.002, 700.0)
            expected = sampling.sample_bounded(
                wish.bounded,
                *directions,
                sampling.pure_noise(noise, 700.0),
                sigmas,
                noise=sampling.solver_noise([SEED], noise.shape, torch.device("cpu")),
            )
        found[method] = difference(made * scale, expected)
    mark = _module("svd_core.weights.fingerprint").base_fingerprint
    found["fingerprint"] = float(mark(model.model.diffusion_model) != mark(network))
    return found


def chain(folder: str) -> dict[str, Any]:
    """Three pictures of two batches, one of another size; stopped in the second gap, and run again."""
    import torch

    work, parts = _module("nodes.in_betweening"), _parts(folder)
    first, second, third = _pictures(3)
    third = torch.cat([third.flip(1), third, third.flip(1)], 1)
    images = [torch.cat([first, second]), third]
    prompt = {"1": {"class_type": "Load", "inputs": {"file": "a"}}}
    prompt["2"] = {"class_type": "Between", "inputs": {"model": ["1", 0], "clip_vision": ["1", 1], "vae": ["1", 2]}}
    fitted = _module("svd_core.source_image").fit_image(third.movedim(-1, 1), 64, 64).movedim(1, -1)
    whole = _made(parts, images, {})
    stopped = _stopped_in_second_gap(lambda: _made(parts, images, {}, prompt, "2"))
    kept = list(Path(work.folder_paths.get_output_directory(), "svd_in_between").iterdir())
    changed = {**prompt, "1": {"class_type": "Load", "inputs": {"file": "b"}}}
    shelf, marks = work._shelf(
        parts,
        work.Wish(**WISH),
        dict.fromkeys(work.gaps(3, loop=False, seed=SEED), torch.zeros(2, 3, 8, 8)),
        prompt,
        "2",
    )
    other = work._shelf(parts, work.Wish(**WISH), dict.fromkeys(marks, torch.zeros(2, 3, 8, 8)), changed, "2")[1]
    again = _made(parts, images, {}, prompt, "2")
    shown = [
        bool((again.images[place] == picture[0]).all()) for place, picture in ((0, first), (3, second), (6, fitted))
    ]
    return {
        "frames": len(again.images),
        "stopped": stopped,
        "kept": len(kept),
        "left": shelf.folder.exists(),
        "summary": again.summary,
        "same": bool(torch.equal(again.latent["samples"], whole.latent["samples"])),
        "ends": shown,
        "told apart": all(marks[gap] != other[gap] for gap in marks),
        "facts": sorted(dataclasses.asdict(work.Wish(**WISH)).keys() - work.Wish(**WISH).facts.keys()),
    }


def _stopped_in_second_gap(run: Any) -> bool:
    """Press cancel when the bar shows the first step of the second gap; whether the host's own exception came."""
    import comfy.model_management
    import comfy.utils

    def press(done: int, total: int, image: Any, node_id: Any = None) -> None:
        if (done, total) == (STEPS + 1, 2 * STEPS):
            comfy.model_management.interrupt_current_processing(True)

    before = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(press)
    try:
        run()
    except comfy.model_management.InterruptProcessingException:
        return True
    finally:
        comfy.utils.set_progress_bar_global_hook(before)
    return False
