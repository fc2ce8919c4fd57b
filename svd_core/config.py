"""What a network of the SVD family looks like, as frozen data, and the presets of the published ones.

A config is everything that tensor shapes do not say on their own; the rest of the package never
guesses. Variants are written with `dataclasses.replace`, and `ModelConfig.to_json` travels inside our files.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, cast

from .errors import FileFormatError, InputError, explain

TemporalRes = Literal["res3d"]
TemporalAttention = Literal["mix"]
PositionCode = Literal["index_mlp"]
InterpolatorForm = Literal["masked", "residual"]
Preprocessing = Literal["sgm", "host"]
Family = Literal["svd", "sv3d_u", "sv3d_p"]
GuidanceShape = Literal["constant", "linear", "triangle", "trapezoid", "cosine", "hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorCondition:
    """One scalar the UNet is told about the clip, as a sinusoid of `width` channels.

    `per_frame` conditions have one value a frame (SV3D's camera angles), the others one a clip.
    """

    name: str
    width: int
    per_frame: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetConfig:
    """The inflated UNet: a Stable Diffusion 2.1 UNet with a temporal twin beside every spatial layer.

    `channels` has one entry a level, `attention` says which levels carry transformers, and the four
    temporal fields name what stands beside each spatial layer. Only SVD's own choices are built today;
    they are fields so that the other inflated families become rows, not forks.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    res_blocks: int
    head_channels: int
    transformer_depth: int
    context_dim: int
    vector: tuple[VectorCondition, ...]
    norm_groups: int
    temporal_kernel: int
    temporal_res: TemporalRes
    temporal_attention: TemporalAttention
    position: PositionCode

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.attention):
            raise InputError(
                explain(
                    "one attention flag a level",
                    f"{len(self.channels)} levels and {len(self.attention)} flags",
                    "Give both tuples the same length.",
                )
            )
        for width in self.channels:
            if width % self.norm_groups or width % self.head_channels:
                raise InputError(
                    explain(
                        f"every width divisible by {self.norm_groups} groups and {self.head_channels} head channels",
                        str(width),
                        "Change `channels`, `norm_groups` or `head_channels`.",
                    )
                )

    @property
    def vector_dim(self) -> int:
        """Width of the concatenated sinusoids (768 for SVD)."""
        return sum(condition.width for condition in self.vector)

    @property
    def embed_dim(self) -> int:
        """Width of the time embedding: four times the first level, as in Stable Diffusion."""
        return 4 * self.channels[0]

    @property
    def downsampling(self) -> int:
        """Factor between the first and the deepest level."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderConfig:
    """KL autoencoder: a 2-D encoder and a decoder that is temporal (SVD) or per frame (image decoder, SV3D).

    `quant_conv` says whether the encoder's moments pass a 1x1 convolution; `post_quant_conv` the same
    before the decoder. `scale_factor` multiplies latents on their way into the diffusion process.
    """

    channels: tuple[int, ...]
    res_blocks: int
    latent_channels: int
    norm_groups: int
    temporal_decoder: bool
    quant_conv: bool
    post_quant_conv: bool
    scale_factor: float

    @property
    def downsampling(self) -> int:
        """Pixels a latent cell covers along one side."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoderConfig:
    """CLIP vision tower whose projected class token is the UNet's one context token."""

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    projection: int
    preprocessing: Preprocessing

    @property
    def tokens(self) -> int:
        """Patches plus the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """What a file's training implies for sampling and no tensor reveals."""

    frames: int
    width: int
    height: int
    steps: int
    fps: int
    motion_bucket: int
    augmentation: float
    guidance_shape: GuidanceShape
    guidance_min: float
    guidance_max: float
    sigma_min: float
    sigma_max: float
    solver: str = "euler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A whole model: three networks and how it wants to be sampled."""

    name: str
    family: Family
    unet: UNetConfig
    autoencoder: AutoencoderConfig
    image_encoder: ImageEncoderConfig
    sampling: SamplingDefaults

    def to_json(self) -> str:
        """One line of JSON, as stored in the metadata of our own files."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> ModelConfig:
        """Read what `to_json` wrote.

        Raises:
            FileFormatError: the text is not JSON or lacks a field.
        """
        try:
            tree = cast("dict[str, Any]", json.loads(text))
            unet = dict(tree["unet"])
            unet["vector"] = tuple(VectorCondition(**entry) for entry in unet["vector"])
            return ModelConfig(
                name=tree["name"],
                family=tree["family"],
                unet=UNetConfig(**_tuples(unet)),
                autoencoder=AutoencoderConfig(**_tuples(tree["autoencoder"])),
                image_encoder=ImageEncoderConfig(**tree["image_encoder"]),
                sampling=SamplingDefaults(**tree["sampling"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                explain(
                    "a complete model config in the file's metadata",
                    f"{type(error).__name__}: {error}",
                    "The file was written by another version or damaged: export it again.",
                )
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolatorConfig:
    """The inflated UNet between two key frames: `frames` in all, the first and last of them given.

    "masked": noisy latents, then {start, mask token ..., end}, then a mask channel (Blattmann et al. 2023, appendix
    D.5); Framer (Wang et al. 2024) leaves the channel out. "residual": start, end and time for every frame between,
    answered in one call by what the blend of both lacks. `gate`: the keys' contrast up to which that is left out, and
    from which all of it counts (measured after training).
    """

    name: str
    form: InterpolatorForm
    unet: UNetConfig
    frames: int = 5
    mask_channel: bool = True
    gate: tuple[float, float] = (0.0, 0.0)

    @property
    def latent_channels(self) -> int:
        """Channels of one frame's latent."""
        return self.unet.out_channels


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; the configs hold tuples so that they stay hashable."""
    return {
        name: tuple(cast("list[Any]", value)) if isinstance(value, list) else value for name, value in fields.items()
    }


_SVD_VECTOR = (
    VectorCondition(name="fps_id", width=256),
    VectorCondition(name="motion_bucket_id", width=256),
    VectorCondition(name="augmentation", width=256),
)
_SV3D_U_VECTOR = (VectorCondition(name="augmentation", width=256),)
_SV3D_P_VECTOR = (
    VectorCondition(name="augmentation", width=256),
    VectorCondition(name="polar", width=512, per_frame=True),
    VectorCondition(name="azimuth", width=512, per_frame=True),
)

_SVD_UNET = UNetConfig(
    in_channels=8,
    out_channels=4,
    channels=(320, 640, 1280, 1280),
    attention=(True, True, True, False),
    res_blocks=2,
    head_channels=64,
    transformer_depth=1,
    context_dim=1024,
    vector=_SVD_VECTOR,
    norm_groups=32,
    temporal_kernel=3,
    temporal_res="res3d",
    temporal_attention="mix",
    position="index_mlp",
)
_SVD_AUTOENCODER = AutoencoderConfig(
    channels=(128, 256, 512, 512),
    res_blocks=2,
    latent_channels=4,
    norm_groups=32,
    temporal_decoder=True,
    quant_conv=True,
    post_quant_conv=False,
    scale_factor=0.18215,
)
_CLIP_VIT_H = ImageEncoderConfig(
    image_size=224,
    patch_size=14,
    width=1280,
    layers=32,
    heads=16,
    mlp_width=5120,
    projection=1024,
    preprocessing="sgm",
)
_SVD_SAMPLING = SamplingDefaults(
    frames=14,
    width=1024,
    height=576,
    steps=25,
    fps=7,
    motion_bucket=127,
    augmentation=0.02,
    guidance_shape="linear",
    guidance_min=1.0,
    guidance_max=2.5,
    sigma_min=0.002,
    sigma_max=700.0,
)
_SV3D_SAMPLING = dataclasses.replace(
    _SVD_SAMPLING, frames=21, width=576, height=576, steps=50, augmentation=1e-5, guidance_shape="triangle"
)

SVD = ModelConfig(
    name="svd",
    family="svd",
    unet=_SVD_UNET,
    autoencoder=_SVD_AUTOENCODER,
    image_encoder=_CLIP_VIT_H,
    sampling=_SVD_SAMPLING,
)
SVD_XT = dataclasses.replace(
    SVD,
    name="svd_xt",
    sampling=dataclasses.replace(_SVD_SAMPLING, frames=25, steps=30, guidance_min=1.5, guidance_max=3.0),
)
# 1.1 was finetuned from XT with the motion bucket fixed at 127 and 6 fps.
SVD_XT_1_1 = dataclasses.replace(SVD_XT, name="svd_xt_1_1")
SV3D_U = dataclasses.replace(
    SVD,
    name="sv3d_u",
    family="sv3d_u",
    unet=dataclasses.replace(_SVD_UNET, vector=_SV3D_U_VECTOR),
    autoencoder=dataclasses.replace(_SVD_AUTOENCODER, temporal_decoder=False),
    sampling=_SV3D_SAMPLING,
)
SV3D_P = dataclasses.replace(
    SV3D_U, name="sv3d_p", family="sv3d_p", unet=dataclasses.replace(_SVD_UNET, vector=_SV3D_P_VECTOR)
)

# The embedded model: SVD's architecture at a size two CPU cores can train and run.
NANO = ModelConfig(
    name="nano",
    family="svd",
    unet=UNetConfig(
        in_channels=16,
        out_channels=8,
        channels=(48, 96),
        attention=(True, True),
        res_blocks=1,
        head_channels=24,
        transformer_depth=1,
        context_dim=128,
        vector=tuple(dataclasses.replace(condition, width=64) for condition in _SVD_VECTOR),
        norm_groups=12,
        temporal_kernel=3,
        temporal_res="res3d",
        temporal_attention="mix",
        position="index_mlp",
    ),
    autoencoder=AutoencoderConfig(
        channels=(16, 32, 64, 64),
        res_blocks=1,
        latent_channels=8,
        norm_groups=8,
        temporal_decoder=True,
        quant_conv=True,
        post_quant_conv=False,
        scale_factor=1.0,
    ),
    image_encoder=ImageEncoderConfig(
        image_size=64,
        patch_size=8,
        width=128,
        layers=3,
        heads=4,
        mlp_width=512,
        projection=128,
        preprocessing="sgm",
    ),
    sampling=SamplingDefaults(
        frames=14,
        width=64,
        height=64,
        steps=12,
        fps=8,
        motion_bucket=90,
        augmentation=0.02,
        guidance_shape="linear",
        guidance_min=1.0,
        guidance_max=2.0,
        sigma_min=0.02,
        sigma_max=80.0,
    ),
)

PRESETS: dict[str, ModelConfig] = {preset.name: preset for preset in (SVD, SVD_XT, SVD_XT_1_1, SV3D_U, SV3D_P, NANO)}

# The paper's (4 noise, 4 condition, 1 mask), Framer's, and the embedded model's: narrower, attention at half size only.
SVD_INTERPOLATOR = InterpolatorConfig(
    name="svd_interpolator", form="masked", unet=dataclasses.replace(_SVD_UNET, in_channels=9)
)
FRAMER = InterpolatorConfig(name="framer", form="masked", unet=_SVD_UNET, frames=14, mask_channel=False)
NANO_INTERPOLATOR = InterpolatorConfig(
    name="nano_interpolator",
    form="residual",
    unet=dataclasses.replace(
        NANO.unet, in_channels=17, channels=(64, 64), attention=(False, True), head_channels=32, norm_groups=16
    ),
)
