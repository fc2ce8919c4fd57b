"""Moves no LoRA is for, on any MODEL and sampler: the run starts from the source picture as the camera sees it.

A run becomes two, with the host's own sampler in both: a rough clip from the moved picture, and a fine one from the
rough clip put right. Why and how is svd_core's (`camera.fallback`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..svd_core.camera.fallback import Course, chart, halves, start_from, steer
from ..svd_core.camera.stack import Plan
from ..svd_core.errors import InputError, explain
from ..svd_core.framing import frame_picture
from ..svd_core.sampling import clip_generator, clip_seeds, draw
from ..svd_core.sampling.noise import Stream
from ..svd_core.source_image import to_pixels
from ..svd_core.types import Frames
from .conditioning import for_host, pixels_per_cell
from .decoding import decode_for_host
from .host import VAE
from .host_camera import WHOLE_RUN, clip_frames, clip_rate, conditions

_log = logging.getLogger(__name__)
# What the decoder node does when it is left alone.
_CHUNK, _OVERLAP = 8, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Pictures `B H W C` as they are framed for the clips, one for all or one a clip, and what goes with them."""

    image: Tensor
    vae: VAE
    depth: Tensor | None
    freedom: float


class StartMoved:
    """The wrapper around a sampler's runs."""

    def __init__(self, source: Source, plan: Callable[[int, float], Plan]) -> None:
        """plan: what carries the moves in clips of so many frames at so many a second."""
        self._source = source
        self._plan = plan

    def around_run(
        self,
        executor: Any,  # noqa: ANN401 - the host's
        noise: Tensor,
        latent_image: Tensor,
        sampler: object,
        sigmas: Tensor,
        denoise_mask: Tensor | None = None,
        callback: Callable[..., object] | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> Tensor:
        """Two runs in place of one.

        Raises:
            InputError: pictures that do not go with the clips, a move that does not fit into them, or a mask.
        """
        if denoise_mask is not None:
            # The masked part would be held at the moved picture, not at the artist's latent.
            remedy = "Take the mask off, or use moves that a LoRA carries."
            raise InputError(explain("no noise mask beside a training-free camera", "one", remedy))
        guider = executor.class_obj
        entries = conditions(guider.conds)
        rate = clip_rate(entries)
        frames = clip_frames(guider.model_patcher, len(noise), entries)
        plan = self._plan(frames, rate)
        if plan.caution is not None:
            # How long the clip is, nobody knew when the node reported.
            _log.warning("%s", plan.caution)
        courses = [
            chart(picture, plan, self._source.depth)
            for picture in self._pictures(latent_image, len(noise) // frames, entries)
        ]
        moved = self._moved(courses)
        height, width = noise.shape[-2:]
        rough, fine = halves(sigmas.cpu(), height, width, moving=moved is not None, freedom=self._source.freedom)
        count = len(rough) + len(fine) - 2
        # Step ranges of LoRAs count over the run asked for, not over each of the two; the host drops the entry.
        guider.model_options.setdefault("transformer_options", {}).setdefault(WHOLE_RUN, sigmas)
        # A run changes what the guider was told to its own needs; the second one starts from the same words.
        told = {name: [entry.copy() for entry in half] for name, half in guider.conds.items()}
        report = _counted(callback, 0, count)
        start = latent_image if moved is None else moved
        samples = executor(noise, start, sampler, rough, None, report, disable_pbar, seed)
        guider.conds = told
        put_right = self._put_right(samples, courses, frames, rate)
        generators = [clip_generator(one, Stream.STEER) for one in clip_seeds(seed or 0, len(courses))]
        fresh = draw(generators, (frames, *noise.shape[1:])).flatten(0, 1)
        report = _counted(callback, len(rough) - 1, count)
        return executor(fresh, put_right, sampler, fine, None, report, disable_pbar, seed)

    def _encode(self, pixels: Tensor) -> Tensor:
        return for_host(self._source.vae.encode)(pixels)

    def _moved(self, courses: Sequence[Course]) -> Tensor | None:
        """Where the rough clips start; None for pure noise, under a camera that stands still."""
        starts = [start_from(course, self._encode, freedom=self._source.freedom) for course in courses]
        latents = [start.latents for start in starts if start is not None]
        return torch.cat(latents) if latents else None

    def _put_right(self, samples: Tensor, courses: Sequence[Course], frames: int, rate: float) -> Tensor:
        images, _ = decode_for_host(self._source.vae, samples, frames, min(_CHUNK, frames), _OVERLAP, 0)
        clips = zip(images.split(frames), courses, strict=True)
        freedom = self._source.freedom
        starts = [steer(Frames(clip.cpu(), Fraction(rate)), c, self._encode, freedom=freedom) for clip, c in clips]
        return torch.cat([start.latents for start in starts])

    def _pictures(self, latents: Tensor, clips: int, entries: Sequence[Mapping[str, Any]]) -> list[Tensor]:
        """A picture `3 H W` in [0, 1] for each clip."""
        height, width = (side * pixels_per_cell(self._source.vae) for side in latents.shape[-2:])
        framed = frame_picture(to_pixels(self._source.image), width, height, "crop").pixels
        if len(framed) in (1, clips):
            return list(framed.expand(clips, -1, -1, -1))
        # One clip of a batch at a time: which one, its conditioning knows.
        concat = next((entry["concat_latent_image"] for entry in entries if "concat_latent_image" in entry), None)
        if concat is None or len(concat) != clips:
            remedy = "Wire in the pictures the clips were conditioned on, one for each, or a single one."
            raise InputError(explain(f"`image` of 1 or {clips} pictures", f"{len(framed)}", remedy))
        known = self._encode(framed * 2 - 1)
        far = [(known - latent.to(known)).flatten(1).norm(dim=1) for latent in concat]
        return [framed[int(distances.argmin())] for distances in far]


def _counted(callback: Callable[..., object] | None, before: int, total: int) -> Callable[..., object] | None:
    """Steps of both runs counted through."""
    if callback is None:
        return None
    return lambda step, denoised, x, _: callback(step + before, denoised, x, total)
