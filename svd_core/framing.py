"""How a picture of any shape becomes a clip of a size the model knows, and how its own shape is got back.

Sizes are chosen near the area a network was trained on; what happens to the rest of the picture is the artist's word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .errors import InputError, choose_from, explain
from .source_image import fit_image
from .video_io.images import MAX_PIXELS, MIN_SIDE

Framing = Literal["crop", "pad", "blur", "stretch"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)

_GRID = 64
# Between a quarter and four times as wide as high: beyond that the networks draw the same thing twice.
_LONGEST = 2.0
# A wrong shape costs picture, a wrong area only a little of what the network is used to.
_AREA_COST = 0.5
_BLUR = 16
# Their latents and noise take half a gigabyte each; the networks need hundreds of times more.
_MOST_PIXELS = 2 * 10**9
# Shapes closer than this count as equal: less than a grid line.
_SAME_SHAPE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where the picture lies in the frame, in pixels, and the width / height it had."""

    left: int
    top: int
    width: int
    height: int
    aspect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """pixels `B 3 H W` in [0, 1]; `kept` is the share of the picture's area that is still seen."""

    pixels: Tensor
    box: Box
    kept: float


def check_picture(width: int, height: int) -> None:
    """Whether a clip can be made of a picture of that size; asked before anything is computed with it.

    Raises:
        InputError: below 8 pixels a side, or above 89 megapixels.
    """
    if min(height, width) < MIN_SIDE or height * width > MAX_PIXELS:
        expected = f"a picture of at least {MIN_SIDE}x{MIN_SIDE} and at most {MAX_PIXELS // 10**6} megapixels"
        raise InputError(explain(expected, f"{width}x{height}", "Scale the picture, or choose another one."))


def check_volume(frames: int, width: int, height: int) -> None:
    """Whether a clip of that size is more than a typing error; asked before its noise is drawn.

    Raises:
        InputError: more than 2 thousand million pixels in all frames together.
    """
    if frames * width * height > _MOST_PIXELS:
        found = f"{frames} frames of {width}x{height}"
        remedy = "Take fewer frames or a smaller size: 1024x576 allows 3390 frames, 4096x4096 still 119."
        raise InputError(explain(f"at most {_MOST_PIXELS:,} pixels in a clip", found, remedy))


def choose_size(width: int, height: int, area: int) -> tuple[int, int]:
    """Width and height nearest to `area` pixels and to the shape of a `width` x `height` picture.

    Both lie on a grid of 64 pixels, finer where the area itself is small. 1024 x 576 pixels give 1024x576 for 16:9,
    768x768 for a square and 576x1024 for 9:16; shapes beyond 4:1 get 4:1.
    """
    side = math.sqrt(area)
    grid = min(_GRID, max(8, 2 ** math.floor(math.log2(side / 4))))
    sides = range(grid, int(side * _LONGEST) + grid, grid)

    def cost(size: tuple[int, int]) -> float:
        shape = abs(math.log(size[0] / size[1] * height / width))
        return shape + _AREA_COST * abs(math.log(size[0] * size[1] / area))

    within = [size for size in product(sides, sides) if 1 / _LONGEST**2 <= size[0] / size[1] <= _LONGEST**2]
    return min(within, key=cost)


def frame_picture(pixels: Tensor, width: int, height: int, framing: str, bars: float = 0.0) -> Framed:
    """`B 3 H W` in [0, 1] -> `B 3 height width`.

    crop keeps the middle, pad adds bars of a grey (0 black, 1 white), blur fills the bars with the picture itself
    out of focus, stretch changes the shape. `restore` undoes the last three.

    Raises:
        InputError: an unknown way of framing.
    """
    if framing not in FRAMINGS:
        raise InputError(choose_from("framing", framing, FRAMINGS))
    whole = pixels.shape[-1] / pixels.shape[-2]
    full = Box(left=0, top=0, width=width, height=height, aspect=whole)
    target = width / height
    if framing == "stretch":
        return Framed(pixels=_resized(pixels, width, height), box=full, kept=1.0)
    if framing == "crop":
        kept = min(whole / target, target / whole)
        box = Box(left=0, top=0, width=width, height=height, aspect=target)
        return Framed(pixels=fit_image(pixels, width, height), box=box, kept=kept)
    box = _centred(whole, width, height)
    plain = pixels.new_full((1, 3, height, width), bars)
    frame = _blurred(fit_image(pixels, width, height)) if framing == "blur" else plain
    frame = frame.expand(len(pixels), -1, -1, -1).clone()
    frame[..., box.top : box.top + box.height, box.left : box.left + box.width] = _resized(
        pixels, box.width, box.height
    )
    return Framed(pixels=frame, box=box, kept=1.0)


def restore(frames: Tensor, box: Box) -> Tensor:
    """Finished frames `T H W 3` in the picture's own shape: bars cut away, or the stretching undone.

    Frames of another size than the box was made for (upscaled ones) are cut in proportion.
    """
    height, width = frames.shape[1:3]
    across, down = width / (2 * box.left + box.width), height / (2 * box.top + box.height)
    left, top = round(box.left * across), round(box.top * down)
    cut = frames[:, top : top + round(box.height * down), left : left + round(box.width * across)]
    height, width = cut.shape[1:3]
    if abs(math.log(width / height / box.aspect)) < _SAME_SHAPE:
        return cut
    side = math.sqrt(width * height)
    wide, high = (max(2, 2 * round(side * stretch / 2)) for stretch in (math.sqrt(box.aspect), box.aspect**-0.5))
    resized = _resized(rearrange(cut, "t h w c -> t c h w"), wide, high)
    return rearrange(resized, "t c h w -> t h w c")


def _centred(aspect: float, width: int, height: int) -> Box:
    """The largest box of that shape in the middle of the frame; margins are equal on both sides."""
    inner_width, inner_height = min(width, height * aspect), min(height, width / aspect)
    left, top = (round((outer - inner) / 2) for outer, inner in ((width, inner_width), (height, inner_height)))
    return Box(left=left, top=top, width=width - 2 * left, height=height - 2 * top, aspect=aspect)


def _blurred(frame: Tensor) -> Tensor:
    height, width = frame.shape[-2:]
    small = _resized(frame, max(2, width // _BLUR), max(2, height // _BLUR))
    return _resized(small, width, height)


def _resized(pixels: Tensor, width: int, height: int) -> Tensor:
    if pixels.shape[-2:] == torch.Size((height, width)):
        return pixels
    # Cubic kernels overshoot at edges.
    resized = F.interpolate(pixels, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 1)
