"""The work of SVD In-Between: svd_core's bounded samplers inside the host's guider, gap by gap, decoded once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..svd_core.config import SV3D_P, SV3D_U, SVD, ModelConfig
from ..svd_core.errors import InputError, explain
from ..svd_core.framing import Framed
from ..svd_core.in_betweening.chain import Gap, Shelf, gaps, joined, mark_of, put_back
from ..svd_core.in_betweening.flow_start import check_freedom, flow_start
from ..svd_core.in_betweening.gap import UNRELATED, one_of
from ..svd_core.in_betweening.run import bounded_with, decode_joined
from ..svd_core.sampling import (
    Bounded,
    Direction,
    GuidanceCurve,
    clip_generator,
    draw,
    parse_guidance,
    sample_bounded,
    solver_noise,
    starting_at,
)
from ..svd_core.sampling.noise import Stream
from ..svd_core.types import MotionControls, StepInfo
from ..svd_core.weights.fingerprint import base_fingerprint
from .clips import Conditioning, Latent, as_conditioning
from .conditioning import Wanted, conditioned, for_host, framed_picture, motion_lines
from .decoding import decode_for_host
from .host import VAE, ModelPatcher, both_ways_sampling, check_interrupt, folder_paths, two_predictions, wrappers_on
from .host_clip_vision import HostClipVision
from .host_model import CLIP_FRAMES
from .live import StepReport
from .sampling import Sampling, check_family, sigmas_for

_FOLDER = "svd_in_between"
_OVERLAP = 4
_WAYS = ("forwards", "backwards")
_ORBITS = (SV3D_U.unet.vector_dim, SV3D_P.unet.vector_dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The checkpoint."""

    model: ModelPatcher
    clip_vision: HostClipVision
    vae: VAE


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The widgets."""

    loop: bool
    method: str
    flow_start: float
    keep_ends: bool
    size: str
    width: int
    height: int
    framing: str
    frames: int
    fps: int
    motion_bucket: int
    augmentation: float
    seed: int
    steps: int
    schedule: str = "karras"
    guidance: str = ""
    early: float = 0.4
    renoise: int = 1
    distillation: float = 0.5
    decode_chunk: int = 8

    @property
    def bounded(self) -> Bounded:
        """The method and what it was told."""
        told = {"early": self.early, "renoise": self.renoise, "distillation": self.distillation}
        return bounded_with(self.method, told)

    @property
    def facts(self) -> dict[str, object]:
        """What a gap's latents depend on besides pictures and model."""
        outside = ("loop", "keep_ends", "seed", "size", "width", "height", "framing", "decode_chunk")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in outside}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the node hands out."""

    images: Tensor
    fps: float
    latent: Latent
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a gap's sampling needs: conditioning of both ways, ends `2 c h w` and start `t c h w`, both unscaled."""

    ways: tuple[tuple[Conditioning, Conditioning], ...]
    ends: Tensor
    start: Tensor | None
    level: float | None


def between_for_host(
    parts: Parts, images: Sequence[Tensor], wish: Wish, prompt: Mapping[str, Any] | None, node: str | None
) -> Made:
    """The clip through pictures `B H W C`, one batch or several.

    Raises:
        InputError: the model is not of the SVD family, too few pictures, or a setting that makes no sense.
    """
    check_family(parts.model)
    _check_motion(parts.model)
    wanted = gaps(sum(len(batch) for batch in images), loop=wish.loop, seed=wish.seed)
    check_freedom(wish.flow_start)
    bounded, framed = wish.bounded, _framed(images, wish, parts.vae)
    pairs = {gap: framed.pixels[[gap.first, gap.last]] for gap in wanted}
    notices: list[str] = []
    shelf, marks = _shelf(parts, wish, pairs, prompt, node)
    found = {gap: None if shelf is None else shelf.get(gap, marks[gap]) for gap in wanted}
    # Encoders first, so that they need not change places with the network between gaps.
    told = {
        gap: _tell(parts, wish, dataclasses.replace(framed, pixels=pairs[gap]), gap, notices)
        for gap in wanted
        if found[gap] is None
    }
    report = StepReport(parts.model, wish.steps, max(1, len(told)), float(wish.fps))
    for number, (gap, facts) in enumerate(told.items()):
        found[gap] = made = _sample(parts.model, bounded, wish, facts, gap, report, number)
        notices += getattr(parts.model.model.diffusion_model, "notices", ())
        if shelf is not None:
            shelf.put(gap, marks[gap], made)
    latents = joined([part for part in found.values() if part is not None], loop=wish.loop)
    images_out = _decoded(parts.vae, latents, wish)
    if wish.keep_ends:
        images_out = put_back(images_out, framed.pixels.to(images_out), wish.frames - 1)
    if shelf is not None:
        shelf.clear(list(marks.items()))
    lines = [*_lines(wish, len(images_out), len(wanted), len(wanted) - len(told)), *dict.fromkeys(notices)]
    latent = {"samples": latents, CLIP_FRAMES: len(latents)}
    return Made(images=images_out, fps=float(wish.fps), latent=latent, summary="\n".join(lines))


def _check_motion(model: ModelPatcher) -> None:
    # The host's own models are told apart by the width of their vector alone.
    described: dict[str, Any] = {} if hasattr(model.model, "config") else model.model.model_config.unet_config
    if _config(model).family != "svd" or described.get("adm_in_channels") in _ORBITS:
        remedy = "Use svd or svd_xt: SV3D goes round an object and knows no motion."
        raise InputError(explain("`model` that goes by motion", "SV3D", remedy))
    owners = [getattr(wrapper, "__self__", None) for wrapper in wrappers_on(model, "OUTER_SAMPLE")]
    # What this pack puts around runs are cameras.
    if any(type(owner).__module__.startswith(f"{__package__}.") for owner in owners):
        remedy = "Take the model from before SVD Apply Camera: run backwards, a camera would move against itself."
        raise InputError(explain("`model` without a camera", "one", remedy))


def _framed(images: Sequence[Tensor], wish: Wish, vae: VAE) -> Framed:
    """All pictures at the size that suits the first."""
    wanted = Wanted(
        frames=wish.frames, width=wish.width, height=wish.height, auto=wish.size == "auto", framing=wish.framing
    )
    first = framed_picture(images[0], wanted, vae).framed
    height, width = first.pixels.shape[-2:]
    same = dataclasses.replace(wanted, width=width, height=height, auto=False)
    others = [framed_picture(batch, same, vae).framed.pixels for batch in images[1:]]
    return dataclasses.replace(first, pixels=torch.cat([first.pixels, *others]))


def _tell(parts: Parts, wish: Wish, pair: Framed, gap: Gap, notices: list[str]) -> _Told:
    controls = MotionControls(wish.fps, wish.motion_bucket, wish.augmentation, gap.seed)
    told = conditioned(pair, [controls, controls], wish.frames, parts.clip_vision, parts.vae)
    encode = for_host(parts.vae.encode)
    ways = tuple(
        (as_conditioning(half, controls), as_conditioning(half.unconditional(), controls))
        for half in (one_of(told, 0), one_of(told, 1))
    )
    start = None
    if wish.flow_start:
        start = flow_start(
            pair.pixels,
            wish.frames,
            wish.flow_start,
            lambda part: _encoded(encode, part),
            on_frame=lambda *_: check_interrupt(),
        )
        if start is None:
            notices.append(f"note: {UNRELATED}")
    return _Told(
        ways=ways,
        ends=_encoded(encode, pair.pixels * 2 - 1),
        start=None if start is None else start.latents,
        level=None if start is None else start.sigma,
    )


def _encoded(encode: Any, pixels: Tensor) -> Tensor:  # noqa: ANN401 - a function of the host's
    """One by one, as conditioning is: a picture's latent must not depend on its neighbours."""
    return torch.cat([encode(picture) for picture in pixels.split(1)])


def _sample(
    model: ModelPatcher, bounded: Bounded, wish: Wish, told: _Told, gap: Gap, report: StepReport, number: int
) -> Tensor:
    """Latents `T c h w` of a gap, unscaled."""
    chosen = Sampling(seed=gap.seed, steps=wish.steps, cfg=1.0, solver="euler", schedule=wish.schedule)
    full = sigmas_for(model, chosen)
    highest = float(full[0])
    sigmas = full if told.level is None else starting_at(full, min(told.level, highest))
    ends = model.model.process_latent_in(told.ends)
    shape = (wish.frames, *ends.shape[1:])
    skipped = len(full) - len(sigmas)

    def on_step(step: StepInfo) -> None:
        report(number, dataclasses.replace(step, index=step.index + skipped, total=wish.steps))

    walk = _Walk(bounded, _weights(model, wish), ends, gap.seed, highest, on_step)
    noise = draw([clip_generator(gap.seed, Stream.LATENT)], shape).squeeze(0)
    start = torch.zeros(shape) if told.start is None else told.start
    return both_ways_sampling(model, dict(zip(_WAYS, told.ways, strict=True)), walk, sigmas, noise, start, gap.seed)


@dataclass(frozen=True, slots=True)
class _Walk:
    """What the host's guider calls as its sampler."""

    bounded: Bounded
    weights: Tensor
    ends: Tensor
    seed: int
    highest: float
    on_step: Any

    def sample(
        self,
        model_wrap: Any,  # noqa: ANN401 - the host's guider
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: object,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """Noise `t c h w` and the latent to start from, both on the device -> the sampled latent, scaled."""
        forwards, backwards = (
            Direction(
                predict=two_predictions(model_wrap, way, extra_args),
                weights=self.weights,
                far=self.ends[1 - side].to(noise),
            )
            for side, way in enumerate(_WAYS)
        )
        scaling = model_wrap.inner_model.model_sampling.noise_scaling
        x = scaling(sigmas[0], noise, latent_image, float(sigmas[0]) >= self.highest)
        source = solver_noise([self.seed], noise.shape, noise.device)
        return sample_bounded(self.bounded, forwards, backwards, x, sigmas, noise=source, on_step=self.on_step)


def _weights(model: ModelPatcher, wish: Wish) -> Tensor:
    if wish.guidance.strip():
        return parse_guidance(wish.guidance).weights(wish.frames)
    if wish.method != "trf":
        return torch.ones(wish.frames)
    usual = _config(model).sampling
    return GuidanceCurve(usual.guidance_shape, usual.guidance_min, usual.guidance_max).weights(wish.frames)


def _config(model: ModelPatcher) -> ModelConfig:
    """Of a model of ours its own; the host's are SVD as far as anybody can tell."""
    return getattr(model.model, "config", SVD)


def _decoded(vae: VAE, latents: Tensor, wish: Wish) -> Tensor:
    def decode(part: Tensor) -> Tensor:
        return decode_for_host(vae, part, len(part), wish.decode_chunk, _OVERLAP, 0)[0]

    return decode_joined(decode, latents, loop=wish.loop)


def _shelf(
    parts: Parts, wish: Wish, pairs: Mapping[Gap, Tensor], prompt: Mapping[str, Any] | None, node: str | None
) -> tuple[Shelf | None, dict[Gap, str]]:
    """Where the gaps of a chain are kept until it is done; the graph that makes the model says which model it is."""
    if len(pairs) < 2 or prompt is None or node is None or node not in prompt:
        return None, {}
    inputs = prompt[node]["inputs"]
    known: dict[str, str] = {}
    graph = {name: _ancestry(prompt, inputs.get(name), known) for name in ("model", "clip_vision", "vae")}
    facts = {**wish.facts, "graph": graph, "weights": base_fingerprint(parts.model.model.diffusion_model)}
    marks = {gap: mark_of({**facts, "seed": gap.seed}, pair) for gap, pair in pairs.items()}
    return Shelf(Path(folder_paths.get_output_directory()) / _FOLDER), marks


def _ancestry(prompt: Mapping[str, Any], value: object, known: dict[str, str]) -> object:
    """An input with a digest of everything that leads to it in place of its link, so that node numbers do not matter.

    `known` holds the digests of nodes met before: in a graph of diamonds there are more ways than nodes.
    """
    if not isinstance(value, list) or len(value) != 2 or str(value[0]) not in prompt:
        return value
    name = str(value[0])
    if name not in known:
        node = prompt[name]
        inputs = {key: _ancestry(prompt, one, known) for key, one in node.get("inputs", {}).items()}
        told = json.dumps([node.get("class_type"), inputs], sort_keys=True, default=str)
        known[name] = hashlib.sha256(told.encode()).hexdigest()
    return [known[name], value[1]]


def _lines(wish: Wish, frames: int, count: int, reused: int) -> list[str]:
    controls = MotionControls(wish.fps, wish.motion_bucket, wish.augmentation, wish.seed)
    calls = wish.bounded.calls(wish.steps)
    kind = "a loop of " if wish.loop else ""
    lines = [
        f"{kind}{count} gap{'s' * (count > 1)}, {frames} frames at {wish.fps} fps = {frames / wish.fps:.2f} s",
        f"{wish.method}, {wish.steps} steps, {'less than ' * (wish.flow_start > 0)}{calls} calls of the model a gap",
        *motion_lines([controls], {}, wish.frames),
    ]
    if reused:
        lines.append(f"{reused} of {count} gaps were finished before and taken from {_FOLDER} in the output folder")
    return lines
