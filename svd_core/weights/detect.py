"""What a checkpoint is: family, layout, where its networks lie, and the config they have.

Names are looked at first, then shapes (`sizes`), then what stands beside the tensors: a config in the
metadata, `config.json` files, and at last the file's own name, which alone tells svd from svd_xt.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Literal

from ..config import SV3D_P, SV3D_U, SVD, SVD_XT, SVD_XT_1_1, Family, ModelConfig, SamplingDefaults
from .foreign import Foreign, other_model, svd_relative
from .keymaps import Naming, Place, Places
from .lora_facts import is_lora
from .sizes import Shapes, autoencoder_config, image_encoder_config, unet_config
from .source import CONFIG_KEY, Checkpoint
from .stored_config import stored_config

Kind = Literal["model", "lora", "other"]
EncoderChoice = Literal["conditioner", "first_stage"]

_CLIP_PREFIX = "conditioner.embedders.0.open_clip.model.visual."
CONDITIONERS = tuple(f"conditioner.embedders.{index}.encoder." for index in range(1, 10))
FIRST_STAGE = "first_stage_model."
_ENCODER_SIGNS: dict[Naming, str] = {
    "sgm": "encoder.down.0.block.0.conv1.weight",
    "diffusers": "encoder.down_blocks.0.resnets.0.conv1.weight",
}
_DECODER_SIGNS: dict[Naming, str] = {
    "sgm": "decoder.mid.attn_1.norm.weight",
    "diffusers": "decoder.mid_block.attentions.0.group_norm.weight",
}
_UNET_SIGNS: dict[Naming, str] = {
    "sgm": "middle_block.0.time_stack.in_layers.0.weight",
    "diffusers": "mid_block.resnets.0.temporal_res_block.norm1.weight",
}
_CLIP_SIGNS: dict[Naming, str] = {
    "open_clip": "conv1.weight",
    "transformers": "vision_model.embeddings.patch_embedding.weight",
}
_UNET_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "unet/", "unet.", "")
_CLIP_PREFIXES = (_CLIP_PREFIX, "image_encoder/", "visual.", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """The verdict on a checkpoint; `foreign` names what it is when it is no model of ours.

    `alternative` is the encoder that was not chosen, where the file holds two.
    """

    kind: Kind
    family: str
    layout: str
    places: Places = field(default_factory=Places)
    alternative: Place | None = None
    config: ModelConfig | None = None
    foreign: Foreign | None = None
    notes: tuple[str, ...] = ()


def detect(checkpoint: Checkpoint, *, encoder: EncoderChoice = "conditioner") -> Detection:
    """Decide what a checkpoint is, from names and shapes alone.

    encoder: which image encoder to use when the file holds two: the conditioner's, which the reference
    implementation encodes with, or the first stage's.

    Raises:
        FileFormatError, WeightsMismatchError, UnsupportedModelError: an SVD model whose sizes cannot be read.
    """
    if is_lora(checkpoint):
        return Detection(kind="lora", family="lora", layout="lora")
    relative = svd_relative(checkpoint)
    places, alternative = find_places(checkpoint, encoder)
    if relative is not None or places.unet is None:
        foreign = relative or other_model(checkpoint)
        return Detection(kind="other", family=foreign.family, layout="other", places=places, foreign=foreign)
    config, notes = read_config(checkpoint, places)
    return Detection(
        kind="model",
        family=config.family,
        layout=_layout(checkpoint, places),
        places=places,
        alternative=alternative,
        config=config,
        notes=tuple(notes),
    )


def find_places(checkpoint: Checkpoint, encoder: EncoderChoice) -> tuple[Places, Place | None]:
    """Look each network up under every prefix it is known to have; also the encoder not chosen."""
    outside = ("vae/", "vae.", "")
    encoders = _find_all(checkpoint, (*CONDITIONERS, FIRST_STAGE, *outside), _ENCODER_SIGNS)
    if encoder == "first_stage":
        encoders.sort(key=lambda place: place.prefix != FIRST_STAGE)
    decoders = _find_all(checkpoint, (FIRST_STAGE, *outside, *CONDITIONERS), _DECODER_SIGNS)
    places = Places(
        unet=next(iter(_find_all(checkpoint, _UNET_PREFIXES, _UNET_SIGNS)), None),
        encoder=encoders[0] if encoders else None,
        decoder=decoders[0] if decoders else None,
        image_encoder=next(iter(_find_all(checkpoint, _CLIP_PREFIXES, _CLIP_SIGNS)), None),
    )
    return places, encoders[1] if len(encoders) > 1 else None


def _find_all(checkpoint: Checkpoint, prefixes: tuple[str, ...], signs: dict[Naming, str]) -> list[Place]:
    return [
        Place(prefix, naming)
        for prefix in prefixes
        for naming, sign in signs.items()
        if prefix + sign in checkpoint.tensors
    ]


def _layout(checkpoint: Checkpoint, places: Places) -> str:
    if CONFIG_KEY in checkpoint.metadata:
        return "svd_studio"
    if list(places.named()) == ["unet"]:
        return "unet_only"
    if places.unet and places.unet.prefix == "unet/":
        return "diffusers"
    host = places.image_encoder is not None and places.image_encoder.naming == "transformers"
    return "host_saved" if host else "sgm"


def read_config(checkpoint: Checkpoint, places: Places) -> tuple[ModelConfig, list[str]]:
    """The config of the networks at `places`; pieces that are not there get SVD's."""
    if CONFIG_KEY in checkpoint.metadata:
        return _chosen_encoder(checkpoint, places, stored_config(checkpoint)), []
    configs = checkpoint.configs
    if places.unet is None:
        raise ValueError("a config needs a UNet")
    unet, family, notes = unet_config(Shapes(checkpoint, places.unet), configs.get("unet", {}))
    encoder = Shapes(checkpoint, places.encoder) if places.encoder else None
    decoder = Shapes(checkpoint, places.decoder) if places.decoder else None
    config = ModelConfig(
        name=family,
        family=family,
        unet=unet,
        autoencoder=autoencoder_config(encoder, decoder, configs.get("vae", {}), notes),
        image_encoder=SVD.image_encoder,
        sampling=SVD.sampling,
    )
    if places.image_encoder:
        tower = image_encoder_config(Shapes(checkpoint, places.image_encoder), configs.get("image_encoder", {}), notes)
        config = dataclasses.replace(config, image_encoder=tower)
    name, sampling = _variant(checkpoint, family, notes)
    return dataclasses.replace(config, name=name, sampling=sampling), notes


def _chosen_encoder(checkpoint: Checkpoint, places: Places, config: ModelConfig) -> ModelConfig:
    """Our files keep a first-stage encoder for other programs, its `quant_conv` folded in: none to expect there."""
    if places.encoder is None or places.encoder.prefix != FIRST_STAGE:
        return config
    quant_conv = f"{FIRST_STAGE}quant_conv.weight" in checkpoint.tensors
    return dataclasses.replace(config, autoencoder=dataclasses.replace(config.autoencoder, quant_conv=quant_conv))


# AnimateLCM-SVD holds the same tensors as SVD-xt with other values, so only a name can tell it.
_LCM = re.compile(r"animate[-_ ]?lcm", re.IGNORECASE)
_XT_1_1 = re.compile(r"xt[-_. ]?v?1[-_. ]1", re.IGNORECASE)
_XT = re.compile(r"(?<![a-z])xt(?![a-z])", re.IGNORECASE)
_HASH = re.compile(r"[0-9a-f]{40}")


def _variant(checkpoint: Checkpoint, family: Family, notes: list[str]) -> tuple[str, SamplingDefaults]:
    """Name and sampling defaults, which no tensor shows: from the file's name, then the frame count.

    The rule for AnimateLCM-SVD: "AnimateLCM" in the file's or folder's name, or in a metadata value.
    """
    if family != "svd":
        preset = SV3D_U if family == "sv3d_u" else SV3D_P
        return preset.name, preset.sampling
    name = _own_name(checkpoint)
    frames = checkpoint.configs.get("unet", {}).get("num_frames")
    if _LCM.search(name) or any(_LCM.search(text) for text in checkpoint.metadata.values()):
        return _animate_lcm(name, notes)
    if _XT_1_1.search(name):
        return SVD_XT_1_1.name, SVD_XT_1_1.sampling
    if _XT.search(name) or frames == SVD_XT.sampling.frames:
        return SVD_XT.name, SVD_XT.sampling
    if "svd" not in name.lower() and "stable-video" not in name.lower() and frames is None:
        notes.append("svd (14 frames) is assumed: tensors are equal in svd and svd_xt (25 frames)")
    return SVD.name, SVD.sampling


def _animate_lcm(name: str, notes: list[str]) -> tuple[str, SamplingDefaults]:
    base = SVD_XT_1_1 if re.search(r"1[-_. ]1", name) else SVD_XT
    notes.append("AnimateLCM by its name: few steps with the animatelcm solver, guidance 1.0 to 1.2")
    sampling = dataclasses.replace(base.sampling, solver="animatelcm", steps=4, guidance_min=1.0, guidance_max=1.2)
    return f"animatelcm_{base.name}", sampling


def _own_name(checkpoint: Checkpoint) -> str:
    """File or folder name; a part's folder and a download cache's hash are named by what holds them."""
    path = checkpoint.path.absolute()
    if path.name in ("unet", "transformer"):
        path = path.parent
    if _HASH.fullmatch(path.name):
        path = path.parent.parent
    return path.stem if path.suffix in (".safetensors", ".json") else path.name
