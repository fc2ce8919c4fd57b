"""A small learned network on top of the flow engine: which frame to believe where the two disagree, and by how much
the engine's own mixture is off there.

It sees what the engine drew and what it drew it from. Its last layer starts at zero, so untrained it changes nothing;
and what it may change is in proportion to the disagreement of the two frames around a place and to how well both see
it: nothing where they show the same, nor where one of them alone knows what is there (let loose on those, it lost 4 to
6 dB under large occlusion).
"""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import FileFormatError, explain
from .resample import blur
from .synthesis import Drawn

ASSET = "refiner.safetensors"
METADATA = "svd_studio.refiner"
# Colours of the picture and of both frames beside it, disagreement, share, both sights, time, move.
_PLANES = 3 + 6 + 1 + 1 + 2 + 1 + 2
_FOLD = 2
_COARSEST = 8
_OUTPUTS = 4
_PIXELS_A_UNIT = 16.0
_LOGIT_EDGE = 1e-3
_MOST_COLOUR = 0.5


class Refiner(nn.Module):
    """A U-Net at half the size of the picture; `widths` are its channels at 1/2, 1/4 and 1/8."""

    def __init__(self, widths: tuple[int, int, int] = (24, 40, 56)) -> None:
        super().__init__()
        fine, middle, coarse = self.widths = widths
        self.enter = nn.Conv2d(_PLANES * _FOLD**2, fine, 3, padding=1)
        self.fine = _Residual(fine)
        self.down = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle = _Residual(middle)
        self.deeper = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = nn.Sequential(_Residual(coarse), _Residual(coarse))
        self.higher = nn.Conv2d(coarse, middle, 1)
        self.middle_again = _Residual(middle)
        self.up = nn.Conv2d(middle, fine, 1)
        self.fine_again = _Residual(fine)
        self.leave = nn.Conv2d(fine, _OUTPUTS * _FOLD**2, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, planes: Tensor) -> Tensor:
        """`planes_of` `N 16 H W`, sides multiples of 8 -> shift of the share's logit and of the colours, `N 4 H W`."""
        fine = self.fine(F.silu(self.enter(F.pixel_unshuffle(planes, _FOLD))))
        middle = self.middle(F.silu(self.down(fine)))
        coarse = self.coarse(F.silu(self.deeper(middle)))
        middle = self.middle_again(middle + _doubled(self.higher(coarse)))
        fine = self.fine_again(fine + _doubled(self.up(middle)))
        return F.pixel_shuffle(self.leave(F.silu(fine)), _FOLD)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        return values + self.second(F.silu(self.first(F.silu(values))))


def _doubled(values: Tensor) -> Tensor:
    return F.interpolate(values, scale_factor=2, mode="bilinear", align_corners=False)


def planes_of(drawn: Drawn, time: float) -> Tensor:
    """What the network sees of a frame of three colours: `1 16 H W`."""
    one, two = drawn.warped[:1], drawn.warped[1:]
    return torch.cat(
        (
            drawn.picture - 0.5,
            one - drawn.picture,
            two - drawn.picture,
            _disagreement(one, two),
            drawn.share,
            drawn.seen.transpose(0, 1),
            torch.full_like(drawn.share, time),
            (drawn.move / _PIXELS_A_UNIT).clamp(-4, 4),
        ),
        dim=1,
    )


def change(planes: Tensor, shifts: Tensor) -> Tensor:
    """What is to be added to the picture, `N 3 H W`, from the planes and the network's shifts."""
    between = planes[:, 6:9] - planes[:, 3:6]
    logit = torch.logit(planes[:, 10:11], eps=_LOGIT_EDGE)
    turned = torch.sigmoid(logit + shifts[:, :1]) - torch.sigmoid(logit)
    both_see = planes[:, 11:12] * planes[:, 12:13]
    return both_see * (turned * between + _MOST_COLOUR * planes[:, 9:10] * torch.tanh(shifts[:, 1:]))


def refined(network: Refiner, drawn: Drawn, time: float) -> Tensor:
    """The picture of `drawn` (`1 3 H W`, or 4 with alpha, which stays) with the network's change."""
    colours = Drawn(drawn.picture[:, :3], drawn.warped[:, :3], drawn.share, drawn.seen, drawn.move)
    planes = planes_of(colours, time)
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (0, -width % _COARSEST, 0, -height % _COARSEST), mode="replicate")
    with torch.no_grad():
        shifts = network(padded)[..., :height, :width]
        changed = colours.picture + change(planes, shifts)
    low, high = colours.warped.amin(), colours.warped.amax()
    return torch.cat((changed.clamp(low, high), drawn.picture[:, 3:]), dim=1)


def load_refiner(path: Path | str) -> Refiner:
    """A refiner from a safetensors file.

    Raises:
        FileFormatError: not one, or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            widths = json.loads((file.metadata() or {})[METADATA])["widths"]
            # Without memory until the tensors are there: a file may say any width.
            with torch.device("meta"):
                network = Refiner(tuple(widths))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            network.load_state_dict(tensors, assign=True)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise FileFormatError(
            explain(f"a refiner in {path}", f"{type(error).__name__}: {error}", "Train one: svd train refiner.")
        ) from error
    return network.eval().requires_grad_(False)


def shipped() -> Refiner | None:
    """The refiner that comes with the package, if one does; read anew, for whoever runs it moves it to a device."""
    # Inside the host the package goes by a longer name.
    asset = files(__name__.rsplit(".", 2)[0]) / "assets" / ASSET
    if not asset.is_file():
        return None
    with as_file(asset) as path:
        return load_refiner(path)


def _disagreement(one: Tensor, two: Tensor) -> Tensor:
    return blur((one - two).abs().mean(dim=1, keepdim=True), 1.0)
