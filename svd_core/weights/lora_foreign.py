"""LoRAs of other networks, told by names and shapes, so that they are refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .foreign import Foreign, image_model
from .lora_names import ending
from .reader import TensorInfo

_NEEDS = "SVD has other layers: use a LoRA that was trained on SVD."
_ANIMATEDIFF = Foreign(
    family="animatediff",
    name="an AnimateDiff MotionLoRA",
    signs=("motion_modules",),
    remedy="It changes AnimateDiff's motion modules for Stable Diffusion 1.5, which SVD does not have: "
    "use a camera LoRA that was trained on SVD, or a preset.",
)
_WHOLE = "It adds layers of its own to SVD, which no LoRA does, and is not supported: use a camera LoRA or a preset."

# Asked in this order; the first group would otherwise pass for SVD, whose names these files contain.
_SIGNS: tuple[Foreign, ...] = (
    _ANIMATEDIFF,
    Foreign(family="motionctrl", name="MotionCtrl for SVD", signs=("cc_projection",), remedy=_WHOLE),
    Foreign(family="cameractrl", name="CameraCtrl for SVD", signs=("qkv_merge",), remedy=_WHOLE),
    Foreign(family="cameractrl", name="CameraCtrl for SVD", signs=("kv_merge",), remedy=_WHOLE),
    Foreign(family="controlnet", name="a ControlNet", signs=("controlnet",), remedy=_WHOLE),
    Foreign(family="controlnet", name="a ControlNet", signs=("control_model",), remedy=_WHOLE),
    Foreign(family="sv4d", name="SV4D", signs=("time_mix_blocks",), remedy=_NEEDS),
)
_IMAGE_SIGNS: tuple[Foreign, ...] = (
    Foreign(family="flux", name="a LoRA for Flux", signs=("double_blocks",), remedy=_NEEDS),
    Foreign(family="flux", name="a LoRA for Flux", signs=("single_transformer_blocks",), remedy=_NEEDS),
    Foreign(family="sd3", name="a LoRA for Stable Diffusion 3", signs=("joint_blocks",), remedy=_NEEDS),
    Foreign(family="wan", name="a LoRA for Wan video", signs=("blocks.0.self_attn",), remedy=_NEEDS),
    Foreign(family="wan", name="a LoRA for Wan video", signs=("blocks_0_self_attn",), remedy=_NEEDS),
    Foreign(family="sdxl", name="a LoRA for Stable Diffusion XL", signs=("lora_te2_",), remedy=_NEEDS),
    Foreign(family="sdxl", name="a LoRA for Stable Diffusion XL", signs=("text_encoder_2.",), remedy=_NEEDS),
)
_TEXT_SIGNS = (
    Foreign(
        family="image_model",
        name="a LoRA for an image model, with layers of its text encoder",
        signs=("text_model",),
        remedy="SVD reads no text: use a LoRA that was trained on SVD.",
    ),
    Foreign(
        family="image_model",
        name="a LoRA for an image model, with layers of its text encoder",
        signs=("text_encoder",),
        remedy="SVD reads no text: use a LoRA that was trained on SVD.",
    ),
)
# What metadata of trainers begins with -> which network that is.
_BASES: tuple[tuple[str, str, str], ...] = (
    ("sdxl", "sdxl", "Stable Diffusion XL"),
    ("stable-diffusion-xl", "sdxl", "Stable Diffusion XL"),
    ("sd_v1", "sd15", "Stable Diffusion 1"),
    ("stable-diffusion-v1", "sd15", "Stable Diffusion 1"),
    ("sd3", "sd3", "Stable Diffusion 3"),
    ("stable-diffusion-3", "sd3", "Stable Diffusion 3"),
    ("flux", "flux", "Flux"),
    ("wan", "wan", "Wan video"),
    ("hunyuan", "hunyuan_video", "Hunyuan Video"),
)
_BASE_KEYS = ("ss_base_model_version", "modelspec.architecture")
_TEMPORAL = ("time_stack", "temporal_transformer_block", "temporal_res_block")
# AnimateDiff's own eight files, which are pickles and so never opened.
_MOTION_LORAS = ("v2_lora_pan", "v2_lora_tilt", "v2_lora_zoom", "v2_lora_roll")
_KINDS = (
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    ("hada_w", "LoHa"),
    ("lokr_w", "LoKr"),
    ("lora_mid", "LoCon with a Tucker core"),
    ("oft_blocks", "OFT"),
)


def foreign_lora(
    tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str], context_dim: int | None
) -> Foreign | None:
    """Whose LoRA this is, if it is none for SVD's networks.

    context_dim: width of the context of the network it is for; None for SVD's 1024.
    """
    names = "\n".join(tensors)
    if found := _first(_SIGNS, names):
        return found
    if any(sign in names for sign in _TEMPORAL):
        return None
    return (
        _by_metadata(metadata)
        or _first(_IMAGE_SIGNS, names)
        or _by_width(tensors, context_dim or 1024)
        or _first(_TEXT_SIGNS, names)
    )


def other_kind(names: Iterable[str]) -> str | None:
    """What adapters a file holds that are no plain low-rank pairs, or None."""
    text = "\n".join(names)
    return next((kind for sign, kind in _KINDS if sign in text), None)


def motion_lora_by_name(path: Path) -> Foreign | None:
    """AnimateDiff's published files by their names, as their contents are not to be looked at."""
    return _ANIMATEDIFF if path.name.lower().startswith(_MOTION_LORAS) else None


def _first(table: tuple[Foreign, ...], names: str) -> Foreign | None:
    return next((entry for entry in table if all(sign in names for sign in entry.signs)), None)


def _by_metadata(metadata: Mapping[str, str]) -> Foreign | None:
    for text in (metadata.get(key, "").lower() for key in _BASE_KEYS):
        for begin, family, name in _BASES:
            if text.startswith(begin):
                return Foreign(family=family, name=f"a LoRA for {name}", signs=(), remedy=_NEEDS)
    return None


def _by_width(tensors: Mapping[str, TensorInfo], context_dim: int) -> Foreign | None:
    """Image models tell themselves apart by the width of the text they attend to."""
    for key, info in tensors.items():
        cut = ending(key)
        if cut is None or cut.role != "down" or not cut.stem.endswith(("attn2.to_k", "attn2_to_k", "processor.to_k")):
            continue
        width = info.shape[1] if "attn2" in cut.stem and len(info.shape) > 1 else context_dim
        model = image_model(width)
        if model is not None and width not in (context_dim, 1024):
            return Foreign(family=model.family, name=f"a LoRA for {model.name}", signs=(), remedy=_NEEDS)
    return None
