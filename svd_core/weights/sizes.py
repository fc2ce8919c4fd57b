"""Hyper-parameters from tensor shapes; what shapes cannot tell comes from config.json, then from the family.

Shapes never show the head width, the number of norm groups, or how the vector's width divides into
sinusoids. Each such guess is returned as a note, so that a report can say what was assumed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, cast

from ..config import SV3D_P, SV3D_U, SVD, AutoencoderConfig, Family, ImageEncoderConfig, UNetConfig, VectorCondition
from ..errors import UnsupportedModelError, WeightsMismatchError, explain
from .keymaps import Naming, Place
from .source import Checkpoint

Config = Mapping[str, Any]

_UNET_PROBES: dict[Naming, dict[str, str]] = {
    "sgm": {
        "in": "input_blocks.0.0.weight",
        "out": "out.2.weight",
        "vector": "label_emb.0.0.weight",
        "kernel": "middle_block.0.time_stack.in_layers.2.weight",
        "context": "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
        "depth": "middle_block.1.transformer_blocks.{}.attn1.to_q.weight",
    },
    "diffusers": {
        "in": "conv_in.weight",
        "out": "conv_out.weight",
        "vector": "add_embedding.linear_1.weight",
        "kernel": "mid_block.resnets.0.temporal_res_block.conv1.weight",
        "context": "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        "depth": "mid_block.attentions.0.transformer_blocks.{}.attn1.to_q.weight",
    },
}
_AUTOENCODER_PROBES: dict[Naming, dict[str, str]] = {
    "sgm": {
        "level": "encoder.down.{}.block.0.conv1.weight",
        "block": "encoder.down.0.block.{}.conv1.weight",
        "temporal": "decoder.mid.block_1.time_stack.in_layers.0.weight",
    },
    "diffusers": {
        "level": "encoder.down_blocks.{}.resnets.0.conv1.weight",
        "block": "encoder.down_blocks.0.resnets.{}.conv1.weight",
        "temporal": "decoder.mid_block.resnets.0.temporal_res_block.norm1.weight",
    },
}
_TOWER_PROBES: dict[Naming, dict[str, str]] = {
    "open_clip": {
        "patch": "conv1.weight",
        "position": "positional_embedding",
        "layer": "transformer.resblocks.{}.ln_1.weight",
        "hidden": "transformer.resblocks.0.mlp.c_fc.weight",
    },
    "transformers": {
        "patch": "vision_model.embeddings.patch_embedding.weight",
        "position": "vision_model.embeddings.position_embedding.weight",
        "layer": "vision_model.encoder.layers.{}.layer_norm1.weight",
        "hidden": "vision_model.encoder.layers.0.mlp.fc1.weight",
    },
}
_VECTORS: dict[Family, tuple[VectorCondition, ...]] = {
    "svd": SVD.unet.vector,
    "sv3d_u": SV3D_U.unet.vector,
    "sv3d_p": SV3D_P.unet.vector,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Shapes:
    """Tensor shapes below one place, asked for by name and axis."""

    checkpoint: Checkpoint
    place: Place

    def has(self, name: str) -> bool:
        return self.place.prefix + name in self.checkpoint.tensors

    def axis(self, name: str, axis: int) -> int:
        """Length of an axis.

        Raises:
            WeightsMismatchError: the tensor, or that axis of it, is not there.
        """
        shape = self.checkpoint.shape(self.place.prefix + name)
        if shape is None or len(shape) <= axis or shape[axis] < 1:
            found = "no such tensor" if shape is None else f"shape {list(shape)}"
            remedy = "The file is incomplete or from another model: use a complete checkpoint."
            raise WeightsMismatchError(explain(f"a full tensor {self.place.prefix}{name}", found, remedy))
        return shape[axis]

    def count(self, template: str) -> int:
        """How many of `template` with 0, 1, 2, ... filled in are there."""
        number = 0
        while self.has(template.format(number)):
            number += 1
        return number


def unet_config(shapes: Shapes, config: Config) -> tuple[UNetConfig, Family, list[str]]:
    """Read a UNet's config and its family, with notes on what was assumed."""
    probes = _UNET_PROBES[shapes.place.naming]
    levels = _sgm_levels(shapes) if shapes.place.naming == "sgm" else _diffusers_levels(shapes)
    channels = tuple(level[0][0] for level in levels)
    heads, notes = _head_channels(channels, tuple(level[0][1] for level in levels), config)
    vector, family = _vector(shapes.axis(probes["vector"], 1), config)
    groups = _norm_groups(SVD.unet.norm_groups, channels, "UNet", notes)
    unet = dataclasses.replace(
        SVD.unet,
        in_channels=shapes.axis(probes["in"], 1),
        out_channels=shapes.axis(probes["out"], 0),
        channels=channels,
        attention=tuple(level[0][1] for level in levels),
        res_blocks=len(levels[0]),
        head_channels=heads,
        transformer_depth=shapes.count(probes["depth"]),
        context_dim=shapes.axis(probes["context"], 1),
        vector=vector,
        norm_groups=groups,
        temporal_kernel=shapes.axis(probes["kernel"], 2),
    )
    return unet, family, notes


Level = list[tuple[int, bool]]


def _sgm_levels(shapes: Shapes) -> list[Level]:
    """Width and attention flag of every input block, level by level; a stride-2 `op` ends a level."""
    levels: list[Level] = [[]]
    index = 1
    while True:
        block = f"input_blocks.{index}"
        if shapes.has(f"{block}.0.out_layers.3.weight"):
            width = shapes.axis(f"{block}.0.out_layers.3.weight", 0)
            levels[-1].append((width, shapes.has(f"{block}.1.proj_in.weight")))
        elif shapes.has(f"{block}.0.op.weight"):
            levels.append([])
        else:
            return _no_empty(levels, shapes)
        index += 1


def _diffusers_levels(shapes: Shapes) -> list[Level]:
    levels: list[Level] = []
    for level in range(shapes.count("down_blocks.{}.resnets.0.spatial_res_block.conv2.weight")):
        block = f"down_blocks.{level}"
        conv = f"{block}.resnets.{{}}.spatial_res_block.conv2.weight"
        levels.append(
            [
                (shapes.axis(conv.format(index), 0), shapes.has(f"{block}.attentions.{index}.proj_in.weight"))
                for index in range(shapes.count(conv))
            ]
        )
    return _no_empty(levels, shapes)


def _no_empty(levels: list[Level], shapes: Shapes) -> list[Level]:
    if levels and all(levels):
        return levels
    remedy = "The file is incomplete: use a complete checkpoint."
    raise WeightsMismatchError(explain(f"residual blocks at {shapes.place.prefix or 'the root'}", "none", remedy))


def _head_channels(channels: tuple[int, ...], attention: tuple[bool, ...], config: Config) -> tuple[int, list[str]]:
    """Head width: 64 where that is SVD's, else from `num_attention_heads`, else an assumption.

    Repositories derived from SVD carry the default (5, 10, 10, 20) heads beside SVD's own widths; the
    weights were trained with 64 channels a head whatever that line says.
    """
    default = SVD.unet.head_channels
    if channels == SVD.unet.channels:
        return default, []
    heads = config.get("num_attention_heads")
    counts = [heads] * len(channels) if isinstance(heads, int) else cast("list[object]", heads)
    if isinstance(counts, (list, tuple)) and len(counts) == len(channels):
        # The middle block attends at the deepest width whether or not that level does.
        needed = [*attention[:-1], True]
        widths = {
            width / count
            for width, count, used in zip(channels, counts, needed, strict=True)
            if used and type(count) is int and count > 0
        }
        if len(widths) == 1 and (only := widths.pop()).is_integer():
            return int(only), []
        remedy = "Such a UNet is not supported."
        raise UnsupportedModelError(explain("one head width in all levels", f"heads {counts}", remedy))
    width = math.gcd(default, *channels)
    return width, [f"head width {width} is assumed: tensor shapes do not show it"]


def _norm_groups(default: int, channels: tuple[int, ...], network: str, notes: list[str]) -> int:
    groups = math.gcd(default, *channels)
    if groups != default:
        notes.append(f"{groups} norm groups are assumed in the {network}: tensor shapes do not show them")
    return groups


def _vector(width: int, config: Config) -> tuple[tuple[VectorCondition, ...], Family]:
    """Split the vector's width into its sinusoids, and with it tell the families apart."""
    for family, vector in _VECTORS.items():
        if sum(condition.width for condition in vector) == width:
            return vector, family
    each, rest = divmod(width, len(SVD.unet.vector))
    if rest or config.get("addition_time_embed_dim", each) != each:
        remedy = "The model is told other things about its clip than SVD is, and is not supported."
        raise UnsupportedModelError(explain("a vector input of 768, 256 or 1280 channels", str(width), remedy))
    return tuple(dataclasses.replace(condition, width=each) for condition in SVD.unet.vector), "svd"


def autoencoder_config(
    encoder: Shapes | None, decoder: Shapes | None, config: Config, notes: list[str]
) -> AutoencoderConfig:
    """Read the autoencoder's config from whichever half is there; SVD's own where neither is."""
    changes: dict[str, Any] = {}
    if encoder:
        probes = _AUTOENCODER_PROBES[encoder.place.naming]
        levels = range(encoder.count(probes["level"]))
        changes["channels"] = tuple(encoder.axis(probes["level"].format(level), 0) for level in levels)
        changes["res_blocks"] = encoder.count(probes["block"])
        changes["latent_channels"] = encoder.axis("encoder.conv_out.weight", 0) // 2
        changes["quant_conv"] = encoder.has("quant_conv.weight")
    if decoder:
        changes["latent_channels"] = decoder.axis("decoder.conv_in.weight", 1)
        changes["temporal_decoder"] = decoder.has(_AUTOENCODER_PROBES[decoder.place.naming]["temporal"])
        changes["post_quant_conv"] = decoder.has("post_quant_conv.weight")
    groups = config.get("norm_num_groups")
    default = groups if type(groups) is int and groups > 0 else SVD.autoencoder.norm_groups
    channels = changes.get("channels", SVD.autoencoder.channels)
    changes["norm_groups"] = _norm_groups(default, channels, "autoencoder", notes)
    factor = config.get("scaling_factor")
    changes["scale_factor"] = factor if isinstance(factor, float) and factor > 0 else SVD.autoencoder.scale_factor
    return dataclasses.replace(SVD.autoencoder, **changes)


def image_encoder_config(shapes: Shapes, config: Config, notes: list[str]) -> ImageEncoderConfig:
    """Read the vision tower's config."""
    probes = _TOWER_PROBES[shapes.place.naming]
    activation = config.get("hidden_act", "gelu")
    if activation != "gelu":
        remedy = "This tower is not SVD's: use the image encoder that came with the model."
        raise UnsupportedModelError(explain("a vision tower with exact GELU", repr(activation), remedy))
    width, patch = shapes.axis(probes["patch"], 0), shapes.axis(probes["patch"], 2)
    return dataclasses.replace(
        SVD.image_encoder,
        image_size=math.isqrt(shapes.axis(probes["position"], 0)) * patch,
        patch_size=patch,
        width=width,
        layers=shapes.count(probes["layer"]),
        heads=_tower_heads(width, config, notes),
        mlp_width=shapes.axis(probes["hidden"], 0),
        projection=shapes.axis("proj", 1) if shapes.has("proj") else shapes.axis("visual_projection.weight", 0),
    )


def _tower_heads(width: int, config: Config, notes: list[str]) -> int:
    heads = config.get("num_attention_heads")
    if type(heads) is int and heads > 0 and width % heads == 0:
        return heads
    if width == SVD.image_encoder.width:
        return SVD.image_encoder.heads
    heads = max(width // 64, 1)
    notes.append(f"{heads} heads are assumed in the vision tower: tensor shapes do not show them")
    return heads
