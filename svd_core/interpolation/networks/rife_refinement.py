"""What the oldest layouts do after the flow: a U-Net that corrects colours, given features of both frames carried along
(Huang et al. 2022). The versions themselves leave it out unless asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...operations import Layers
from ..resample import positions, read

_LEAK = 0.2
_WIDTH = 16
_LEVELS = 4
# Two frames, the same warped, mask, flow.
_SEEN = 4 * 3 + 1 + 4


def activated(layers: Layers, convolution: nn.Module, *, prelu: bool) -> nn.Sequential:
    """A convolution and its activation, with a learned slope per channel or a fixed one."""
    if not prelu:
        return nn.Sequential(convolution, nn.LeakyReLU(_LEAK))
    width = cast("int", convolution.out_channels)
    return nn.Sequential(convolution, Slopes(width, device=layers.device, dtype=layers.dtype))


class Slopes(nn.PReLU):
    """The learned slopes, wherever a host that moves layers it knows has left them."""

    def forward(self, input: Tensor) -> Tensor:
        """`B C H W` -> `B C H W`."""
        return F.prelu(input, self.weight.to(input))


@dataclass(frozen=True, slots=True)
class Refinement:
    """The two networks at work."""

    context: ContextNet
    unet: ColourNet

    @staticmethod
    def parts(layers: Layers, *, prelu: bool) -> tuple[ContextNet, ColourNet]:
        """Both networks, to be registered under the names files have for them."""
        return ContextNet(layers, prelu=prelu), ColourNet(layers, prelu=prelu)

    def correct(self, picture: Tensor, views: list[Tensor], mask: Tensor, flow: Tensor) -> Tensor:
        """`picture` `B 3 H W` with corrected colours; `views` are both frames and both warped."""
        contexts = [self.context(view, side) for view, side in zip(views[:2], flow.chunk(2, dim=1), strict=True)]
        seen = torch.cat((*views, mask, flow.to(picture.dtype)), dim=1)
        return (picture + 2 * self.unet(seen, contexts) - 1).clamp(0, 1)


class Pair(nn.Module):
    """Two convolutions, the first to half the size."""

    def __init__(self, layers: Layers, inputs: int, outputs: int, *, prelu: bool) -> None:
        super().__init__()
        self.conv1 = activated(layers, layers.conv2d(inputs, outputs, stride=2), prelu=prelu)
        self.conv2 = activated(layers, layers.conv2d(outputs, outputs), prelu=prelu)

    def forward(self, x: Tensor) -> Tensor:
        """`B C H W` -> `B D H/2 W/2`."""
        return self.conv2(self.conv1(x))


class ContextNet(nn.Module):
    """Features of one frame at four sizes, each warped to the wanted time."""

    def __init__(self, layers: Layers, *, prelu: bool) -> None:
        super().__init__()
        widths = [3, *(_WIDTH << level for level in range(_LEVELS))]
        for level in range(_LEVELS):
            self.add_module(f"conv{level + 1}", Pair(layers, widths[level], widths[level + 1], prelu=prelu))

    def forward(self, frame: Tensor, flow: Tensor) -> list[Tensor]:
        """`B 3 H W` and its flow `B 2 H W` -> features at half the size, a quarter, ..."""
        carried: list[Tensor] = []
        for pair in self.children():
            frame = pair(frame)
            flow = F.interpolate(flow, scale_factor=0.5, mode="bilinear", align_corners=False) * 0.5
            places = positions(frame.shape[-2], frame.shape[-1], flow) + flow
            carried.append(read(frame.float(), places).to(frame.dtype))
        return carried


class ColourNet(nn.Module):
    """A U-Net from everything known to colours in [0, 1]."""

    def __init__(self, layers: Layers, *, prelu: bool) -> None:
        super().__init__()
        c = _WIDTH
        # On the way down a level sees what the one before made and both frames' features of that size.
        for level, (inputs, outputs) in enumerate(((_SEEN, 2 * c), (4 * c, 4 * c), (8 * c, 8 * c), (16 * c, 16 * c))):
            self.add_module(f"down{level}", Pair(layers, inputs, outputs, prelu=prelu))
        for level, (inputs, outputs) in enumerate(((32 * c, 8 * c), (16 * c, 4 * c), (8 * c, 2 * c), (4 * c, c))):
            self.add_module(f"up{level}", activated(layers, layers.upsampling(inputs, outputs), prelu=prelu))
        self.conv = layers.conv2d(c, 3)

    def forward(self, seen: Tensor, contexts: list[list[Tensor]]) -> Tensor:
        """seen `B 17 H W`, features of both frames -> `B 3 H W`."""
        modules = dict(self.named_children())
        x, passed = seen, list[Tensor]()
        for level in range(_LEVELS):
            x = modules[f"down{level}"](x)
            passed.append(x)
            x = torch.cat((x, *(context[level] for context in contexts)), dim=1)
        for level in range(_LEVELS):
            x = modules[f"up{level}"](x)
            x = torch.cat((x, passed[-2 - level]), dim=1) if level < _LEVELS - 1 else x
        return torch.sigmoid(self.conv(x))
