"""The camera on a MODEL: LoRAs as patches of the host's objects, told before every call where the run is.

Which moves there are is known when the node runs, how strong they are only when a clip is sampled: its length and
frame rate come with the conditioning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..svd_core.camera.adapter import Adapter, Placed, portion_at
from ..svd_core.camera.overrides import CrossOverride, overridden
from ..svd_core.errors import InputError, explain
from .clips import playback_rate
from .host import ModelPatcher, lora_patches, put_around
from .host_model import CLIP_FRAMES, HostSvd
from .host_unet import HostUNet

Make = Callable[[int, float], Sequence[Placed]]
"""LoRAs and strengths for clips of so many frames at so many a second; the LoRAs are always the same ones."""

WHOLE_RUN = "svd_studio_sigmas"
"""Entry of `transformer_options`: the schedule as the artist asked for it, where one run is made of several."""

_NETWORK = "diffusion_model."
_UNKNOWN_FPS = 8.0


class HostCamera:
    """The LoRAs of one Apply node on one MODEL and its clones; runs come one after another."""

    def __init__(self, network: torch.nn.Module, placed: Sequence[Placed], make: Make) -> None:
        """placed: the LoRAs on the network as they are before a clip is known."""
        self._make = make
        self._fps = _UNKNOWN_FPS
        self._tuned: tuple[int, float] | None = None
        self._levels: tuple[Tensor, list[float]] | None = None
        self._stepwise = any(item.steps != (0.0, 1.0) for item in placed)
        self.adapter = Adapter(network, placed, temporal_tokens=not isinstance(network, HostUNet))

    def put_on(self, patcher: ModelPatcher) -> None:
        """Patch the objects of `patcher`, beside whatever patches are there."""
        for path, branch in self.adapter.branches.items():
            name = f"{_NETWORK}{path}.forward"
            patcher.add_object_patch(name, overridden(self.adapter.layer(path), patcher.get_model_object(name), branch))
        for path in self.adapter.crossings:
            name = f"{_NETWORK}{path}.forward"
            before = patcher.get_model_object(name)
            if not isinstance(before, CrossOverride):
                patcher.add_object_patch(name, CrossOverride(self.adapter.layer(path), before))
        put_around(patcher, "OUTER_SAMPLE", self.around_run)
        put_around(patcher, "DIFFUSION_MODEL", self.around_call)

    def around_run(self, executor: Any, noise: Tensor, *more: Any, **named: Any) -> Tensor:  # noqa: ANN401 - host's
        """A sampler's run: the clip is known from here on, and nothing stays on the device afterwards."""
        entries = conditions(executor.class_obj.conds)
        self._fps = clip_rate(entries)
        self._tune(clip_frames(executor.class_obj.model_patcher, len(noise), entries))
        try:
            return executor(noise, *more, **named)
        finally:
            self._levels = None
            self.adapter.release()

    def around_call(self, executor: Any, x: Tensor, *more: Any, **named: Any) -> Tensor:  # noqa: ANN401 - host's
        """A call of the network, plain or with other nodes' patches: `x, timesteps, context, y, control, options`."""
        options = named.get("transformer_options") or (more[4] if len(more) > 4 else {})
        self._tune(named.get("num_video_frames", len(x)))
        self.adapter.at(self._portion(options) if self._stepwise else 0.0)
        return executor(x, *more, **named)

    def _tune(self, frames: int) -> None:
        if self._tuned == (frames, self._fps):
            return
        # An error must not leave the strengths of another clip behind as if they were this one's.
        self._tuned = None
        self.adapter.retune([item.strength for item in self._make(frames, self._fps)])
        self.adapter.check(frames)
        self._tuned = (frames, self._fps)

    def _portion(self, options: Mapping[str, Any]) -> float:
        """Step / steps of the whole run; 0 where a caller without a schedule asks the network."""
        sigmas, now = options.get(WHOLE_RUN, options.get("sample_sigmas")), options.get("sigmas")
        if sigmas is None or now is None:
            return 0.0
        if self._levels is None or self._levels[0] is not sigmas:
            self._levels = sigmas, sigmas[:-1].tolist()
        return portion_at(float(now.flatten()[0]), self._levels[1])


def clip_frames(patcher: ModelPatcher, rows: int, entries: Sequence[Mapping[str, Any]]) -> int:
    """Frames a clip has in a run on `rows` latents; the host's own class takes them all for one clip."""
    if not isinstance(patcher.model, HostSvd):
        return rows
    return next((entry[CLIP_FRAMES] for entry in entries if CLIP_FRAMES in entry), rows)


def clip_rate(entries: Sequence[Mapping[str, Any]]) -> float:
    """Frames a second by which amounts a second are meant."""
    return playback_rate([[None, entry] for entry in entries])


def bake(patcher: ModelPatcher, placed: Sequence[Placed]) -> None:
    """Add the LoRAs to the weights of `patcher` by the host's own way.

    Raises:
        InputError: a strength differs between frames or steps.
    """
    for item in placed:
        if isinstance(item.strength, Tensor | Sequence) or item.steps != (0.0, 1.0):
            which = "over the frames" if item.steps == (0.0, 1.0) else "over the steps"
            remedy = "Switch `bake` off: the runtime adapter gives every frame and step its own strength."
            raise InputError(explain(f"one strength of {item.lora.name} to bake", f"one that changes {which}", remedy))
    for item in placed:
        tensors: dict[str, Tensor] = {}
        for path, delta in item.lora.deltas.items():
            stem = _NETWORK + path
            tensors |= {f"{stem}.lora_A.weight": delta.down, f"{stem}.lora_B.weight": delta.up}
            tensors[f"{stem}.alpha"] = torch.tensor(delta.scale * delta.rank)
        targets = {_NETWORK + path: f"{_NETWORK}{path}.weight" for path in item.lora.deltas}
        patches = lora_patches(tensors, targets)
        taken = patcher.add_patches(patches, float(item.strength))
        if len(taken) != len(targets):
            remedy = "Load the model the LoRA was made for."
            raise InputError(explain(f"all {len(targets)} layers of {item.lora.name}", f"{len(taken)}", remedy))


def conditions(conds: Mapping[str, Sequence[Mapping[str, Any]]]) -> Sequence[Mapping[str, Any]]:
    """What the conditioning says; the half with the picture where there is one."""
    return conds.get("positive") or [entry for half in conds.values() for entry in half]
