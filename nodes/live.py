"""Progress with moving pictures: what the page shows while a clip is being sampled.

The host's own preview is a single picture, so it gets another frame of the clip in every step. The whole clip goes
to the page beside it as an animation of our own, the event `svd_studio.preview`.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..svd_core.sampling.preview import preview
from ..svd_core.types import StepInfo
from ..svd_core.video_io.images import encode_rgb
from .host import ModelPatcher, latent_colours, preview_size, progress, send_to_page

EVENT = "svd_studio.preview"
# A browser has better things to do than to decode clips; the last step of each is always shown.
_SECONDS_APART = 0.4


@dataclass(slots=True)
class StepReport:
    """Called with the number of the clip and what its step gave: moves the bar and shows what there is so far."""

    model: ModelPatcher
    steps: int
    clips: int
    fps: float
    _bar: Callable[[int, int, Image.Image | None], None] = field(default_factory=progress)
    _shown: float = 0.0

    def __call__(self, clip: int, info: StepInfo) -> None:
        frame = None
        if preview_size() is not None:
            frames = [encode_rgb(rgb) for rgb in self._pictures(info.denoised)]
            frame = Image.fromarray(frames[info.index * max(1, len(frames) // info.total) % len(frames)])
            self._animate(clip, info, frames)
        self._bar(clip * self.steps + info.index + 1, self.steps * self.clips, frame)

    def _pictures(self, denoised: Tensor) -> Tensor:
        return preview(denoised, *latent_colours(self.model))

    def _animate(self, clip: int, info: StepInfo, frames: list[NDArray[np.uint8]]) -> None:
        now = time.monotonic()
        if now - self._shown < _SECONDS_APART and info.index + 1 < info.total:
            return
        self._shown = now
        height, width = frames[0].shape[:2]
        place = {"clip": clip, "clips": self.clips, "step": info.index + 1, "steps": info.total}
        size = {"frames": len(frames), "width": width, "height": height, "fps": self.fps}
        # A Pillow built without webp costs the animation, never the clip.
        with suppress(KeyError, OSError):
            send_to_page(EVENT, {**place, **size, "image": animation(frames, self.fps)})


def animation(frames: list[NDArray[np.uint8]], fps: float) -> str:
    """uint8 `H W 3` frames as an endless webp animation, in the form of a `data:` address."""
    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    duration = max(1, round(1000 / fps))
    images[0].save(
        buffer, "WEBP", save_all=True, append_images=images[1:], duration=duration, loop=0, quality=80, method=0
    )
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
