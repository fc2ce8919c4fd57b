"""What the temporal decoder adds to each 2-D block: a residual block along time and a learned blend."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from .. import inplace
from ..operations import Layers
from .norms import Normalise, own_statistics
from .spatial import SpatialResBlock

# The temporal norms come from the UNet's residual block and kept its eps; the 2-D ones have 1e-6.
TEMPORAL_EPS = 1e-5
TIME_KERNEL = 3


class TemporalResBlock(nn.Module):
    """Norm over the whole clip, SiLU, convolution over three frames, twice, plus the input."""

    def __init__(self, layers: Layers, channels: int, groups: int) -> None:
        super().__init__()
        # The keys are positions in the original network, whose other entries hold no weights.
        self.in_layers = nn.ModuleDict(
            {
                "0": layers.group_norm(groups, channels, eps=TEMPORAL_EPS),
                "2": layers.conv_time(channels, channels, TIME_KERNEL),
            }
        )
        self.out_layers = nn.ModuleDict(
            {
                "0": layers.group_norm(groups, channels, eps=TEMPORAL_EPS),
                "3": layers.conv_time(channels, channels, TIME_KERNEL),
            }
        )

    def forward(self, x: Tensor, normalise: Normalise = own_statistics) -> Tensor:
        """x `b c t h w` -> what the block adds to it, same shape; the clip's ends are padded with zeros."""
        return self.second(self.first(x, normalise), normalise)

    def first(self, x: Tensor, normalise: Normalise, repeated: int = 0) -> Tensor:
        """The first of the two convolutions with its norm; `repeated` as in `Normalise`."""
        return self.in_layers["2"](inplace.silu(_apply(normalise, self.in_layers["0"], x, repeated)))

    def second(self, hidden: Tensor, normalise: Normalise, repeated: int = 0) -> Tensor:
        """The second of the two convolutions with its norm."""
        return self.out_layers["3"](inplace.silu(_apply(normalise, self.out_layers["0"], hidden, repeated)))


class VideoResBlock(SpatialResBlock):
    """A 2-D residual block followed by its temporal twin, blended by one learned scalar.

    `a * temporal + (1 - a) * spatial` with `a = sigmoid(mix_factor)`: the other way round than in the UNet.
    """

    def __init__(self, layers: Layers, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__(layers, in_channels, out_channels, groups)
        self.time_stack = TemporalResBlock(layers, out_channels, groups)
        self.mix_factor = nn.Parameter(torch.zeros(1, device=layers.device, dtype=layers.dtype))

    def through_time(self, spatial: Tensor, num_frames: int, normalise: Normalise = own_statistics) -> Tensor:
        """Output of the 2-D block `(b t) c h w`, overwritten in inference -> the blend, same shape."""
        clip = rearrange(spatial, "(b t) c h w -> b c t h w", t=num_frames).contiguous()
        return self.blend(spatial, rearrange(self.time_stack(clip, normalise), "b c t h w -> (b t) c h w"))

    def blend(self, spatial: Tensor, change: Tensor) -> Tensor:
        """`spatial + a * change`, which is the blend of `spatial` and `spatial + change`; overwrites `spatial`."""
        return inplace.add_scaled(spatial, change, self.temporal_share(spatial))

    def temporal_share(self, like: Tensor) -> Tensor:
        """`sigmoid(mix_factor)`, computed in float32 because half precision rounds a logit far worse than a share."""
        return torch.sigmoid(self.mix_factor.float()).to(device=like.device, dtype=like.dtype)


def start_temporal_as_identity_(decoder: nn.Module) -> None:
    """Set every temporal layer so that switching it on changes nothing, the state to begin video training from.

    Zeroes the last convolution of each temporal residual block and makes `time_mix_conv` pass its centre frame.
    """
    for name, layer in decoder.named_modules():
        if not isinstance(layer, nn.Conv3d):
            continue
        if name.endswith("time_mix_conv"):
            nn.init.dirac_(layer.weight)
        elif "out_layers" in name:
            nn.init.zeros_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _apply(normalise: Normalise, norm: nn.Module, x: Tensor, repeated: int) -> Tensor:
    assert isinstance(norm, nn.GroupNorm)  # a ModuleDict forgets the type it was given
    return normalise(norm, x, repeated)
