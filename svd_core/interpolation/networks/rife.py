"""RIFE 4: frames between two by intermediate flow (Huang et al., ECCV 2022), all layouts in one network.

Blocks work from coarse to fine. Each sees both frames warped to the wanted time by the flow known so far, and corrects
that flow and the mask that says which frame a pixel is taken from. Flow is summed in float32 whatever the weights are:
half precision knows only quarters of a pixel beyond 256 of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...operations import Layers
from ...rife_layouts import FLOW, MASK, RifeConfig
from ..resample import positions, read
from .rife_refinement import Refinement, activated

_LEAK = 0.2
_TRUNK = 8
# Pixels: a correction this large in both directions says that the coarsest block did not see far enough.
_TOO_FAST = 32.0


@dataclass(frozen=True, slots=True)
class Motion:
    """Flow `B 4 H W` float32 in pixels from the wanted time to both frames, mask `B 1 H W` before the sigmoid, and what
    a block tells the next `B F H W`."""

    flow: Tensor
    mask: Tensor
    features: Tensor


class Rife(nn.Module):
    """The network of one config; parameter names are the files'."""

    def __init__(self, config: RifeConfig, layers: Layers | None = None) -> None:
        super().__init__()
        layers = Layers() if layers is None else layers
        self.config = config
        self.flow_scale = 1.0
        self.refine = False
        self.encode = Encoder(layers, config) if config.layout.head != "none" else None
        self.blocks = nn.ModuleList([Block(layers, config, index) for index in range(len(config.widths))])
        if config.refines:
            self.contextnet, self.unet = Refinement.parts(layers, prelu=config.layout.prelu)

    @property
    def multiple(self) -> int:
        """What height and width of frames must be multiples of."""
        return self.config.multiple(self.flow_scale)

    def encoded(self, frames: Tensor) -> Tensor:
        """What blocks see of frames `B 3 H W` besides their colours: `B E H W`, E 0 where a layout has no encoder."""
        return frames[:, :0] if self.encode is None else self.encode(frames)

    def forward(self, first: Tensor, second: Tensor, times: Tensor) -> Tensor:
        """See `frames_at`."""
        return self.frames_at(first, second, times)

    def frames_at(
        self, first: Tensor, second: Tensor, times: Tensor, encoded: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The frames at `times` `B` in (0, 1) between frames `B C H W` in [0, 1] -> `B C H W`.

        C is 3 or more; further channels (alpha) go along with the colours. H and W are multiples of `multiple`.
        encoded: `encoded` of both frames' colours, where it is known already.
        """
        if self.config.layout.zooms_out and len(first) > 1:
            # Whether to look farther is decided for every frame alone, so that a batch changes nothing.
            rows = zip(first.split(1), second.split(1), times.split(1), strict=True)
            return torch.cat([self.frames_at(*row) for row in rows])
        frames = first, second
        codes = encoded or (self.encoded(first[:, :3]), self.encoded(second[:, :3]))
        clock = times.to(first.dtype).view(-1, 1, 1, 1).expand(-1, 1, *first.shape[-2:])
        motion = self.motion((first[:, :3], second[:, :3]), codes, clock)
        seen = [warp(frame, flow) for frame, flow in zip(frames, motion.flow.chunk(2, dim=1), strict=True)]
        picture = torch.lerp(seen[1], seen[0], torch.sigmoid(motion.mask))
        if not (self.refine and self.config.refines):
            return picture
        views = [view[:, :3] for view in (*frames, *seen)]
        better = Refinement(self.contextnet, self.unet).correct(picture[:, :3], views, motion.mask, motion.flow)
        return torch.cat((better, picture[:, 3:]), dim=1)

    def motion(
        self, frames: tuple[Tensor, Tensor], encoded: tuple[Tensor, Tensor], clock: Tensor, zoom: float = 1.0
    ) -> Motion:
        """Flow and mask at the times `clock` `B 1 H W` between frames `B 3 H W`; `zoom` coarsens every block."""
        sides = [torch.cat(side, dim=1) for side in zip(frames, encoded, strict=True)]
        known: Motion | None = None
        for index, (block, scale) in enumerate(zip(self.blocks, self.config.layout.scales, strict=True)):
            views = sides if known is None else [warp(*one) for one in zip(sides, known.flow.chunk(2, 1), strict=True)]
            colours, codes = zip(*(view.split((3, view.shape[1] - 3), dim=1) for view in views), strict=True)
            told = () if known is None else (known.mask, known.features)
            step = block(torch.cat((*colours, *codes, clock, *told), dim=1), known, scale * zoom / self.flow_scale)
            if self.config.layout.zooms_out and index == 1 and zoom == 1 and _too_fast(step.flow):
                return self.motion(frames, encoded, clock, zoom=2.0)
            known = step if known is None else self._corrected(known, step)
        assert known is not None
        return known

    def _corrected(self, known: Motion, step: Motion) -> Motion:
        mask = known.mask + step.mask if self.config.layout.adds_masks else step.mask
        return Motion(known.flow + step.flow, mask, step.features)


class Block(nn.Module):
    """One stage of the pyramid: a quarter-size trunk over what is seen at its scale, and what it says of the motion."""

    def __init__(self, layers: Layers, config: RifeConfig, index: int) -> None:
        super().__init__()
        layout, width = config.layout, config.widths[index]
        self._residual, self._shuffled, self._features = layout.trunk == "residual", layout.shuffled, layout.features
        self.conv0 = nn.Sequential(
            activated(layers, layers.conv2d(config.inputs(index), width // 2, stride=2), prelu=layout.prelu),
            activated(layers, layers.conv2d(width // 2, width, stride=2), prelu=layout.prelu),
        )
        self.convblock = nn.Sequential(
            *(
                ScaledConv(layers, width, config.groups)
                if layout.trunk == "scaled"
                else activated(layers, layers.conv2d(width, width), prelu=layout.prelu)
                for _ in range(_TRUNK)
            )
        )
        last = layers.upsampling(width, layout.planes * (4 if layout.shuffled else 1))
        self.lastconv = nn.Sequential(last, nn.PixelShuffle(2)) if layout.shuffled else last

    def forward(self, seen: Tensor, known: Motion | None, scale: float) -> Motion:
        """seen `B C H W` -> the correction of flow and mask, at full size; the trunk works at `scale` times coarser."""
        x = _resized(seen, 1 / scale)
        if known is not None:
            x = torch.cat((x, (_resized(known.flow, 1 / scale) / scale).to(x.dtype)), dim=1)
        x = self.conv0(x)
        x = self.convblock(x) + x if self._residual else self.convblock(x)
        grow = scale if self._shuffled else 2 * scale
        said = _resized(self.lastconv(x), grow)
        begin = FLOW + MASK
        return Motion(said[:, :FLOW].float() * grow, said[:, FLOW:begin], said[:, begin : begin + self._features])


class ScaledConv(nn.Module):
    """A convolution, scaled per channel, added to its input."""

    def __init__(self, layers: Layers, width: int, groups: int) -> None:
        super().__init__()
        self.conv = layers.conv2d(width, width, groups=groups)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1, device=layers.device, dtype=layers.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """`B C H W` -> `B C H W`."""
        # Hosts move the parameters of layers they know; this one may have stayed behind.
        return F.leaky_relu(torch.addcmul(x, self.conv(x), self.beta.to(x)), _LEAK)


class Encoder(nn.Module):
    """A frame's own features at full size: convolutions at half size, the last one brings them back."""

    def __init__(self, layers: Layers, config: RifeConfig) -> None:
        super().__init__()
        first, *middle, last = config.layout.head_layers
        self.add_module(first, layers.conv2d(3, config.head_width, stride=2))
        for name in middle:
            self.add_module(name, layers.conv2d(config.head_width, config.head_width))
        self.add_module(last, layers.upsampling(config.head_width, config.head_channels))
        self._bends = config.layout.head != "short"

    def forward(self, frames: Tensor) -> Tensor:
        """`B 3 H W` -> `B E H W`."""
        *convolutions, last = self.children()
        for layer in convolutions:
            frames = layer(frames)
            frames = F.leaky_relu(frames, _LEAK) if self._bends else frames
        return last(frames)


def warp(pictures: Tensor, flow: Tensor) -> Tensor:
    """`B C H W` read where `flow` `B 2 H W` points, in pixels; beyond the frame its edge is repeated."""
    places = positions(pictures.shape[-2], pictures.shape[-1], flow) + flow
    return read(pictures.float(), places).to(pictures.dtype)


def _resized(values: Tensor, factor: float) -> Tensor:
    return values if factor == 1 else F.interpolate(values, scale_factor=factor, mode="bilinear", align_corners=False)


def _too_fast(flow: Tensor) -> bool:
    return all(bool(side.abs().max() > _TOO_FAST) for side in flow.chunk(2, dim=1))
