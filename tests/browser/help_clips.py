"""Make the clips of the help pages of SVD Interpolate and SVD In-Between, and the README's sheet of `svd demo`, anew.

    OMP_NUM_THREADS=1 python -m tests.browser.help_clips

`pictures` runs it along with all others; alone it needs no browser. Look at what came out.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from svd_core import animate, in_between, interpolate, load_model, read_image
from svd_core.cli.main import main
from svd_core.interpolation import Plan
from svd_core.types import Frames
from svd_core.video_io import write_frames
from svd_core.weights.build import EMBEDDED, SvdModel

ROOT = Path(__file__).resolve().parents[2]
IMAGES, ASSETS = ROOT / "web" / "docs" / "images", ROOT / "svd_core" / "assets"
_SIDE, _GAP, _QUALITY = 224, 8, 85
# Shown a second at the slow and the fast rate, and what two pictures are apart, in parts of the picture's width.
_SLOW, _FAST, _APART = Fraction(7), Fraction(24), 0.12


def beside(left: Tensor, right: Tensor) -> Tensor:
    """Two clips `T H W 3` as one, enlarged for the page, a pale line between them."""
    pictures = [
        F.interpolate(clip.movedim(-1, 1), (_SIDE, _SIDE), mode="bicubic", antialias=True).clamp(0, 1)
        for clip in (left, right)
    ]
    line = torch.ones(len(left), 3, _SIDE, _GAP)
    return torch.cat([pictures[0], line, pictures[1]], dim=-1).movedim(1, -1)


def seven_to_twenty_four(model: SvdModel) -> None:
    """A clip of the model as it is beside the same clip at another rate."""
    made = animate(model, read_image(ASSETS / "hills.png"), motion_bucket=100, seed=1)
    assert isinstance(made, Frames)
    slow, plan = Frames(made.pixels, _SLOW), Plan(factor=_FAST / _SLOW)
    shown = [interpolate(slow, plan, engine=engine).pixels for engine in ("nearest", "flow")]
    write_frames(beside(*shown), IMAGES / "interpolate_7_to_24.webp", _FAST)


def between_two_pictures(model: SvdModel) -> None:
    """A cross-fade of two pictures beside what the model makes of them, there and held at both ends."""
    whole = read_image(ASSETS / "hills.png")
    height, width = whole.shape[:2]
    side, step = round(min(height, width) * (1 - _APART)), round(width * _APART)
    pictures = [whole[:side, start : start + side] for start in (0, step)]
    made = in_between(model, pictures, flow_start=1.0, motion_bucket=100, seed=0, keep_ends=False).pixels
    fade = [torch.lerp(made[0], made[-1], index / (len(made) - 1)) for index in range(len(made))]
    both = beside(torch.stack(fade), made)
    held = [both[:1].expand(4, -1, -1, -1), both, both[-1:].expand(4, -1, -1, -1)]
    write_frames(torch.cat(held), IMAGES / "in_between.webp", Fraction(8))


def demo_sheet() -> None:
    """The contact sheet a newcomer gets from `svd demo`."""
    with tempfile.TemporaryDirectory() as folder:
        assert main(["demo", "--out", folder, "--quiet"]) == 0
        Image.open(Path(folder) / "sheet.png").convert("RGB").save(IMAGES / "demo_sheet.webp", quality=_QUALITY)


def make() -> None:
    """All of them, with the embedded model as it is now."""
    torch.set_num_threads(1)
    model = load_model(EMBEDDED)
    seven_to_twenty_four(model)
    between_two_pictures(model)
    demo_sheet()


if __name__ == "__main__":
    make()
