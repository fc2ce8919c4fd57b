"""From a loaded file to the host's MODEL, CLIP_VISION and VAE, all three on the host's patcher.

Which numbers the conditioning consists of, how much memory a call needs and where weights go is said here,
in the host's words; what the networks compute is svd_core's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..svd_core.autoencoder.autoencoder import Autoencoder
from ..svd_core.autoencoder.colours import LatentColours, fit_colours
from ..svd_core.conditioning import assemble_vector
from ..svd_core.config import ModelConfig, UNetConfig
from ..svd_core.errors import InputError, choose_from, explain
from ..svd_core.unet.plan import CallShape, activation_bytes
from ..svd_core.weights.build import SvdModel, load_model
from ..svd_core.weights.source import CONFIG_KEY
from .host import (
    BaseModel,
    LatentFormat,
    ModelPatcher,
    ModelType,
    StableDiffusionLatents,
    SvdModelBase,
    SvdModelConfig,
    cast_on_use,
    conds,
    during_runs,
    management,
    utils,
)
from .host_clip_vision import HostClipVision
from .host_unet import HostUNet
from .host_vae import HostVAE

_DTYPES = {"auto": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_STABLE_DIFFUSION_SCALE = 0.18215
CLIP_FRAMES = "svd_studio_frames"
"""Conditioning key: how many frames a clip has, where a latent batch holds several clips."""
MOTION_PER_FRAME, FPS_PER_FRAME = "svd_studio_motion_bucket_per_frame", "svd_studio_fps_per_frame"
"""Conditioning keys: values for every frame of each clip, instead of the host's key with one a clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the loader node hands out."""

    model: ModelPatcher
    clip_vision: HostClipVision
    vae: HostVAE
    report: str


def load_for_host(path: Path, dtype: str, companions: Sequence[Path] = ()) -> Loaded:
    """Load a file or folder; `dtype` is that of the UNet's weights, "auto" leaves it to the host.

    companions: where a UNet-only file's autoencoder and image encoder come from.

    Raises:
        SvdError: see `svd_core.load_model`.
    """
    if dtype not in _DTYPES:
        raise InputError(choose_from("dtype", dtype, _DTYPES))
    model = load_model(path, dtype=_DTYPES[dtype], operations=cast_on_use, companions=companions)
    patcher = host_model(model, _DTYPES[dtype])
    latents = patcher.model.latent_format
    if isinstance(latents, Latents):
        # Before the autoencoder is the host's to move about.
        described = model.config.autoencoder
        encode = partial(_encoded, model.autoencoder)
        latents.show_in(fit_colours(encode, described.downsampling, described.scale_factor))
    return Loaded(
        model=patcher,
        clip_vision=HostClipVision(model.image_encoder),
        vae=HostVAE(model.autoencoder),
        report=model.report.summary(),
    )


def host_model(model: SvdModel, dtype: torch.dtype | None) -> ModelPatcher:
    """The UNet as a host MODEL, its weights still views of the file where the dtype allows."""
    device, offload = management.get_torch_device(), management.unet_offload_device()
    weights = model.unet.state_dict()
    described = HostModelConfig(model.config)
    supported = described.supported_inference_dtypes
    if dtype is None:
        count = sum(tensor.numel() for tensor in weights.values())
        stored = weights["out.2.weight"].dtype
        dtype = management.unet_dtype(model_params=count, supported_dtypes=supported, weight_dtype=stored)
    described.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, supported))
    ours = HostSvd(described)
    ours.diffusion_model.load_state_dict(
        {name: _stored_as(name, tensor, dtype) for name, tensor in weights.items()}, strict=True, assign=True
    )
    ours.requires_grad_(False).eval()
    patcher = ModelPatcher(ours, load_device=device, offload_device=offload)
    during_runs(patcher, _begin, _end)
    return patcher


def _begin(patcher: ModelPatcher) -> None:
    """A run begins: `patcher` is the clone it runs on."""
    unet = patcher.model.diffusion_model
    unet.notices.clear()
    unet.constants.open(unet, lambda: patcher.current_hooks is not None)


def _end(patcher: ModelPatcher) -> None:
    patcher.model.diffusion_model.constants.close()


class Latents(LatentFormat):
    """Latents of any number of channels and any scale; the host shows them in `colours`."""

    def __init__(self, channels: int, scale: float) -> None:
        self.latent_channels = channels
        self.scale_factor = scale

    def show_in(self, colours: LatentColours) -> None:
        """Have previews drawn with these factors."""
        self.latent_rgb_factors = colours.factors.tolist()
        self.latent_rgb_factors_bias = colours.bias.tolist()


class HostModelConfig(SvdModelConfig):
    """Says of our network what the host finds out of its own files by looking at their keys."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        super().__init__(_described(config.unet))
        sampling, autoencoder = config.sampling, config.autoencoder
        self.unet_config["num_head_channels"] = config.unet.head_channels
        self.sampling_settings = {"sigma_min": sampling.sigma_min, "sigma_max": sampling.sigma_max}
        if config.family != "svd":
            self.vae_key_prefix = ["conditioner.embedders.1.encoder."]
        scale = autoencoder.scale_factor
        is_stable_diffusion = autoencoder.latent_channels == 4 and math.isclose(scale, _STABLE_DIFFUSION_SCALE)
        self.latent_format = (
            StableDiffusionLatents(scale) if is_stable_diffusion else Latents(autoencoder.latent_channels, scale)
        )


class HostSvd(SvdModelBase):
    """SVD and SV3D of any size in the host's eyes: its own SVD class with our network inside."""

    def __init__(self, model_config: HostModelConfig) -> None:
        # Past the parent, which always builds the host's network.
        BaseModel.__init__(self, model_config, ModelType.V_PREDICTION_EDM, unet_model=HostUNet)
        self.config = model_config.config

    def state_dict_for_saving(self, *parts: Any, **named: Any) -> dict[str, Tensor]:  # noqa: ANN401 - the host's
        """What the host's saving nodes write, with the config among the tensors: they take no metadata from us."""
        weights: dict[str, Tensor] = super().state_dict_for_saving(*parts, **named)
        folded = not any(name.endswith(".quant_conv.weight") for name in weights)
        autoencoder = dataclasses.replace(
            self.config.autoencoder, quant_conv=self.config.autoencoder.quant_conv and not folded
        )
        text = dataclasses.replace(self.config, autoencoder=autoencoder).to_json()
        return weights | {CONFIG_KEY: torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)}

    def encode_adm(self, **kwargs: Any) -> Tensor:  # noqa: ANN401 - whatever conditioning nodes set
        """The vector `n v`, one row a frame, from the keys the host's conditioning nodes set."""
        rows = kwargs["noise"].shape[0]
        frames = _clip_length(kwargs.get(CLIP_FRAMES), rows)

        def one_a_clip(key: str, default: float) -> Tensor:
            return _rows_of_clips(_numbers(kwargs.get(key, default)), rows, frames)

        def one_a_frame(key: str) -> Tensor:
            return _rows_of_frames(_numbers(kwargs.get(key, 0)), rows, frames)

        fps, motion = FPS_PER_FRAME in kwargs, MOTION_PER_FRAME in kwargs
        values = {
            "fps_id": (one_a_frame(FPS_PER_FRAME) if fps else one_a_clip("fps", 6)) - 1,
            "motion_bucket_id": one_a_frame(MOTION_PER_FRAME) if motion else one_a_clip("motion_bucket_id", 127),
            "augmentation": one_a_clip("augmentation_level", 0),
            "polar": torch.deg2rad(torch.fmod(90 - one_a_frame("elevation"), 360)),
            "azimuth": torch.deg2rad(torch.fmod(one_a_frame("azimuth"), 360)),
        }
        # A row is a frame here, so nothing is left that has several values a row.
        conditions = [dataclasses.replace(condition, per_frame=False) for condition in self.config.unet.vector]
        return assemble_vector(conditions, values, rows)

    def extra_conds(self, **kwargs: Any) -> dict[str, object]:  # noqa: ANN401 - as above
        """What the host hands to the network in every step: image latents, tokens, vector and clip length."""
        noise = kwargs["noise"]
        rows = noise.shape[0]
        frames = _clip_length(kwargs.get(CLIP_FRAMES), rows)
        concat = kwargs.get("concat_latent_image")
        concat = torch.zeros_like(noise) if concat is None else concat
        if concat.shape[1:] != noise.shape[1:]:
            concat = utils.common_upscale(concat, noise.shape[-1], noise.shape[-2], "bilinear", "center")
        out: dict[str, object] = {
            "y": conds.CONDRegular(self.encode_adm(**kwargs)),
            "c_concat": conds.CONDNoiseShape(utils.resize_to_batch_size(concat, rows)),
            "num_video_frames": conds.CONDConstant(frames),
        }
        context = kwargs.get("cross_attn")
        if context is not None:
            # One row a frame, clip by clip: the host would repeat clip 1, 2, 1, 2.
            out["c_crossattn"] = conds.CONDCrossAttn(utils.resize_to_batch_size(context, rows))
            out["context_per_frame"] = conds.CONDConstant(context.shape[0] > rows // frames)
        if "time_conditioning" in kwargs:
            out["time_context"] = conds.CONDCrossAttn(kwargs["time_conditioning"])
        return out

    def memory_required(self, input_shape: Sequence[int], cond_shapes: Mapping[str, object] | None = None) -> int:
        """Bytes of activations a call on `input_shape` needs: the counted formula, not an estimate from the area."""
        rows, _, height, width = input_shape
        dtype = self.manual_cast_dtype or self.get_dtype()
        shape = CallShape(clips=1, frames=rows, height=height, width=width, bytes_per_value=dtype.itemsize)
        plan = self.diffusion_model.plan_for(shape, management.get_torch_device())
        return activation_bytes(self.config.unet, shape, plan)


def _encoded(autoencoder: Autoencoder, pixels: Tensor) -> Tensor:
    return autoencoder.encode(pixels).float()


def _described(config: UNetConfig) -> dict[str, object]:
    """The network in the host's terms: nodes look widths up here, LoRA loading derives other programs' names."""
    levels = range(len(config.channels))
    depth = config.transformer_depth
    return {
        "config": config,
        "image_size": 32,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "model_channels": config.channels[0],
        "channel_mult": [width // config.channels[0] for width in config.channels],
        "num_res_blocks": [config.res_blocks for _ in levels],
        "transformer_depth": [depth * config.attention[level] for level in levels for _ in range(config.res_blocks)],
        "transformer_depth_output": [
            depth * config.attention[level] for level in levels for _ in range(config.res_blocks + 1)
        ],
        "transformer_depth_middle": depth,
        "context_dim": config.context_dim,
        "adm_in_channels": config.vector_dim,
        "num_classes": "sequential",
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "use_temporal_attention": True,
        "use_temporal_resblock": True,
    }


def _stored_as(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A rounded blend logit is worse than a rounded share, so blend factors keep their precision."""
    return tensor if name.endswith("mix_factor") else tensor.to(dtype)


def _clip_length(wanted: object, rows: int) -> int:
    """Frames a clip: the whole batch is one clip unless the conditioning says otherwise."""
    if not isinstance(wanted, int) or wanted < 1:
        return rows
    if rows % wanted:
        remedy = "Use the latent that came with this conditioning."
        raise InputError(explain(f"a whole number of clips of {wanted} frames", f"a latent batch of {rows}", remedy))
    return wanted


def _numbers(value: object) -> Tensor:
    """A scalar, a list or a tensor as a flat float tensor."""
    return torch.as_tensor(value, dtype=torch.float32).flatten()


def _rows_of_clips(values: Tensor, rows: int, frames: int) -> Tensor:
    """One value for all, one a clip, or one a row -> one a row."""
    if len(values) == rows // frames:
        return values.repeat_interleave(frames)
    return utils.resize_to_batch_size(values, rows)


def _rows_of_frames(values: Tensor, rows: int, frames: int) -> Tensor:
    """One value for all, one a frame of every clip, or one a row -> one a row."""
    if len(values) == frames:
        return values.repeat(rows // frames)
    return utils.resize_to_batch_size(values, rows)
