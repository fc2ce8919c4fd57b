"""Photographs the procedural worlds take as backgrounds: those that come with well-known packages, or a folder's.

Which there are, under which licence, and which are never trained on is decided here; what a world makes of one is
`textures.photograph`'s.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..errors import InputError, explain
from ..video_io import read_image
from .photos import PHOTO_SUFFIXES

SIDE = 269
"""Short side a photograph is reduced to: what the background of a 64 px world shows (`worlds.texels(64)`)."""

# Of a folder, one picture of this many is held out.
_HELD_BACK = 4
_DEBIAN = "lomiri-wallpapers-16.04"
_BERASATEGI = "Aitzol Berasategi, 2018"


@dataclass(frozen=True, slots=True)
class PhotographRow:
    """One photograph: the package that brings it, where it lies (relative to a Python package's folder, or absolute),
    who took it, its licence, and whether it is kept from training."""

    package: str
    file: str
    author: str
    licence: str
    held_out: bool = False


TABLE = (
    PhotographRow("skimage", "data/astronaut.png", "NASA", "public domain"),
    PhotographRow("skimage", "data/chelsea.png", "Stefan van der Walt", "CC0-1.0", held_out=True),
    PhotographRow("skimage", "data/coffee.png", "Rachel Michetti", "CC0-1.0"),
    PhotographRow("skimage", "data/rocket.jpg", "SpaceX", "public domain"),
    PhotographRow("sklearn", "datasets/images/china.jpg", "danielbuechele (Flickr)", "CC-BY-2.0", held_out=True),
    PhotographRow("sklearn", "datasets/images/flower.jpg", "vultilion (Flickr)", "CC-BY-2.0"),
    PhotographRow("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "US Navy, James S. Davis", "public domain"),
    *(
        PhotographRow(_DEBIAN, f"/usr/share/backgrounds/{file}.jpg", author, licence, held_out)
        for file, author, licence, held_out in (
            ("Picture_0B_by_freespace", 'Trevor "Freespace", 2018', "CC-BY-4.0", True),
            ("Picture_1A_by_freespace", 'Trevor "Freespace", 2018', "CC-BY-4.0", False),
            ("Wine_by_Jakkub_Mede", "Jakub Mede, 2018", "CC-BY-4.0", False),
            ("aitzgorri_by_Aitzol_Berasategi", _BERASATEGI, "CC-BY-4.0", False),
            ("friends_by_Aitzol_Berasategi", _BERASATEGI, "CC-BY-4.0", False),
            ("life_by_Aitzol_Berasategi", _BERASATEGI, "CC-BY-4.0", True),
            ("picosdeeuropa_by_Aitzol_Berasategi", _BERASATEGI, "CC-BY-4.0", True),
            ("seeding_by_Clements_Engelhardt", "Clemens Engelhardt, 2018", "CC0-1.0", False),
            ("sunset_by_Aitzol_Berasategi", _BERASATEGI, "CC-BY-4.0", False),
        )
    ),
)
"""Colour photographs in the public domain, under CC0 or under CC-BY; author and licence as their
package names them, else as they are widely known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photographs:
    """Pictures `3 H W` in [0, 1], reduced to a short side of at most `SIDE` or what was asked.

    `fingerprint` is 16 hexadecimal digits of the files' bytes, their splits and the side: two runs that share it train
    on the same photographs.
    """

    training: tuple[Tensor, ...]
    held_out: tuple[Tensor, ...]
    fingerprint: str


def read_photographs(folder: Path | None = None, side: int = SIDE) -> Photographs:
    """The photographs of a folder, every fourth by name held out; without one, those of `TABLE` that are installed.

    Raises:
        InputError: no such folder, a folder of fewer than two pictures, or no photograph of `TABLE` installed.
        FileFormatError: a picture that cannot be read, named.
    """
    if folder is None:
        files = [(path, row.held_out) for row in TABLE if (path := _installed(row)) is not None]
        if not any(not held_out for _, held_out in files):
            raise InputError(
                explain(
                    "installed packages that bring photographs to train on",
                    "none of " + ", ".join(dict.fromkeys(row.package for row in TABLE)),
                    "Run `pip install scikit-image scikit-learn matplotlib`, or name a folder of pictures.",
                )
            )
    else:
        files = [(path, index % _HELD_BACK == _HELD_BACK - 1) for index, path in enumerate(_pictures(folder))]
        if len(files) == 1:
            raise InputError(explain(f"two photographs or more in {folder}", "one", "Put more pictures there."))
        # A small folder keeps its last one.
        if not any(held_out for _, held_out in files):
            files[-1] = (files[-1][0], True)
    return Photographs(
        training=tuple(_read(path, side) for path, held_out in files if not held_out),
        held_out=tuple(_read(path, side) for path, held_out in files if held_out),
        fingerprint=_fingerprint(files, side),
    )


def _installed(row: PhotographRow) -> Path | None:
    """Where a row's file lies, if its package is installed; the package is found, not imported."""
    path = Path(row.file)
    if not path.is_absolute():
        found = importlib.util.find_spec(row.package)
        if found is None or found.origin is None:
            return None
        path = Path(found.origin).parent / path
    return path if path.is_file() else None


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(explain("a folder of photographs", f"no folder {folder}", "Check the path."))
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PHOTO_SUFFIXES and file.is_file())
    if not files:
        listed = ", ".join(suffix.lstrip(".") for suffix in PHOTO_SUFFIXES)
        raise InputError(explain(f"photographs in {folder}", "none", f"Put {listed} files there."))
    return files


def _read(path: Path, side: int) -> Tensor:
    photo = rearrange(read_image(path), "h w c -> c h w")
    scale = side / min(photo.shape[-2:])
    if scale < 1:
        sides = [max(1, round(length * scale)) for length in photo.shape[-2:]]
        photo = F.interpolate(photo[None], sides, mode="bicubic", antialias=True, align_corners=False)[0]
    return photo.clamp(0, 1).contiguous()


def _fingerprint(files: Iterable[tuple[Path, bool]], side: int) -> str:
    total = hashlib.sha256(f"{side}".encode())
    for path, held_out in files:
        total.update(hashlib.sha256(path.read_bytes()).digest() + bytes([held_out]))
    return total.hexdigest()[:16]
