"""Clips from the artist's own films: shots found, pieces of the asked length measured, and what fits the move kept.

No captions and no camera data are needed: the meter labels each piece, and its strength is its speed over the
reference speed. Every piece that is left out is left out for a stated reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..camera.curves import mean_speeds
from ..camera.meter import Track, measure
from ..camera.moves import AXES, Axis
from ..errors import InputError, SvdError, explain
from ..metrics import clip_report
from ..metrics.verdict import STILL
from ..source_image import fit_image
from ..types import Frames
from ..video_io import iter_frames, probe
from .camera_clips import CameraClip, ClipSize
from .camera_moves import Target
from .camera_trials import FLOW
from .cuts import find_transitions, shots, small

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif", ".webp")
# The share of a piece's camera motion that must lie along the asked axis.
_ON_AXIS = 0.75
# Slower than this, in % of the width a frame, a piece shows no move; and beyond this strength it is a blur.
_SLOWEST = 0.15
_STRONGEST = 4.0
# Something must move in a piece that teaches a still camera.
_ALIVE = 0.05
_MOST_FRAMES = 3000
_HELD_BACK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a film: frames `first` to `last` in steps of `stride`; `reason` says why it was kept or not."""

    file: Path
    first: int
    last: int
    stride: int
    kept: bool
    reason: str
    preview: Tensor
    motion: dict[Axis, float]

    @property
    def label(self) -> str:
        """File and frames."""
        return f"{self.file.name} {self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """What a folder of films gave: clips fit for training, the record of every piece looked at, and notes on files."""

    clips: tuple[CameraClip, ...]
    pieces: tuple[Piece, ...]
    notes: tuple[str, ...]


def read_footage(
    folder: Path, target: Target, size: ClipSize, look: Callable[[int, int], None] | None = None
) -> Footage:
    """Cut every film of a folder (and folders of frames in it) into pieces of the asked length, and keep what fits.

    Raises:
        InputError: no folder, no films, or nothing in them that fits; the text counts the reasons.
    """
    if not folder.is_dir():
        raise InputError(explain("a folder of clips", f"no folder {folder}", "Check the path."))
    films = _films(folder)
    clips: list[CameraClip] = []
    pieces: list[Piece] = []
    notes: list[str] = []
    for index, film in enumerate(films):
        if look is not None:
            look(index, len(films))
        try:
            for piece, clip in _pieces(film, target, size):
                pieces.append(piece)
                if clip is not None:
                    clips.append(clip)
        except SvdError as error:
            notes.append(f"{film.name} was left out: {error}")
    if not clips:
        raise InputError(_nothing(folder, films, pieces, notes, target))
    return Footage(clips=tuple(clips), pieces=tuple(pieces), notes=tuple(notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageSource:
    """A `ClipSource` over measured clips: each is a group of its own, since no two move alike."""

    clips: Sequence[CameraClip]
    mark: str

    @property
    def groups(self) -> int:
        """One a clip."""
        return len(self.clips)

    @property
    def key(self) -> str:
        """All that decides the clips."""
        return f"footage {self.mark}"

    def group(self, index: int) -> list[CameraClip]:
        """One clip."""
        return [self.clips[index]]

    def stills(self, count: int) -> Tensor:
        """Middle frames of the clips: pictures no clip starts with."""
        chosen = [self.clips[index * len(self.clips) // count % len(self.clips)] for index in range(count)]
        places = [(index + 1) * self.clips[0].pixels.shape[0] // (count + 1) for index in range(count)]
        return torch.stack([clip.pixels[place] for clip, place in zip(chosen, places, strict=True)])


def _films(folder: Path) -> list[Path]:
    """Video files, and folders that hold pictures, in order."""
    entries = sorted(folder.rglob("*"))
    files = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in VIDEO_SUFFIXES]
    folders = [entry for entry in entries if entry.is_dir() and any(entry.glob("*.png"))]
    return [*files, *folders]


def _pieces(film: Path, target: Target, size: ClipSize) -> Iterator[tuple[Piece, CameraClip | None]]:
    frames = _fitted(film, size)
    fps = float(probe(film).fps or target.fps)
    stride = max(1, round(fps / target.fps))
    span = (size.frames - 1) * stride
    whole = frames.float() / 255
    overview = small(whole)
    for first, last in shots(len(frames), find_transitions(overview)):
        if last - first < span:
            reason = f"shorter than {size.frames} frames{f' of every {stride}' if stride > 1 else ''}"
            yield _piece(film, first, last, stride, reason, whole[first : last + 1]), None
            continue
        for start in range(first, last - span + 1, span + stride):
            picked = whole[start : start + span + 1 : stride]
            track = measure(picked)
            reason = _objection(picked, track, target)
            piece = _piece(film, start, start + span, stride, reason, picked, track)
            yield piece, None if reason else _clip(picked, track, target, fps / stride)


def _fitted(film: Path, size: ClipSize) -> Tensor:
    """The film's frames filling the clip's size, `T H W 3` uint8; very long films are read to a limit."""
    frames: list[Tensor] = []
    for frame in iter_frames(film):
        fitted = fit_image(rearrange(frame, "h w c -> 1 c h w"), size.width, size.height)
        frames.append((rearrange(fitted[0], "c h w -> h w c") * 255).round().to(torch.uint8))
        if len(frames) >= _MOST_FRAMES:
            break
    if len(frames) < size.frames:
        found = f"{len(frames)}"
        raise InputError(explain(f"at least {size.frames} frames", found, "Use longer clips, or ask for fewer frames."))
    return torch.stack(frames)


def _piece(
    film: Path, first: int, last: int, stride: int, reason: str, frames: Tensor, track: Track | None = None
) -> Piece:
    motion = track.mean if track is not None else dict.fromkeys(AXES, 0.0)
    kept = not reason
    picks = torch.linspace(0, len(frames) - 1, min(7, len(frames))).round().long()
    said = reason or ", ".join(f"{axis} {value:+.2f}" for axis, value in motion.items()) + " a frame"
    return Piece(
        file=film, first=first, last=last, stride=stride, kept=kept, reason=said, preview=frames[picks], motion=motion
    )


def _objection(frames: Tensor, track: Track, target: Target) -> str:
    """Why a piece cannot teach the move; empty if it can."""
    if not bool(track.trusted.all()):
        return "the meter lost the picture"
    flow = {axis: track.mean[axis] * FLOW[axis] for axis in AXES}
    length = math.hypot(*flow.values())
    if target.axis is None:
        report = clip_report(Frames(frames, track.fps), track)
        if report.camera_motion >= STILL:
            return f"the camera moves {report.camera_motion:.2f} % a frame"
        return "" if report.subject_motion >= _ALIVE else "nothing moves"
    if length < _SLOWEST:
        return f"the camera stands nearly still ({length:.2f} % a frame)"
    if abs(flow[target.axis]) < _ON_AXIS * length:
        strongest = max(AXES, key=lambda axis: abs(flow[axis]))
        return f"the camera does something else (mostly {strongest})"
    strength = abs(target.strength(track.mean[target.axis]))
    return f"too fast (strength {strength:.1f})" if strength > _STRONGEST else ""


def _clip(frames: Tensor, track: Track, target: Target, fps: float) -> CameraClip:
    if target.axis is None:
        curve = torch.ones(len(frames))
    else:
        curve = mean_speeds(_smooth(getattr(track, target.axis)) / target.step).float()
    return CameraClip(pixels=rearrange(frames, "t h w c -> t c h w") * 2 - 1, fps=float(round(fps)), strength=curve)


def _smooth(steps: Tensor) -> Tensor:
    """The meter's own noise taken out, `T-1`: each step the mean of up to three."""
    padded = F.pad(steps[None, None], (1, 1), mode="replicate")
    return F.avg_pool1d(padded, 3, 1)[0, 0]


def _nothing(folder: Path, films: Sequence[Path], pieces: Sequence[Piece], notes: Sequence[str], target: Target) -> str:
    if not films:
        found = f"no video files or folders of frames in {folder}"
        return explain("clips to learn from", found, f"Put {', '.join(VIDEO_SUFFIXES)} files there.")
    counted: dict[str, int] = {}
    for piece in pieces:
        kind = piece.reason.split(" (")[0]
        counted[kind] = counted.get(kind, 0) + 1
    reasons = [f"{count} x {reason}" for reason, count in counted.items()] + [note.rstrip(".") for note in notes]
    remedy = "Add clips that show this move, ask for fewer frames, or train from photographs (--images)."
    return explain(f"pieces that show {target.preset} in {len(films)} clips", f"none: {'; '.join(reasons)}", remedy)
