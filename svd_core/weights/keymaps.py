"""How a file's tensors become a network's: total, invertible tables of rules, expanded from the config.

A table is data, built whole before a file is looked at. Nothing is found by replacing parts of names, so a
name that no rule mentions is known to be foreign. Which table applies where is for `detect` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..config import AutoencoderConfig, ImageEncoderConfig, ModelConfig, UNetConfig
from .autoencoder_rows import decoder_rows, encoder_rows
from .reader import Shape
from .rows import Row, layer
from .unet_rows import unet_rows

Part = Literal["unet", "autoencoder", "image_encoder"]
Piece = Literal["unet", "encoder", "decoder", "image_encoder"]
Naming = Literal["sgm", "diffusers", "open_clip", "transformers"]
Transform = Literal["same", "transpose", "split", "join", "squeeze", "unsqueeze"]

_INVERSE: dict[Transform, Transform] = {
    "same": "same",
    "transpose": "transpose",
    "split": "join",
    "join": "split",
    "squeeze": "unsqueeze",
    "unsqueeze": "squeeze",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """Tensors named `sources`, of `shapes`, give tensors named `targets`.

    same: one to one. transpose: a matrix, mirrored. split: one tensor, cut along its first axis into equal
    parts, one a target; join undoes it. squeeze: two trailing axes of length 1 dropped; unsqueeze adds them.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    transform: Transform
    shapes: tuple[Shape, ...]

    @property
    def target_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the targets, in their order."""
        shape = self.shapes[0]
        match self.transform:
            case "same":
                return self.shapes
            case "transpose":
                return (shape[::-1],)
            case "squeeze":
                return (shape[:-2],)
            case "unsqueeze":
                return ((*shape, 1, 1),)
            case "split":
                return ((shape[0] // len(self.targets), *shape[1:]),) * len(self.targets)
            case "join":
                return ((shape[0] * len(self.sources), *shape[1:]),)

    def inverse(self) -> Rule:
        """The rule that leads back."""
        return Rule(self.targets, self.sources, _INVERSE[self.transform], self.target_shapes)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network lies in a file: the prefix of its tensors, and the naming behind that prefix."""

    prefix: str
    naming: Naming


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where each piece of a model lies; None where the file does not have it.

    Encoder (with `quant_conv`) and decoder (with `post_quant_conv`) may come from different places, as they
    do in the original files.
    """

    unet: Place | None = None
    encoder: Place | None = None
    decoder: Place | None = None
    image_encoder: Place | None = None

    def named(self) -> dict[Piece, Place]:
        """The pieces that are there, by name."""
        pieces: dict[Piece, Place | None] = {
            "unet": self.unet,
            "encoder": self.encoder,
            "decoder": self.decoder,
            "image_encoder": self.image_encoder,
        }
        return {name: place for name, place in pieces.items() if place is not None}


# What a piece's tensors begin with behind its prefix; the two halves of an autoencoder share one.
_ROOTS: dict[Piece, tuple[str, ...]] = {
    "unet": ("",),
    "encoder": ("encoder.", "quant_conv."),
    "decoder": ("decoder.", "post_quant_conv."),
    "image_encoder": ("vision_model.", "visual_projection."),
}


def owns(piece: Piece, place: Place, name: str) -> bool:
    """Whether a tensor of a file belongs to `piece` at `place`."""
    roots = ("",) if place.naming == "open_clip" else _ROOTS[piece]
    return name.startswith(place.prefix) and name[len(place.prefix) :].startswith(roots)


def rules_from(places: Places, config: ModelConfig) -> dict[Part, tuple[Rule, ...]]:
    """File names to network names for every network of which a piece is there; invert each rule to save."""
    table: dict[Part, tuple[Rule, ...]] = {}
    if places.unet:
        table["unet"] = unet_rules(places.unet, config.unet)
    autoencoder: tuple[Rule, ...] = ()
    if places.encoder:
        autoencoder += encoder_rules(places.encoder, config.autoencoder)
    if places.decoder:
        autoencoder += decoder_rules(places.decoder, config.autoencoder)
    if autoencoder:
        table["autoencoder"] = autoencoder
    if places.image_encoder:
        table["image_encoder"] = image_encoder_rules(places.image_encoder, config.image_encoder)
    return table


def unet_rules(place: Place, config: UNetConfig) -> tuple[Rule, ...]:
    """Rules of the UNet, sgm or diffusers naming."""
    return tuple(_row_rule(place, row) for row in unet_rows(config))


def encoder_rules(place: Place, config: AutoencoderConfig) -> tuple[Rule, ...]:
    """Rules of `encoder.*` and `quant_conv.*`, sgm or diffusers naming."""
    return tuple(_row_rule(place, row) for row in encoder_rows(config))


def decoder_rules(place: Place, config: AutoencoderConfig) -> tuple[Rule, ...]:
    """Rules of `decoder.*` and `post_quant_conv.*`, sgm or diffusers naming."""
    return tuple(_row_rule(place, row) for row in decoder_rows(config))


def _row_rule(place: Place, row: Row) -> Rule:
    if place.naming == "sgm":
        return Rule((place.prefix + row.name,), (row.name,), "same", (row.shape,))
    shape = row.shape[:2] if row.pointwise else row.shape
    return Rule((place.prefix + row.diffusers,), (row.name,), "unsqueeze" if row.pointwise else "same", (shape,))


def image_encoder_rules(place: Place, config: ImageEncoderConfig) -> tuple[Rule, ...]:
    """Rules of the CLIP vision tower, whose network names are those of transformers."""
    rules = tuple(_open_clip(config))
    if place.naming == "transformers":
        rules = tuple(
            Rule((name,), (name,), "same", (shape,))
            for rule in rules
            for name, shape in zip(rule.targets, rule.target_shapes, strict=True)
        )
    return tuple(
        Rule(tuple(place.prefix + name for name in rule.sources), rule.targets, rule.transform, rule.shapes)
        for rule in rules
    )


def _open_clip(config: ImageEncoderConfig) -> Iterator[Rule]:
    """OpenCLIP's vision tower to transformers': fused q, k, v and a projection that multiplies from the right."""
    width, patch, root = config.width, config.patch_size, "vision_model"
    yield Rule(("class_embedding",), (f"{root}.embeddings.class_embedding",), "same", ((width,),))
    yield from _renamed(layer("conv1", f"{root}.embeddings.patch_embedding", width, 3, patch, patch, bias=False))
    position = (f"{root}.embeddings.position_embedding.weight",)
    yield Rule(("positional_embedding",), position, "same", ((config.tokens, width),))
    yield from _renamed(layer("ln_pre", f"{root}.pre_layrnorm", width))
    for index in range(config.layers):
        yield from _open_clip_layer(f"transformer.resblocks.{index}", f"{root}.encoder.layers.{index}", config)
    yield from _renamed(layer("ln_post", f"{root}.post_layernorm", width))
    yield Rule(("proj",), ("visual_projection.weight",), "transpose", ((width, config.projection),))


def _open_clip_layer(name: str, target: str, config: ImageEncoderConfig) -> Iterator[Rule]:
    width, hidden = config.width, config.mlp_width
    yield from _renamed(layer(f"{name}.ln_1", f"{target}.layer_norm1", width))
    for kind, shape in (("weight", (3 * width, width)), ("bias", (3 * width,))):
        thirds = tuple(f"{target}.self_attn.{third}_proj.{kind}" for third in "qkv")
        yield Rule((f"{name}.attn.in_proj_{kind}",), thirds, "split", (shape,))
    yield from _renamed(layer(f"{name}.attn.out_proj", f"{target}.self_attn.out_proj", width, width))
    yield from _renamed(layer(f"{name}.ln_2", f"{target}.layer_norm2", width))
    yield from _renamed(layer(f"{name}.mlp.c_fc", f"{target}.mlp.fc1", hidden, width))
    yield from _renamed(layer(f"{name}.mlp.c_proj", f"{target}.mlp.fc2", width, hidden))


def _renamed(rows: Iterator[Row]) -> Iterator[Rule]:
    for row in rows:
        yield Rule((row.name,), (row.diffusers,), "same", (row.shape,))
