"""A camera and a MODEL: which LoRAs carry the moves, and how they are put on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..svd_core.camera.adapter import Placed
from ..svd_core.camera.stack import CameraStack, Plan, resolve
from ..svd_core.errors import InputError, explain
from ..svd_core.weights.camera_files import CameraFiles
from ..svd_core.weights.fingerprint import base_fingerprint
from .camera_start import Source, StartMoved
from .catalog import lora_folders
from .host import ModelPatcher, put_around
from .host_camera import HostCamera, bake, clip_rate, conditions
from .sampling import check_family

_NETWORK = "diffusion_model."
# Which LoRAs there are does not depend on the clip, so long as every frame range fits in.
_LONG_CLIP = 2048
# What SVD was trained on: where the camera is by then is told before a clip is known.
_USUAL_CLIP = 25


@dataclass(frozen=True, slots=True)
class Camera:
    """A stack on one base model, ready for clips of any length."""

    stack: CameraStack
    base: str
    files: CameraFiles
    depth: bool

    def plan(self, frames: int, fps: float) -> Plan:
        """What carries the moves of a clip."""
        judged = _USUAL_CLIP if frames == _LONG_CLIP else None
        return resolve(self.stack, frames, fps, self.base, self.files, depth=self.depth, judged=judged)

    def placed(self, frames: int, fps: float) -> Sequence[Placed]:
        """The LoRAs and their strengths."""
        return self.plan(frames, fps).placed


def apply_camera(
    model: ModelPatcher, stack: CameraStack, *, fps: int, baked: bool, source: Source | None
) -> tuple[ModelPatcher, str]:
    """A clone of the model with the camera on it, and a line for each move.

    fps: the rate summary and baked strengths are for. source: for moves no LoRA is for.

    Raises:
        InputError: no SVD model, a move no LoRA is for and no source, a LoRA of another network, or strengths that
            cannot be baked.
    """
    check_family(model)
    depth = source is not None and source.depth is not None
    camera = Camera(stack, base_fingerprint(_weights(model)), CameraFiles(lora_folders()), depth)
    plan = camera.plan(_LONG_CLIP, fps)
    applied = model.clone()
    notes = list(plan.notes) or ["No moves: the model is as it was."]
    if plan.approximate:
        if source is None:
            remedy = "Connect `image` and `vae`, or load a camera LoRA for this model into the move."
            found = f"none. {' '.join(notes).rstrip('.')}"
            raise InputError(explain("the source picture for moves without a LoRA", found, remedy))
        put_around(applied, "OUTER_SAMPLE", StartMoved(source, camera.plan).around_run)
    if baked:
        bake(applied, plan.placed)
        put_around(applied, "OUTER_SAMPLE", _Baked(camera, plan.placed, fps).around_run)
        notes.append(f"Baked into the weights for clips of {fps} frames a second.")
    elif plan.placed:
        on_model = HostCamera(model.model.diffusion_model, plan.placed, camera.placed)
        on_model.put_on(applied)
        notes += on_model.adapter.notes
    return applied, "\n".join(notes)


@dataclass(frozen=True, slots=True)
class _Baked:
    """Watches that clips have the rate their strengths were baked for."""

    camera: Camera
    placed: Sequence[Placed]
    fps: int

    def around_run(self, executor: Any, noise: Tensor, *more: Any, **named: Any) -> Tensor:  # noqa: ANN401 - host's
        rate = clip_rate(conditions(executor.class_obj.conds))
        wanted = [item.strength for item in self.camera.placed(_LONG_CLIP, rate)]
        if wanted != [item.strength for item in self.placed]:
            remedy = "Set `fps` of SVD Apply Camera to the conditioning's, or switch `bake` off."
            raise InputError(explain(f"a clip of {self.fps} frames a second, as baked", f"{rate:g}", remedy))
        return executor(noise, *more, **named)


def _weights(model: ModelPatcher) -> dict[str, Tensor]:
    """The network's tensors as loaded, whatever LoRAs are in them at the moment."""
    entries = model.get_key_patches(_NETWORK)
    return {name.removeprefix(_NETWORK): patches[0][0] for name, patches in entries.items()}
