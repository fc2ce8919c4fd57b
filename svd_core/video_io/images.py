"""One picture in, whatever made it: orientation, depth, palette, ink and transparency settled here.

Pillow decodes; the guards against broken, tiny and enormous files are ours.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import FileFormatError, InputError, explain

# Pillow's own threshold for a decompression bomb; a float32 picture of this size takes 1 GB.
MAX_PIXELS = 89_478_485
MIN_SIDE = 8
_WITH_ALPHA = 4
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error, UnidentifiedImageError)


@dataclass(frozen=True, slots=True)
class Picture:
    """pixels `H W 3` float32 in [0, 1], alpha `H W` in [0, 1] or None, and what the reader decided on the way."""

    pixels: Tensor
    alpha: Tensor | None
    notices: tuple[str, ...]

    def over(self, background: float = 0.0) -> Tensor:
        """pixels composed over a grey of value `background`: `H W 3`."""
        if self.alpha is None:
            return self.pixels
        return torch.lerp(torch.full_like(self.pixels, background), self.pixels, self.alpha[..., None])


def with_alpha(picture: Picture) -> Tensor:
    """pixels and alpha `H W 4`; a picture without is opaque."""
    alpha = torch.ones_like(picture.pixels[..., 0]) if picture.alpha is None else picture.alpha
    return torch.cat((picture.pixels, alpha[..., None]), dim=-1)


def over_black(pixels: Tensor) -> Tensor:
    """`H W 4` composed over black, `H W 3`; frames without alpha as they are."""
    return pixels[..., :3] * pixels[..., 3:] if pixels.shape[-1] == _WITH_ALPHA else pixels


def has_alpha(path: Path) -> bool:
    """Whether a picture file says that it is transparent, from its header; False for what is no picture."""
    try:
        with Image.open(path) as image:
            return image.has_transparency_data
    except _BROKEN:
        return False


def read_image(path: Path | str, *, background: float = 0.0) -> Tensor:
    """A picture as `H W 3` float32 in [0, 1], upright, transparency composed over `background` (black).

    Raises:
        InputError: no such file, below 8 pixels a side or above 89 megapixels.
        FileFormatError: not a picture, truncated or corrupt.
    """
    return read_picture(path).over(background)


def read_picture(path: Path | str, *, min_side: int = MIN_SIDE) -> Picture:
    """A picture with its transparency apart.

    EXIF orientation is applied; of an animation the first frame is taken, with a notice; 16-bit grey is
    scaled by 65535 (16-bit colour is read at 8 bits); CMYK goes through its embedded profile when it has one;
    float pictures are clipped to [0, 1]. Errors as in `read_image`.
    """
    source = Path(path)
    _require_file(source)
    try:
        with warnings.catch_warnings():
            # The limit below speaks for itself; Pillow's warning at the same size would only repeat it.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source) as image:
                _check_size(source, image.size, min_side)
                notices = _notices(source, image)
                image.load()
                return _to_picture(ImageOps.exif_transpose(image), notices)
    except Image.DecompressionBombError as error:
        raise _too_large(source, "an even larger one") from error
    except _BROKEN as error:
        raise FileFormatError(
            explain(
                f"a complete picture in {source}",
                f"a damaged or unknown file ({type(error).__name__}: {error})",
                "Open it in an image program and save it again as PNG or JPEG.",
            )
        ) from error


def encode_rgb(frame: Tensor) -> NDArray[np.uint8]:
    """`H W 3`, or 4 with alpha, in [0, 1] on any device -> uint8 array, rounded to nearest, NaN black."""
    scaled = frame.detach().float().nan_to_num(0.0).clamp(0, 1).mul(255).round()
    return scaled.to(torch.uint8).cpu().contiguous().numpy()


def decode_rgb(array: NDArray[np.uint8]) -> Tensor:
    """uint8 `H W C` -> float32 in [0, 1]."""
    return torch.from_numpy(array.astype(np.float32)).div_(255)


def _require_file(source: Path) -> None:
    if source.is_dir():
        raise InputError(explain("a picture file", f"the folder {source}", "Name the pictures in it."))
    if not source.exists():
        raise InputError(explain("a picture file", f"nothing at {source}", "Check the path."))
    if source.stat().st_size == 0:
        raise FileFormatError(explain(f"a picture in {source}", "an empty file", "Copy or export it again."))


def _check_size(source: Path, size: tuple[int, int], min_side: int) -> None:
    width, height = size
    if min(width, height) < min_side:
        raise InputError(
            explain(
                f"a picture of at least {min_side}x{min_side} pixels",
                f"{width}x{height} in {source}",
                "Use a larger picture.",
            )
        )
    if width * height > MAX_PIXELS:
        raise _too_large(source, f"{width}x{height}")


def _too_large(source: Path, found: str) -> InputError:
    limit = f"a picture of at most {MAX_PIXELS / 1e6:.0f} megapixels"
    return InputError(explain(limit, f"{found} in {source}", "Scale it down first."))


def _notices(source: Path, image: Image.Image) -> tuple[str, ...]:
    frames = int(getattr(image, "n_frames", 1))
    # Multi-picture JPEGs of phones and cameras hold previews, not an animation.
    if frames > 1 and image.format != "MPO":
        return (f"{source} holds {frames} frames; the first one is used.",)
    return ()


def _to_picture(image: Image.Image, notices: tuple[str, ...]) -> Picture:
    if image.mode in _SIXTEEN_BIT or image.mode == "F":
        values = np.asarray(image).astype(np.float32)
        grey = torch.from_numpy(values if image.mode == "F" else values / 65535).clamp_(0, 1)
        return Picture(grey.nan_to_num(0.0)[..., None].repeat(1, 1, 3), None, notices)
    if image.mode == "CMYK":
        image = _from_ink(image)
    if image.has_transparency_data:
        rgba = decode_rgb(np.asarray(image.convert("RGBA")))
        return Picture(rgba[..., :3].contiguous(), rgba[..., 3].contiguous(), notices)
    return Picture(decode_rgb(np.asarray(image.convert("RGB"))), None, notices)


def _from_ink(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes):
        return image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except ImageCms.PyCMSError:
        return image.convert("RGB")
    return converted or image.convert("RGB")
