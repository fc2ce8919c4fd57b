"""The artist's picture on its way in: whatever holds it becomes pixels, fitted to the size of the clip.

Files are read by `video_io`; this file takes what is already in memory. Everything runs in float32 on the
CPU, so that a clip does not depend on the device's own resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from .errors import InputError, explain

ImageLike = Tensor | NDArray[Any] | Image.Image
"""RGB or RGBA: PIL, or an array `H W C`, `C H W`, `B H W C` or `B C H W`, floats in [0, 1] or uint8."""

Colour = tuple[float, float, float]
BLACK: Colour = (0.0, 0.0, 0.0)

# Resampling overshoots [0, 1] by a few percent; anything beyond this is another range altogether.
_OVERSHOOT = 0.1
_CONVERTIBLE_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "La", "RGBa")


def to_pixels(image: ImageLike, *, background: Colour = BLACK) -> Tensor:
    """Any accepted image -> `B 3 H W` float32 in [0, 1] on the CPU.

    Transparency (straight alpha) is composed over `background`, RGB in [0, 1]: black unless said otherwise,
    as the published demos do. EXIF orientation of a PIL image is applied. Slight overshoot is clipped.

    Raises:
        InputError: not RGB(A), another value range, NaN, or a PIL mode that needs a reader's decision.
    """
    values = _to_float(_from_pil(image) if isinstance(image, Image.Image) else torch.as_tensor(image))
    pixels = _channels_first(values)
    lowest, highest = (float(end) for end in pixels.aminmax())
    if not (lowest >= -_OVERSHOOT and highest <= 1 + _OVERSHOOT):
        found = f"values from {lowest:.4g} to {highest:.4g}"
        raise InputError(explain("image values in [0, 1]", found, "Rescale the image; [-1, 1] is used inside only."))
    pixels = pixels.clamp(0, 1)
    if pixels.shape[1] == 3:
        return pixels
    colour, alpha = pixels[:, :3], pixels[:, 3:]
    return torch.lerp(torch.tensor(background).view(1, 3, 1, 1).expand_as(colour), colour, alpha)


def check_size(size: Sequence[int], grid: int) -> tuple[int, int]:
    """(width, height) if both are positive multiples of `grid` pixels, the side of one latent cell.

    Raises:
        InputError: otherwise; the message names the nearest valid sizes.
    """
    sides = tuple(int(side) for side in size)
    if len(sides) == 2 and all(side >= grid and side % grid == 0 for side in sides):
        return sides[0], sides[1]
    found = "x".join(str(side) for side in size)
    if len(sides) != 2:
        raise InputError(explain("`size` as width and height", found, "Write for example 1024x576."))
    smaller = "x".join(str(max(grid, side // grid * grid)) for side in sides)
    larger = "x".join(str(max(grid, -(-side // grid) * grid)) for side in sides)
    nearest = smaller if smaller == larger else f"{smaller} or {larger}"
    raise InputError(explain(f"width and height as multiples of {grid}", found, f"The nearest sizes are {nearest}."))


def fit_image(pixels: Tensor, width: int, height: int) -> Tensor:
    """`B 3 H W` in [0, 1] -> `B 3 height width`: centre crop to the asked aspect, then antialiased bicubic.

    Nothing is stretched and nothing padded; an image of the right size passes untouched.
    """
    cropped = _crop_to_aspect(pixels, width / height)
    if cropped.shape[-2:] == (height, width):
        return cropped
    # Cubic kernels overshoot at edges; the autoencoder has only ever seen [0, 1].
    resized = F.interpolate(cropped, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 1)


def _crop_to_aspect(pixels: Tensor, aspect: float) -> Tensor:
    """The largest centred window of that width / height, to the nearest pixel."""
    height, width = pixels.shape[-2:]
    kept_width = max(1, min(width, round(height * aspect)))
    kept_height = max(1, min(height, round(width / aspect)))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return pixels[..., top : top + kept_height, left : left + kept_width]


def _from_pil(image: Image.Image) -> Tensor:
    if image.mode not in _CONVERTIBLE_MODES:
        remedy = "Read the file with svd_core.video_io.read_image, or convert it to RGB."
        raise InputError(explain("an 8-bit PIL image", f"mode {image.mode}", remedy))
    upright = ImageOps.exif_transpose(image)
    return torch.from_numpy(np.array(upright.convert("RGBA" if upright.has_transparency_data else "RGB")))


def _to_float(values: Tensor) -> Tensor:
    if values.is_floating_point():
        return values.detach().to("cpu", torch.float32)
    if values.dtype is not torch.uint8:
        raise InputError(explain("an image of floats or uint8", str(values.dtype), "Convert it to floats in [0, 1]."))
    return values.to("cpu").float() / 255


def _channels_first(values: Tensor) -> Tensor:
    """Add the batch axis and move colour first; the colour axis is the one with 3 or 4 entries, last before first."""
    batch = values.unsqueeze(0) if values.ndim == 3 else values
    if batch.ndim == 4 and 0 not in batch.shape:
        if batch.shape[-1] in (3, 4):
            return rearrange(batch, "b h w c -> b c h w")
        if batch.shape[1] in (3, 4):
            return batch
    found = f"shape {tuple(values.shape)}"
    raise InputError(explain("an RGB or RGBA image as H W C, C H W or a batch of them", found, "Convert it to RGB."))
