"""The two image encoders of an original file: folding `quant_conv`, and how far the two are apart.

The reference encodes with the conditioner's encoder and its `quant_conv`; hosts encode with the first
stage's, which has none. Both agree if the latter was stored with the former's `quant_conv` folded in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..config import AutoencoderConfig
from .keymaps import Place, encoder_rules
from .mapped import apply_transform


def fold_quant_conv(conv_out: tuple[Tensor, Tensor], quant_conv: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution equal to `conv_out` followed by the 1x1 `quant_conv`, in float32."""
    mixing = quant_conv[0].float().flatten(1)
    weight = torch.einsum("oi,ichw->ochw", mixing, conv_out[0].float())
    return weight, mixing @ conv_out[1].float() + quant_conv[1].float()


def encoder_difference(
    read: Callable[[str], Tensor | None], used: Place, other: Place, config: AutoencoderConfig
) -> float | None:
    """Largest difference of the layers that make the moments, relative to the largest weight.

    Compares the first convolution and the last one with `quant_conv` folded in; None where either encoder
    lacks one of them. `read` gives a tensor by its name in the file.
    """
    ends = [_ends(read, place, config) for place in (used, other)]
    if any(end is None for end in ends):
        return None
    pairs = list(zip(*(end for end in ends if end is not None), strict=True))
    if any(a.shape != b.shape for a, b in pairs):
        return None
    return max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs)


def _ends(
    read: Callable[[str], Tensor | None], place: Place, config: AutoencoderConfig
) -> tuple[Tensor, Tensor, Tensor] | None:
    """First weight, and folded last weight and bias, of the encoder at `place`."""
    found: dict[str, Tensor] = {}
    for rule in encoder_rules(place, config):
        if rule.targets[0].startswith(("encoder.conv_in.", "encoder.conv_out.", "quant_conv.")):
            tensor = read(rule.sources[0])
            if tensor is not None:
                (found[rule.targets[0]],) = apply_transform(rule.transform, [tensor], 1)
    names = ("encoder.conv_in.weight", "encoder.conv_out.weight", "encoder.conv_out.bias")
    if any(name not in found for name in names):
        return None
    first, weight, bias = (found[name].float() for name in names)
    if "quant_conv.weight" in found and "quant_conv.bias" in found:
        weight, bias = fold_quant_conv((weight, bias), (found["quant_conv.weight"], found["quant_conv.bias"]))
    return first, weight, bias
