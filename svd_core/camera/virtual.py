"""The virtual camera: draws the views of a camera path over a picture, and knows the exact motion of every pixel.

This file decides sampling, antialiasing and borders; the geometry is `path`'s, the choice of moves its caller's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError, explain
from .path import CameraPath, differentiate, displacement

_PERCENT = 0.01
_DEGREE = math.pi / 180
# Views that shrink the picture more than this are drawn from a smaller copy; what is left is supersampled.
_SHRINK_PER_LEVEL = 2.0


def view_grid(path: CameraPath, height: int, width: int) -> Tensor:
    """Scene coordinates of every pixel of every view: path `... T` -> `... T H W 2` as (x, y).

    Units are those of `grid_sample(align_corners=False)` over a scene that exactly fills the view at rest (pan, tilt,
    zoom, roll = 0): that view spans [-1, 1] across and down, whatever its aspect. Turns are rigid in pixels. For a
    supersampled grid ask for a multiple of both sides: the coordinates stay in the same units.
    """
    x = _pixel_centres(width, path.pan).expand(height, width)
    y = _pixel_centres(height, path.pan)[:, None].expand(height, width)
    return _to_scene(path, x, y, height / width)


def flow(path: CameraPath, height: int, width: int) -> Tensor:
    """Displacement in pixels (x, y) of what each pixel of frame t shows, until frame t+1: `... T` -> `... T-1 H W 2`.

    Exact, also outside the frame. For two arbitrary frames use `flow(pair(path, source, target), ...)`; with the two
    frames swapped this is the exact inverse map.
    """
    return displacement(differentiate(path, height, width), height, width)


def render(
    image: Tensor, path: CameraPath, size: tuple[int, int], *, whole: bool = False, smallest_crop: float = 0.5
) -> Tensor:
    """Draw the views of a path over a picture.

    Args:
        image: `C H W` or `B C H W`, values in [0, 1], any float dtype.
        path: states `T` or `B T`; one picture serves several paths and one path several pictures.
        size: (height, width) of the views.
        whole: the view at rest shows the largest centred part of the picture that has the views' aspect; what the
            path shows beyond the picture is mirrored. Otherwise the picture is cropped so that no view leaves it,
            as far as the crop stays above `smallest_crop`.
        smallest_crop: least side of the view at rest, as a fraction of that largest part.

    Returns:
        `B T C H W` in the picture's dtype and on its device, in [0, 1]. Antialiased: each pixel averages the picture
        over its own area where the view shrinks it, and is reconstructed with a cubic where it does not. A picture at
        least twice as large as the views gives moving frames as sharp as resting ones.

    Raises:
        InputError: the shapes do not fit, or the size is empty.
    """
    images, path = _batched(image, path, size)
    height, width = size
    crop = _whole_picture(images, path, size) if whole else _crop_inside(images, path, size, smallest_crop)
    shrink = crop.pixels[:, None] / path.scale
    level = max(1.0, shrink.min().item() / _SHRINK_PER_LEVEL)
    # One number of samples for the whole batch: a clip must not change sharpness between two frames.
    samples = max(1, math.ceil(shrink.max().item() / level - 1e-3))
    reduced = _reduce(images, level)
    views = [
        _sample(reduced, crop.place(view_grid(_frame(path, t), height * samples, width * samples)), samples)
        for t in range(path.frames)
    ]
    return torch.stack(views, dim=1).clamp(0, 1).to(image.dtype)


@dataclass(frozen=True, slots=True)
class _Crop:
    """Where the view at rest lies in the picture: `pixels` of it per view pixel, `B`, and an affine map, `B 1 1 2`."""

    pixels: Tensor
    scale: Tensor
    offset: Tensor

    def place(self, grid: Tensor) -> Tensor:
        """From scene coordinates `B H W 2` to `grid_sample` coordinates of the picture."""
        return grid * self.scale + self.offset


def _whole_picture(images: Tensor, path: CameraPath, size: tuple[int, int]) -> _Crop:
    pixels = torch.full_like(path.pan[:, 0], _largest(images, size))
    scale = _crop_scale(images, pixels, size)
    return _Crop(pixels, scale[:, None, None], torch.zeros_like(scale)[:, None, None])


def _crop_inside(images: Tensor, path: CameraPath, size: tuple[int, int], smallest: float) -> _Crop:
    """The largest crop whose every view stays inside, with the path's bounding box in the picture's middle."""
    corner = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]], device=path.pan.device)
    corners = _to_scene(path, corner, corner.mT, size[0] / size[1])
    low, high = corners.amin(dim=(1, 2, 3)), corners.amax(dim=(1, 2, 3))
    sides = torch.tensor([images.shape[-1] / size[1], images.shape[-2] / size[0]], device=path.pan.device)
    pixels = (2 * sides / (high - low)).amin(dim=-1).clamp(min=smallest * _largest(images, size))
    scale = _crop_scale(images, pixels, size)
    return _Crop(pixels, scale[:, None, None], (-(low + high) / 2 * scale)[:, None, None])


def _largest(images: Tensor, size: tuple[int, int]) -> float:
    return min(images.shape[-2] / size[0], images.shape[-1] / size[1])


def _crop_scale(images: Tensor, pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Part of the picture (across, down) the view at rest covers, `B 2`."""
    return torch.stack((pixels * (size[1] / images.shape[-1]), pixels * (size[0] / images.shape[-2])), dim=-1)


def _sample(images: Tensor, grid: Tensor, samples: int) -> Tensor:
    views = F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(views, samples) if samples > 1 else views


def _reduce(images: Tensor, level: float) -> Tensor:
    """The picture made smaller by `level`, once for all frames; its normalised coordinates stay the same."""
    if level <= 1:
        return images
    size = [max(1, round(side / level)) for side in images.shape[-2:]]
    return F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)


def _to_scene(path: CameraPath, x: Tensor, y: Tensor, aspect: float) -> Tensor:
    """Carry view coordinates `H W`, [-1, 1] on the frame's edges, into the scene: `... T H W 2`."""
    angle = path.roll * _DEGREE
    cos = (torch.cos(angle) / path.scale)[..., None, None]
    sin = (torch.sin(angle) / path.scale)[..., None, None]
    # Sides are 2 units long, so 1 % of a side is 0.02; y is counted in half heights, hence the aspect.
    across = cos * x - sin * aspect * y + (2 * _PERCENT) * path.pan[..., None, None]
    down = sin / aspect * x + cos * y - (2 * _PERCENT) * path.tilt[..., None, None]
    return torch.stack((across, down), dim=-1)


def _pixel_centres(count: int, like: Tensor) -> Tensor:
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) * (2 / count) - 1


def _frame(path: CameraPath, index: int) -> CameraPath:
    return CameraPath(
        pan=path.pan[..., index], tilt=path.tilt[..., index], zoom=path.zoom[..., index], roll=path.roll[..., index]
    )


def _batched(image: Tensor, path: CameraPath, size: tuple[int, int]) -> tuple[Tensor, CameraPath]:
    """Both with a leading clip axis, in float32, on the picture's device."""
    images = image if image.ndim == 4 else image[None]
    clips = max(images.shape[0], path.pan.shape[0] if path.pan.ndim == 2 else 1)
    fits = images.ndim == 4 and path.pan.ndim in (1, 2)
    fits = fits and images.shape[0] in (1, clips) and (path.pan.ndim == 1 or path.pan.shape[0] in (1, clips))
    if not fits or min(*size, *images.shape, *path.pan.shape) < 1:
        raise InputError(
            explain(
                "a picture `C H W` or `B C H W`, a path `T` or `B T` and a size of at least 1 x 1",
                f"picture {tuple(image.shape)}, path {tuple(path.pan.shape)}, size {size}",
                "Give one picture, one path, or as many of each.",
            )
        )

    def states(values: Tensor) -> Tensor:
        return values.to(images.device, torch.float32).expand(clips, path.frames)

    widened = CameraPath(pan=states(path.pan), tilt=states(path.tilt), zoom=states(path.zoom), roll=states(path.roll))
    return images.float().expand(clips, -1, -1, -1), widened
