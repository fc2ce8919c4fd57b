"""Models this package does not run, told by their tensor names, so that they are refused by name.

The table is ordered: add-ons of SVD come before the families they are built on, whole models before their
pieces. A signature may be loose, because it is only asked once nothing of ours was recognised, except for
the first group, which would otherwise pass for SVD itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from .source import Checkpoint

_USE_SVD = "Use a Stable Video Diffusion or SV3D checkpoint."
_WITH_BASE = "Load the SVD checkpoint it was made for; this add-on itself is not supported."
_INTERPOLATES = "It makes frames between frames: use Load SVD Interpolator, or svd interpolate --engine svd:FILE."
_COMPANION = "Give it as a companion of a UNet-only file, or load a whole SVD checkpoint."


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A family by short name and full name; a file belongs to it if all of `signs` occur in its tensor names."""

    family: str
    name: str
    signs: tuple[str, ...]
    remedy: str = _USE_SVD


SVD_RELATIVES = (
    Foreign(family="sv4d2", name="SV4D 2.0", signs=("time_mix_blocks", "time_mixer_motion")),
    Foreign(family="sv4d", name="SV4D", signs=("time_mix_blocks",)),
    Foreign(
        family="svd_controlnet",
        name="an SVD temporal ControlNet",
        signs=("controlnet_cond_embedding", "temporal_res_block"),
        remedy=_WITH_BASE,
    ),
    Foreign(family="controlnet", name="a ControlNet", signs=("controlnet_cond_embedding",), remedy=_WITH_BASE),
    Foreign(family="controlnet", name="a ControlNet", signs=("input_hint_block",), remedy=_WITH_BASE),
    Foreign(family="motionctrl", name="MotionCtrl for SVD", signs=("cc_projection",), remedy=_WITH_BASE),
    Foreign(family="cameractrl", name="CameraCtrl for SVD", signs=("qkv_merge",), remedy=_WITH_BASE),
    Foreign(family="cameractrl", name="CameraCtrl for SVD", signs=("kv_merge",), remedy=_WITH_BASE),
    Foreign(
        family="cameractrl",
        name="CameraCtrl's pose encoder",
        signs=("encoder_down_conv_blocks", "encoder_conv_in"),
        remedy=_WITH_BASE,
    ),
    Foreign(
        family="interpolator", name="a video frame interpolator", signs=("video_interpolator.",), remedy=_INTERPOLATES
    ),
    Foreign(family="interpolator", name="a video frame interpolator", signs=("mask_token",), remedy=_INTERPOLATES),
    Foreign(family="streamingsvd", name="StreamingSVD", signs=("cross_attention_merger",)),
    Foreign(
        family="animatediff",
        name="an AnimateDiff motion module",
        signs=("motion_modules.",),
        remedy="AnimateDiff is made for Stable Diffusion 1.5 and does not transfer to SVD. " + _USE_SVD,
    ),
)

OTHERS = (
    Foreign(
        family="rife",
        name="a RIFE frame interpolator",
        signs=("conv0.0.0.weight", ".convblock.0.", ".lastconv."),
        remedy="It makes frames between frames: use Load SVD Interpolator, or svd interpolate --engine rife:FILE.",
    ),
    Foreign(family="videocrafter", name="VideoCrafter", signs=("temopral_conv",)),
    Foreign(family="videocrafter", name="VideoCrafter", signs=("init_attn.0.",)),
    Foreign(family="modelscope", name="ModelScope or ZeroScope", signs=("transformer_in.", "temp_convs.")),
    Foreign(family="lavie", name="LaVie", signs=("attn_temp.",)),
    Foreign(family="hunyuan_video", name="Hunyuan Video", signs=("double_blocks.", "individual_token_refiner")),
    Foreign(family="flux", name="Flux", signs=("double_blocks.", "single_blocks.")),
    Foreign(family="flux", name="Flux", signs=("single_transformer_blocks.",)),
    Foreign(family="sd3", name="Stable Diffusion 3", signs=("joint_blocks.",)),
    Foreign(family="wan", name="Wan video", signs=("blocks.0.self_attn.q.", "patch_embedding.")),
    Foreign(family="wan", name="Wan video", signs=("condition_embedder.time_embedder", "blocks.0.attn1.")),
    Foreign(family="ltx", name="LTX-Video", signs=("patchify_proj", "scale_shift_table")),
    Foreign(family="ltx", name="LTX-Video or PixArt", signs=("caption_projection", "scale_shift_table")),
    Foreign(family="cogvideox", name="CogVideoX", signs=("patch_embed.text_proj",)),
    Foreign(family="mochi", name="Mochi", signs=("t5_yproj",)),
    Foreign(family="cosmos", name="Cosmos", signs=("x_embedder.proj", "t_embedder.")),
    Foreign(family="dit", name="a diffusion transformer", signs=("adaLN_modulation",)),
    Foreign(family="dit", name="a diffusion transformer", signs=("scale_shift_table",)),
    Foreign(family="sdxl", name="Stable Diffusion XL", signs=("conditioner.embedders.1.model.transformer.",)),
    Foreign(family="sdxl", name="Stable Diffusion XL", signs=("label_emb.0.0.weight", "output_blocks.")),
    Foreign(family="sdxl", name="Stable Diffusion XL", signs=("add_embedding.linear_1", "up_blocks.")),
)

PIECES = (
    Foreign(family="t5", name="a T5 text encoder", signs=("layer.0.SelfAttention.",)),
    Foreign(family="language_model", name="a language model", signs=("layers.0.self_attn.", "layers.0.mlp.gate_proj")),
    Foreign(family="clip_text", name="a CLIP text encoder", signs=("text_model.encoder.layers.0.",)),
    Foreign(family="clip_vision", name="a CLIP vision tower alone", signs=("vision_model.",), remedy=_COMPANION),
    Foreign(family="clip_vision", name="a CLIP vision tower alone", signs=("visual.transformer.",), remedy=_COMPANION),
    Foreign(family="clip_text", name="a CLIP text encoder", signs=("transformer.resblocks.0.",)),
    Foreign(family="vae", name="an autoencoder alone", signs=("decoder.conv_in.",), remedy=_COMPANION),
    Foreign(family="vae", name="an autoencoder alone", signs=("encoder.conv_in.",), remedy=_COMPANION),
    Foreign(family="video_vae", name="another model's video autoencoder", signs=("decoder.conv1.", "encoder.conv1.")),
)

UNKNOWN = Foreign(family="unknown", name="tensors of no model known here", signs=())
_EMPTY = Foreign(family="unknown", name="no tensors at all", signs=())

# Width of the text embedding an image model attends to -> which one it is.
_IMAGE_MODELS: dict[int, Foreign] = {
    768: Foreign(family="sd15", name="Stable Diffusion 1", signs=()),
    1024: Foreign(family="sd2", name="Stable Diffusion 2", signs=()),
    1280: Foreign(family="sdxl", name="the Stable Diffusion XL refiner", signs=()),
    2048: Foreign(family="sdxl", name="Stable Diffusion XL", signs=()),
}


def svd_relative(checkpoint: Checkpoint) -> Foreign | None:
    """An add-on or cousin of SVD whose tensors contain SVD's own names."""
    return _first(checkpoint, SVD_RELATIVES)


def other_model(checkpoint: Checkpoint) -> Foreign:
    """The best name for a file that holds no UNet of ours."""
    if not checkpoint.tensors:
        return _EMPTY
    return _first(checkpoint, OTHERS) or _image_model(checkpoint) or _first(checkpoint, PIECES) or UNKNOWN


def _first(checkpoint: Checkpoint, table: tuple[Foreign, ...]) -> Foreign | None:
    names = "\n".join(checkpoint.tensors)
    return next((entry for entry in table if all(sign in names for sign in entry.signs)), None)


def image_model(text_width: int) -> Foreign | None:
    """The image model that attends to text embeddings of this width."""
    return _IMAGE_MODELS.get(text_width)


def _image_model(checkpoint: Checkpoint) -> Foreign | None:
    for name, info in checkpoint.tensors.items():
        if name.endswith("attn2.to_k.weight") and len(info.shape) == 2:
            return image_model(info.shape[1])
    return None
