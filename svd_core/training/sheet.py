"""Contact sheets: clips as rows of frames in one PNG, for human eyes."""

from __future__ import annotations

from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from ..video_io.atomic import atomic_file


def contact_sheet(rows: Tensor, columns: int | None = None, scale: int = 2) -> Image.Image:
    """Rows `R T 3 H W` in [-1, 1] -> an image of R rows of frames; `columns` picks evenly spaced frames."""
    frames = rows.shape[1]
    if columns is not None and columns < frames:
        rows = rows[:, torch.linspace(0, frames - 1, columns).round().long()]
    padded = torch.nn.functional.pad(rows.float().clamp(-1, 1), (1, 1, 1, 1), value=1.0)
    sheet = rearrange(padded, "r t c h w -> (r h) (t w) c")
    image = Image.fromarray(((sheet + 1) * 127.5).round().to(torch.uint8).numpy())
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def save_sheet(path: Path, rows: Tensor, columns: int | None = None, scale: int = 2) -> None:
    """Write `contact_sheet(rows)` as a PNG, whole or not at all.

    Raises:
        InputError: the place cannot be written to.
        OutputError: the disk is full or failed.
    """
    with atomic_file(path) as temporary:
        contact_sheet(rows, columns, scale).save(temporary, format="PNG")
