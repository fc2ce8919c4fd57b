"""Which clips a run is trained on: photographs, films, or the package's own worlds when neither is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import InputError, explain
from ..sheet import SheetRow, write_sheet
from .camera_clips import ClipSize, ClipSource
from .camera_moves import Target
from .camera_recipe import CLIPS_DRAWN
from .camera_worlds import WorldSource
from .footage import Footage, FootageSource, read_footage
from .photos import PhotoSource, read_photos

_SHEET_ROWS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChoice:
    """`images` or `clips`, a folder, or neither; `clips_drawn` is how many clips photographs and worlds are made into,
    `per_group` how many of them share a move."""

    images: Path | None = None
    clips: Path | None = None
    clips_drawn: int = CLIPS_DRAWN
    per_group: int = 6

    @property
    def kind(self) -> str:
        """In a word."""
        return "photos" if self.images is not None else "clips" if self.clips is not None else "worlds"


def open_source(
    choice: SourceChoice,
    target: Target,
    size: ClipSize,
    seed: int,
    folder: Path,
    look: Callable[[int, int], None] | None = None,
) -> tuple[ClipSource, tuple[str, ...]]:
    """The source and what there is to say about it; for films a sheet of what was kept and why goes into `folder`.

    Raises:
        InputError: both folders named, or one without anything to learn from.
    """
    if choice.images is not None and choice.clips is not None:
        raise InputError(explain("photographs or clips", "both", "Give --images or --clips, not both."))
    groups = max(1, choice.clips_drawn // choice.per_group)
    if choice.images is not None:
        photos, notes = read_photos(choice.images, size)
        source = PhotoSource(
            photos=photos,
            target=target,
            size=size,
            fps=target.fps,
            seed=seed,
            groups=groups,
            per_group=choice.per_group,
            mark=_mark(photos),
        )
        return source, tuple(notes)
    if choice.clips is not None:
        footage = read_footage(choice.clips, target, size, look)
        _write_record(footage, folder)
        return FootageSource(clips=footage.clips, mark=_mark([clip.pixels for clip in footage.clips])), footage.notes
    return WorldSource(target=target, size=size, seed=seed, groups=groups, per_group=choice.per_group), ()


def _mark(pictures: list[Tensor]) -> str:
    """Changes when any pixel does."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(str(tuple(picture.shape)).encode())
        digest.update(picture.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _write_record(footage: Footage, folder: Path) -> None:
    """A contact sheet: what was kept first, then the rest, each with its reason."""
    pieces = sorted(footage.pieces, key=lambda piece: not piece.kept)
    rows = [
        SheetRow(f"{'kept' if piece.kept else 'left out'}: {piece.label}", piece.reason, piece.preview)
        for piece in pieces[:_SHEET_ROWS]
    ]
    more = f", {len(pieces) - _SHEET_ROWS} not shown" if len(pieces) > _SHEET_ROWS else ""
    title = f"{len(footage.clips)} of {len(pieces)} pieces kept{more}"
    write_sheet(rows, folder / "clips.png", title=title)
