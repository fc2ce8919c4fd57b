"""Runs inside the host's own Python (see `in_host.py`): the camera on our MODEL and on the host's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pack_in_host
from moved_in_host import moved
from objects_in_host import difference
from rooms_in_host import hosts_model

FRAMES, STEPS = 4, 2
RAMP = (0.0, 0.4, 0.8, 1.2)
# Which LoRA, how strong, and how many tokens the context has.
AGREEMENT = (("camera", RAMP, 1), ("camera", RAMP, 3), ("everywhere", RAMP, 1), ("everywhere", 0.7, 3))


def results(folder: str) -> dict[str, Any]:
    """Numbers for `test_camera_in_host.py`."""
    bench = Bench(folder)
    found: dict[str, Any] = {"networks": agreement(bench), "paths": paths(bench)}
    for name, model in bench.models.items():
        found[name] = {
            "zero": zero(bench, model),
            "residue": residue(bench, model),
            "lengths": lengths(bench, model),
            "steps": steps(bench, model),
            "weights": weights(bench, model),
            "partial": partial(bench, model),
        }
    found["clips"] = clips(bench)
    found["refused"] = refused(bench)
    found["node"] = node(bench)
    found["moved"] = moved()
    return found


class Bench:
    """Both models with the same weights, and a way to sample them with a camera."""

    def __init__(self, folder: str) -> None:
        from safetensors.torch import load_file

        self.host = import_module(f"{pack_in_host.NAME}.nodes.host_camera")
        self.clip_frames = import_module(f"{pack_in_host.NAME}.nodes.host_model").CLIP_FRAMES
        self.placed = import_module(f"{pack_in_host.NAME}.svd_core.camera.adapter").Placed
        self.folder = folder
        tensors = load_file(f"{folder}/weights.safetensors")
        self.models = {"ours": self._ours(tensors), "theirs": hosts_model(folder, tensors)}

    def _ours(self, tensors: dict[str, Any]) -> Any:
        config = import_module(f"{pack_in_host.NAME}.svd_core.config").ModelConfig
        config = config.from_json(Path(self.folder, "config.json").read_text(encoding="utf-8"))
        unet = SimpleNamespace(state_dict=lambda: tensors)
        make = import_module(f"{pack_in_host.NAME}.nodes.host_model").host_model
        import torch

        return make(SimpleNamespace(unet=unet, config=config), torch.float32)

    def lora(self, name: str = "camera") -> Any:
        from safetensors.torch import load_file

        module = import_module(f"{pack_in_host.NAME}.svd_core.camera.lora")
        tensors = load_file(f"{self.folder}/{name}.safetensors")
        paths = sorted({key.rpartition(".")[0] for key in tensors})
        deltas = {path: module.LowRank(tensors[f"{path}.down"], tensors[f"{path}.up"], 0.5) for path in paths}
        return module.CameraLora(
            name=name, deltas=deltas, dialect="ours", rank=3, alpha=None, total=len(deltas), no_effect=0
        )

    def with_camera(self, model: Any, placed: Sequence[Any], make: Callable[[int, float], Any] | None = None) -> Any:
        """A clone with the LoRAs on it, strengths as they are unless `make` says them for the clip."""
        patched = model.clone()
        camera = self.host.HostCamera(model.model.diffusion_model, placed, make or (lambda frames, fps: placed))
        camera.put_on(patched)
        return patched

    def run(self, model: Any, frames: int = FRAMES, clips: int = 1, tokens: int = 1, **more: Any) -> Any:
        """A guided clip by the host's sampler."""
        import comfy.sample
        import torch

        generator = torch.Generator().manual_seed(frames)
        noise = torch.randn(clips * frames, 4, 4, 4, generator=generator)
        context = torch.randn(clips, tokens, 64, generator=generator)
        concat = torch.randn(clips, 4, 4, 4, generator=generator)
        pick = more.pop("pick", slice(None))
        if clips > 1:
            more[self.clip_frames] = frames
        context, concat = context[pick], concat[pick]
        noise = noise.view(clips, frames, 4, 4, 4)[pick].flatten(0, 1)
        callback = more.pop("callback", None)
        values = {"motion_bucket_id": 100, "fps": 8, "augmentation_level": 0.02, **more}
        positive = [[context, {**values, "concat_latent_image": concat}]]
        negative = [[torch.zeros_like(context), {**values, "concat_latent_image": torch.zeros_like(concat)}]]
        with torch.inference_mode():
            return comfy.sample.sample(
                model,
                noise,
                STEPS,
                2.0,
                "euler",
                "karras",
                positive,
                negative,
                torch.zeros_like(noise),
                disable_pbar=True,
                callback=callback,
            )


def agreement(bench: Bench) -> dict[str, Any]:
    """Ours against the host's network by LoRA and strength, and what the camera changes at all."""
    found: dict[str, Any] = {}
    plain = {tokens: bench.run(bench.models["theirs"], tokens=tokens) for tokens in (1, 3)}
    for layers, strength, tokens in AGREEMENT:
        placed = [bench.placed(bench.lora(layers), strength)]
        ours, theirs = (bench.run(bench.with_camera(m, placed), tokens=tokens) for m in bench.models.values())
        found[f"{layers}, {strength}, {tokens}"] = [difference(ours, theirs), difference(theirs, plain[tokens])]
    return found


def paths(bench: Bench) -> dict[str, float]:
    """Our network with patches that change nothing, which make it run as the host's does, against itself without."""
    placed = [bench.placed(bench.lora("everywhere"), RAMP)]
    expected = bench.run(bench.with_camera(bench.models["ours"], placed))
    found: dict[str, float] = {}
    for name in ("attn1_output_patch", "attn2_output_patch", "attn2_patch"):
        patched = bench.with_camera(bench.models["ours"], placed)
        patched.set_model_patch((lambda *given: given[:-1]) if name == "attn2_patch" else (lambda n, o: n), name)
        found[name] = difference(bench.run(patched), expected)
    return found


def zero(bench: Bench, model: Any) -> bool:
    """Whether strength 0 gives the same bits."""
    import torch

    placed = [bench.placed(bench.lora("everywhere"), 0.0), bench.placed(bench.lora(), (0.0,) * FRAMES)]
    return torch.equal(bench.run(bench.with_camera(model, placed)), bench.run(model))


def residue(bench: Bench, model: Any) -> dict[str, Any]:
    """Clones with and without the camera in turn, stacked, cancelled: what stays behind, by bit."""
    import torch

    lora = bench.lora("everywhere")
    plain = bench.run(model)
    once = bench.with_camera(model, [bench.placed(lora, RAMP)])
    first = bench.run(once)
    found: dict[str, Any] = {"plain after camera": torch.equal(bench.run(model), plain)}
    twice = bench.with_camera(once, [bench.placed(lora, RAMP)])
    double = bench.with_camera(model, [bench.placed(lora, [2 * value for value in RAMP])])
    found["stacked is doubled"] = difference(bench.run(twice), bench.run(double))
    found["stacked is another"] = difference(bench.run(twice), first)
    found["camera again"] = torch.equal(bench.run(once), first)
    found["clone of it"] = torch.equal(bench.run(once.clone()), first)
    other = bench.with_camera(model, [bench.placed(lora, 0.3)])
    bench.run(other)
    found["other strength between"] = torch.equal(bench.run(once), first)

    def stop(step: int, *_: object) -> None:
        if step == 0:
            raise InterruptedError

    try:
        bench.run(once, callback=stop)
        found["cancelled"] = False
    except InterruptedError:
        found["cancelled"] = True
    found["plain after cancelling"] = torch.equal(bench.run(model), plain)
    found["camera after cancelling"] = torch.equal(bench.run(once), first)
    once.detach()
    found["plain after unloading"] = torch.equal(bench.run(model), plain)
    return found


def lengths(bench: Bench, model: Any) -> dict[str, Any]:
    """Clips of different length on one MODEL: strengths are made for each, the rate comes with the conditioning."""
    import torch

    asked: list[tuple[int, float]] = []

    def make(frames: int, fps: float) -> Any:
        asked.append((frames, fps))
        return [bench.placed(lora, torch.linspace(0, fps / 8, frames))]

    lora = bench.lora()
    camera = bench.with_camera(model, [bench.placed(lora, 1.0)], make)
    first = bench.run(camera)
    bench.run(camera, frames=6)
    again = bench.run(camera)
    faster = bench.run(camera, fps=16)
    fixed = bench.with_camera(model, [bench.placed(lora, torch.linspace(0, 1, FRAMES))])
    return {
        "asked": asked,
        "again": torch.equal(again, first),
        "fixed": torch.equal(bench.run(fixed), first),
        "faster": difference(faster, first),
    }


def steps(bench: Bench, model: Any) -> dict[str, Any]:
    """Two halves of the steps are the whole, each for itself is not; hoisted attention is among the layers."""
    lora = bench.lora("everywhere")

    def sampled(*ranges: tuple[float, float]) -> Any:
        return bench.run(bench.with_camera(model, [bench.placed(lora, RAMP, one) for one in ranges]))

    whole = sampled((0.0, 1.0))
    return {
        "halves": difference(sampled((0.0, 0.5), (0.5, 1.0)), whole),
        "early": difference(sampled((0.0, 0.5)), whole),
        "late": difference(sampled((0.5, 1.0)), whole),
    }


def weights(bench: Bench, model: Any) -> dict[str, float]:
    """With another LoRA in the weights of the same layers: the runtime path against the baked one."""
    placed = [bench.placed(bench.lora(), 0.3)]
    merged = model.clone()
    bench.host.bake(merged, [bench.placed(bench.lora("everywhere"), 0.4)])
    baked = merged.clone()
    bench.host.bake(baked, placed)
    expected = bench.run(baked)
    return {
        "baked": difference(bench.run(bench.with_camera(merged, placed)), expected),
        "camera": difference(bench.run(merged), expected),
        "other": difference(bench.run(bench.with_camera(model, placed)), expected),
    }


def partial(bench: Bench, model: Any) -> dict[str, Any]:
    """Half of the weights loaded, the others cast on use and patched there."""
    import torch

    merged = model.clone()
    bench.host.bake(merged, [bench.placed(bench.lora("everywhere"), 0.4)])
    camera = bench.with_camera(merged, [bench.placed(bench.lora(), RAMP)])
    whole = bench.run(camera)
    camera.detach()
    camera.patch_model(device_to=camera.load_device, lowvram_model_memory=camera.model_size() // 2)
    found = {"is partial": bool(camera.model.model_lowvram)}
    with torch.inference_mode():
        found["difference"] = difference(bench.run(camera), whole)
    camera.detach()
    return found


def clips(bench: Bench) -> float:
    """Two clips in one latent batch on our MODEL against each alone."""
    import torch

    camera = bench.with_camera(bench.models["ours"], [bench.placed(bench.lora("everywhere"), RAMP)])
    both = bench.run(camera, clips=2)
    alone = [bench.run(camera, clips=2, pick=slice(index, index + 1)) for index in (0, 1)]
    return difference(both, torch.cat(alone))


def refused(bench: Bench) -> dict[str, str]:
    """What is said to what cannot be."""
    lora = bench.lora()
    tries: dict[str, Callable[[], object]] = {
        "bake a ramp": lambda: bench.host.bake(bench.models["ours"].clone(), [bench.placed(lora, RAMP)]),
        "bake steps": lambda: bench.host.bake(bench.models["ours"].clone(), [bench.placed(lora, 1.0, (0.0, 0.5))]),
        "length": lambda: bench.run(bench.with_camera(bench.models["theirs"], [bench.placed(lora, RAMP)]), frames=8),
    }
    said: dict[str, str] = {}
    for name, attempt in tries.items():
        try:
            attempt()
            said[name] = ""
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said


def node(bench: Bench) -> dict[str, Any]:
    """Apply Camera on both models: a LoRA by hand, one found by its tags, baked, and what it says."""
    import dataclasses

    pack = pack_in_host.NAME
    apply = import_module(f"{pack}.nodes").SVDStudioApplyCamera.execute
    move = import_module(f"{pack}.svd_core.camera.move")
    lora, weights = bench.lora(), bench.models["ours"].get_key_patches("diffusion_model.")
    network = {name.removeprefix("diffusion_model."): entry[0][0] for name, entry in weights.items()}
    base = import_module(f"{pack}.svd_core.weights.fingerprint").base_fingerprint(network)
    calibration = import_module(f"{pack}.svd_core.camera.lora").Calibration(points=((0.0, 0.0), (1.0, 8.0)), fps=8.0)
    tagged = dataclasses.replace(lora, preset="pan_left", base=base, calibration=calibration)
    folder = Path(bench.folder, "models", "loras", "mine")
    folder.mkdir(parents=True)
    import_module(f"{pack}.svd_core.weights.lora").save_camera_lora(tagged, folder / "left.safetensors")
    (folder / "broken.safetensors").write_bytes(b"nothing")

    def stack(**entries: Any) -> Any:
        return move.CameraStack((move.Move(**entries),))

    def said(*given: Any) -> str:
        try:
            return apply(*given).result[1]
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    ours = bench.models["ours"]
    left = stack(preset="pan_left", amount=8.0)
    found: dict[str, Any] = {"summary": said(ours, left, False, 8), "nothing": said(ours, move.CameraStack(), False, 8)}
    found["no lora"] = said(ours, stack(preset="roll_cw"), False, 8)
    found["bake a range"] = said(ours, stack(lora=lora, frames=(0, 1)), True, 8)
    expected = bench.run(bench.with_camera(ours, [bench.placed(lora, 1.0)]))
    for name, model in bench.models.items():
        applied = apply(model, left, False, 8).result[0]
        baked = apply(model, left, True, 8).result[0]
        found[name] = {
            "found": difference(bench.run(applied), expected),
            "by hand": difference(bench.run(apply(model, stack(lora=lora), False, 8).result[0]), expected),
            "baked": difference(bench.run(baked), expected),
            "twice": difference(bench.run(apply(applied, stack(lora=lora, amount=-1.0), False, 8).result[0]), expected),
            "plain": difference(bench.run(model), expected),
            "loaded with it": apply(baked, left, False, 8).result[1],
        }
    try:
        bench.run(apply(ours, left, True, 8).result[0], fps=12)
        found["another rate"] = ""
    except Exception as error:
        found["another rate"] = str(error)
    return found
