"""Clips from photographs: a virtual camera moves over each, and cut-out pieces of other photographs move in the scene.

The cut-outs tell the network what the camera did not do: something moves on its own in half of the clips, and in all of
those that teach a still camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor

from ..camera.path import CameraPath
from ..camera.virtual import render
from ..errors import InputError, SvdError, explain, some_keys
from ..source_image import fit_image
from ..video_io import read_image
from .camera_clips import CameraClip, ClipSize
from .camera_moves import Lesson, Target, draw_lesson, path_of
from .textures import integer, uniform

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
# A view samples the photograph at up to this many of its own pixels: more would only cost memory.
_OVERSIZE = 3
_CUTOUT_SHARE = 0.5
_CUTOUT_REACH = (0.1, 0.35)
_FPS_SPREAD = 0.3
# One photograph of this many is kept for trials, as soon as there are so many.
_HELD_BACK = 8
_PRIME = 0x9E3779B97F4A7C15


def read_photos(folder: Path, size: ClipSize) -> tuple[list[Tensor], list[str]]:
    """Every picture below a folder as `3 H W` uint8, reduced to what a clip can show, and a line for each left out.

    Raises:
        InputError: no folder, or no picture that can be used.
    """
    if not folder.is_dir():
        raise InputError(explain("a folder of photographs", f"no folder {folder}", "Check the path."))
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PHOTO_SUFFIXES and file.is_file())
    photos: list[Tensor] = []
    notes: list[str] = []
    for file in files:
        try:
            photos.append(_reduced(rearrange(read_image(file), "h w c -> c h w"), size))
        except SvdError as error:
            notes.append(f"{file.name} was left out: {error}")
    if not photos:
        named = some_keys([file.name for file in files])
        found = f"{len(files)} picture files, none of them usable: {named}" if files else "none"
        listed = ", ".join(suffix.lstrip(".") for suffix in PHOTO_SUFFIXES)
        raise InputError(explain(f"photographs in {folder}", found, f"Put {listed} files there."))
    return photos, notes


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSource:
    """A `ClipSource` over photographs `3 H W` uint8; `fps` is the middle of the rates clips are made for."""

    photos: Sequence[Tensor]
    target: Target
    size: ClipSize
    fps: float
    seed: int
    groups: int
    per_group: int = 1
    mark: str = ""

    @property
    def key(self) -> str:
        """All that decides the clips."""
        return f"photos {self.mark} {self.target} {self.size} {self.fps:g} {self.seed} {self.groups} {self.per_group}"

    def group(self, index: int) -> list[CameraClip]:
        """Clips of one speed, direction and ease, over different photographs."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + index) * _PRIME % 2**63)
        lesson = draw_lesson(generator, self.target, self.size.frames)
        return [self._clip(generator, lesson) for _ in range(self.per_group)]

    def stills(self, count: int) -> Tensor:
        """The photographs held back, or any if there are too few to hold some back, filling the frame."""
        pool = self._held_back() or list(self.photos)
        chosen = [pool[index % len(pool)] for index in range(count)]
        return torch.cat([_framed(photo, self.size, shift=index // len(pool)) for index, photo in enumerate(chosen)])

    def _held_back(self) -> list[Tensor]:
        return list(self.photos[_HELD_BACK - 1 :: _HELD_BACK])

    def _shown(self) -> list[Tensor]:
        return [photo for index, photo in enumerate(self.photos) if index % _HELD_BACK != _HELD_BACK - 1]

    def _clip(self, generator: Generator, lesson: Lesson) -> CameraClip:
        shown = self._shown()
        frame = (self.size.height, self.size.width)
        fps = self.fps * uniform(generator, 1 - _FPS_SPREAD, 1 + _FPS_SPREAD)
        fps = float(max(1, round(fps)))
        path = path_of(self.target, lesson, frame)
        photo = shown[integer(generator, len(shown))].float() / 255
        if integer(generator, 2):
            photo = photo.flip(-1)
        smallest = uniform(generator, 0.45, 0.8)
        views = render(_part(generator, photo, smallest), path, frame, smallest_crop=0.3)[0]
        if self.target.axis is None or uniform(generator, 0, 1) < _CUTOUT_SHARE:
            other = shown[integer(generator, len(shown))].float() / 255
            views = _with_cutout(generator, views, other, path)
        return CameraClip(pixels=views * 2 - 1, fps=fps, strength=lesson.curve)


def _reduced(photo: Tensor, size: ClipSize) -> Tensor:
    limit = _OVERSIZE * max(size.height, size.width)
    scale = limit / min(photo.shape[-2:])
    if scale < 1:
        sides = [max(1, round(side * scale)) for side in photo.shape[-2:]]
        photo = F.interpolate(photo[None], sides, mode="bicubic", antialias=True, align_corners=False)[0]
    return (photo.clamp(0, 1) * 255).round().to(torch.uint8)


def _part(generator: Generator, photo: Tensor, smallest: float) -> Tensor:
    """A random window of the photograph, at least `smallest` of each side: near and far views of one picture."""
    height, width = photo.shape[-2:]
    part = uniform(generator, smallest, 1)
    rows, columns = max(2, round(height * part)), max(2, round(width * part))
    top, left = integer(generator, height - rows + 1), integer(generator, width - columns + 1)
    return photo[:, top : top + rows, left : left + columns]


def _framed(photo: Tensor, size: ClipSize, shift: int) -> Tensor:
    """The photograph as a first frame `1 3 H W`; `shift` takes a smaller window, so that repeats differ."""
    height, width = (max(2, round(side * 0.8**shift)) for side in photo.shape[-2:])
    return fit_image(photo[None, :, :height, :width].float() / 255, size.width, size.height) * 2 - 1


def _with_cutout(generator: Generator, views: Tensor, photo: Tensor, path: CameraPath) -> Tensor:
    """Views `T 3 H W` with a soft-edged piece of a photograph moving through the scene on a course of its own."""
    height, width = views.shape[-2:]
    time = torch.arange(path.frames, dtype=torch.float32)
    heading = torch.tensor(uniform(generator, 0, 6.2832))
    pace = uniform(generator, 0.5, 2)
    start = (uniform(generator, -30, 30), uniform(generator, -30, 30))
    spin = uniform(generator, -2.5, 2.5)
    # The piece lies in the middle of its own picture; where the camera stands to it is what moves.
    seen = CameraPath(
        pan=path.pan - start[0] - pace * torch.cos(heading) * time,
        tilt=path.tilt - start[1] - pace * torch.sin(heading) * time,
        zoom=path.zoom,
        roll=path.roll + spin * time,
    )
    piece = fit_image(_part(generator, photo, 0.3)[None], width, height)[0]
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)
    across = uniform(generator, *_CUTOUT_REACH)
    down = across * uniform(generator, 0.6, 1.6)
    distance = torch.hypot(x / across, y / down)
    alpha = ((1.15 - distance) / 0.3).clamp(0, 1)
    layer = render(torch.cat((piece * alpha, alpha[None])), seen, (height, width), whole=True)[0]
    return views * (1 - layer[:, 3:]) + layer[:, :3]
