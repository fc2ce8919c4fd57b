"""A sliding window of procedural clips, already turned into latents.

The window at any step follows from the step alone, so a resumed run rebuilds it instead of storing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from .pca import PatchBasis
from .worlds import TRAINING, Clips, WorldSize, draw_clips

STILLS = 4
"""Frames kept as pixels for the autoencoder: evenly spaced, the first frame first."""
_RARE_SHARE = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentClips:
    """B clips: latents `B T c h w` (the linear anchor), origins `B T 2 h' w'`, condition `B c h w` (the encoder's view
    of frame 0), stills `B S 3 H W` uint8, fps and motion_bucket `B`; `chunks` names where they came from."""

    latents: Tensor
    origins: Tensor
    condition: Tensor
    stills: Tensor
    fps: Tensor
    motion_bucket: Tensor
    chunks: tuple[int, ...]


class ClipPool:
    """Chunks `first .. end` of the training worlds of a seed; `photographs` are backgrounds of some of them, `haste`
    makes fast ones likelier."""

    def __init__(
        self,
        seed: int,
        size: WorldSize,
        basis: PatchBasis,
        *,
        chunk: int,
        device: torch.device,
        encode: Callable[[Tensor], Tensor] | None = None,
        keep_pixels: bool = False,
        offset: int = 0,
        subjects: bool = True,
        haste: float = 1.0,
        photographs: Sequence[Tensor] = (),
    ) -> None:
        self._seed, self._size, self._basis = seed, size, basis
        self._chunk, self._device = chunk, device
        self._encode = encode or basis.encode
        self._stills = size.frames if keep_pixels else STILLS
        self._offset, self._subjects, self._haste = offset, subjects, haste
        self._photographs = photographs
        self._window: dict[int, LatentClips] = {}

    def advance(self, first: int, end: int) -> None:
        """Make the window chunks `first` up to but not including `end`, whatever it was, drawing what is missing."""
        kept = self._window
        self._window = {index: kept.get(index) or self._draw(index) for index in range(first, end)}

    def batch(self, generator: Generator, count: int) -> LatentClips:
        """`count` clips of the window, drawn with replacement."""
        chosen = torch.randint(len(self._window) * self._chunk, (count,), generator=generator).tolist()
        window = list(self._window.values())
        parts = [(window[index // self._chunk], index % self._chunk) for index in chosen]

        def pick(read: Callable[[LatentClips], Tensor]) -> Tensor:
            return torch.stack([read(clips)[row] for clips, row in parts])

        return LatentClips(
            latents=pick(lambda clips: clips.latents),
            origins=pick(lambda clips: clips.origins),
            condition=pick(lambda clips: clips.condition),
            stills=pick(lambda clips: clips.stills),
            fps=pick(lambda clips: clips.fps),
            motion_bucket=pick(lambda clips: clips.motion_bucket),
            chunks=tuple(sorted({clips.chunks[0] for clips, _ in parts})),
        )

    @torch.no_grad()
    def _draw(self, index: int) -> LatentClips:
        first = (self._offset + index) * self._chunk
        rows = range(first, first + self._chunk)
        clips = draw_clips(
            self._seed,
            TRAINING,
            rows,
            self._size,
            device=self._device,
            subjects=self._subjects,
            haste=self._haste,
            rare_share=_RARE_SHARE,
            photographs=self._photographs,
        )
        return to_latents(clips, self._basis, self._encode, self._stills, index)


def to_latents(
    clips: Clips, basis: PatchBasis, encode: Callable[[Tensor], Tensor], stills: int = STILLS, chunk: int = 0
) -> LatentClips:
    """Anchor latents of every frame, `encode`'s latents of the first."""
    frames = clips.pixels.shape[1]
    latents = basis.encode(clips.pixels.flatten(0, 1)).unflatten(0, (-1, frames))
    picks = torch.linspace(0, frames - 1, stills).round().long()
    device = latents.device
    return LatentClips(
        latents=latents,
        origins=clips.origins.to(device),
        condition=encode(clips.pixels[:, 0]),
        stills=((clips.pixels[:, picks] + 1) * 127.5).round().to(torch.uint8),
        fps=clips.fps.to(device),
        motion_bucket=clips.motion_bucket.to(device),
        chunks=(chunk,),
    )


def to_pixels(stills: Tensor) -> Tensor:
    """uint8 -> float in [-1, 1]."""
    return stills.float() / 127.5 - 1
