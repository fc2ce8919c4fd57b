"""The UNet once more, one row a frame as hosts run it, with the places where other nodes put their patches.

Only used while there is a patch: what the host's own network calls, when, and with which arguments, is called
here the same way. The layers are those of the plain path; nothing is overwritten, since patches may keep tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from ..svd_core.attention import attention, merge_heads, split_heads
from ..svd_core.camera.frame_axis import FrameAxis, frames_along, tokens_are_frames
from ..svd_core.camera.overrides import cross_attention
from ..svd_core.sinusoid import sinusoid
from ..svd_core.unet import VideoUNet
from ..svd_core.unet.inflated import ClipSignals, SpatialVideoTransformer, VideoResBlock
from ..svd_core.unet.spatial import SpatialTransformerBlock, Upsample
from ..svd_core.unet.temporal import TemporalTransformerBlock
from ..svd_core.unet.transformer import Attention, Projections

Options = dict[str, Any]
Patch = Callable[..., Any]
Block = SpatialTransformerBlock | TemporalTransformerBlock
_OVERRIDE = "optimized_attention_override"


def is_patched(options: Options, control: object) -> bool:
    """Whether anything wants to look into the network."""
    return bool(options.get("patches") or options.get("patches_replace") or options.get(_OVERRIDE) or control)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the network: context `(b t) n d`, time_context `b n d`, vector `(b t) v`, stills `(b t)` bool."""

    c_noise: Tensor
    context: Tensor
    time_context: Tensor
    vector: Tensor
    frames: int
    stills: Tensor | None
    control: Mapping[str, list[Tensor | None]]
    options: Options

    def patches(self, name: str) -> Sequence[Patch]:
        """The patches of one kind, in order."""
        return self.options.get("patches", {}).get(name, ())


def run_patched(unet: VideoUNet, x: Tensor, call: Call) -> Tensor:
    """x `(b t) C h w` scaled and concatenated -> v `(b t) c h w`."""
    options = call.options
    options["original_shape"] = list(x.shape)
    options["transformer_index"] = 0
    activated = _activated_embedding(unet, call)
    skips: list[Tensor] = []
    for index, stage in enumerate(unet.input_blocks):
        options["block"] = ("input", index)
        x = _controlled(_stage(stage, x, activated, call, x.shape[-2:]), call, "input")
        for patch in call.patches("input_block_patch"):
            x = patch(x, options)
        skips.append(x)
        for patch in call.patches("input_block_patch_after_skip"):
            x = patch(x, options)
    options["block"] = ("middle", 0)
    x = _controlled(_stage(unet.middle_block, x, activated, call, x.shape[-2:]), call, "middle")
    for index, stage in enumerate(unet.output_blocks):
        options["block"] = ("output", index)
        skip = _controlled(skips.pop(), call, "output")
        for patch in call.patches("output_block_patch"):
            x, skip = patch(x, skip, options)
        size = skips[-1].shape[-2:] if skips else x.shape[-2:]
        x = _stage(stage, torch.cat([x, skip], dim=1), activated, call, size)
    return unet.out[2](F.silu(unet.out[0](x)))


def _activated_embedding(unet: VideoUNet, call: Call) -> Tensor:
    """SiLU of noise level plus vector, `(b t) e`."""
    width = unet.config.channels[0]
    noise = unet.time_embed(sinusoid(call.c_noise, width).to(call.context.dtype))
    for patch in call.patches("emb_patch"):
        noise = patch(noise, width, call.options)
    return F.silu(noise + unet.label_emb(call.vector.to(noise.dtype)))


def _controlled(x: Tensor, call: Call, part: str) -> Tensor:
    """Add what a control network has for this place; it hands its tensors out from the last one on."""
    waiting = call.control.get(part)
    extra = waiting.pop() if waiting else None
    return x if extra is None else x + extra


def _stage(stage: nn.Module, x: Tensor, activated: Tensor, call: Call, size: torch.Size) -> Tensor:
    for layer in cast("nn.ModuleList", stage):
        if isinstance(layer, VideoResBlock):
            temporal = call.stills is None or not bool(call.stills.all())
            signals = ClipSignals(call.time_context, call.frames, call.stills if temporal else None, temporal)
            x = layer(x, layer.prepare(activated, signals))
        elif isinstance(layer, SpatialVideoTransformer):
            x = _transformer(layer, x, call)
            call.options["transformer_index"] += 1
        else:
            x = layer(x, size) if isinstance(layer, Upsample) else layer(x)
    return x


def _transformer(layer: SpatialVideoTransformer, x: Tensor, call: Call) -> Tensor:
    """x `(b t) c h w` -> the same; temporal blocks see `(b s) t c`, one clip of every pixel."""
    call.options["activations_shape"] = list(x.shape)
    height, area = x.shape[-2], x.shape[-2] * x.shape[-1]
    tokens = layer.proj_in(rearrange(layer.norm(x), "n c h w -> n (h w) c"))
    index = torch.arange(call.frames, device=x.device)
    position = layer.time_pos_embed(sinusoid(index, layer.channels).to(tokens.dtype))
    position = repeat(position, "t c -> (b t) 1 c", b=len(x) // call.frames)
    weight = layer.time_mixer.temporal_weight(call.stills, tokens).view(-1, 1, 1)
    time_context = repeat(call.time_context, "b n d -> (b s) n d", s=area)
    for depth, (spatial, temporal) in enumerate(zip(layer.transformer_blocks, layer.time_stack, strict=True)):
        call.options["block_index"] = depth
        tokens = _block(cast("Block", spatial), tokens, call.context, call)
        clips = rearrange(tokens + position, "(b t) s c -> (b s) t c", t=call.frames)
        with frames_along(FrameAxis.TOKENS):
            clips = _block(cast("Block", temporal), clips, time_context, call)
        tokens = torch.lerp(tokens, rearrange(clips, "(b s) t c -> (b t) s c", s=area), weight)
    return x + rearrange(layer.proj_out(tokens), "n (h w) c -> n c h w", h=height)


def _block(block: Block, x: Tensor, context: Tensor, call: Call) -> Tensor:
    """One transformer block on `n s c`; `context` `n m d`."""
    told = {name: value for name, value in call.options.items() if name not in ("patches", "patches_replace")}
    head = block.attn1.head_channels
    told |= {"n_heads": x.shape[-1] // head, "dim_head": head, "attn_precision": None}
    if isinstance(block, TemporalTransformerBlock):
        x = x + block.ff_in(block.norm_in(x))
    x = x + _attend("attn1", block.attn1, block.norm1(x), None, call, told)
    for patch in call.patches("middle_patch"):
        x = patch(x, told)
    x = x + _attend("attn2", block.attn2, block.norm2(x), context, call, told)
    return x + block.ff(block.norm3(x))


def _attend(kind: str, layer: Projections, n: Tensor, context: Tensor | None, call: Call, told: Options) -> Tensor:
    """Self-attention (no context) or cross-attention of normed tokens, with the patches of that kind around it."""
    changed = call.patches(f"{kind}_patch")
    replacement = _replacement(kind, call.options)
    outputs = call.patches(f"{kind}_output_patch")
    alone = context is not None and context.shape[1] == 1
    collapsed = alone and not (changed or replacement or outputs)

    def answer(n: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        if collapsed:
            return cast("Attention", layer).constant(values)
        q, k, v = layer.to_q(n), layer.to_k(keys), layer.to_v(values)
        mixed = replacement(q, k, v, told) if replacement else _kernel(q, k, v, layer.head_channels, call.options)
        return layer.to_out[0](mixed)

    keys = n if context is None else context
    values = keys
    for patch in changed:
        n, keys, values = patch(n, keys, values, told)
    values = keys if values is None else values
    if context is not None and tokens_are_frames() and not replacement:
        n = cross_attention(layer, answer, n, keys, values)
    else:
        n = answer(n, keys, values)
    for patch in outputs:
        n = patch(n, told)
    return n


def _replacement(kind: str, options: Options) -> Patch | None:
    """Who replaces the attention of this place: keyed by part, index and depth, or by part and index."""
    replacements = options.get("patches_replace", {}).get(kind, {})
    part, index = options["block"]
    return replacements.get((part, index, options["block_index"])) or replacements.get((part, index))


def _kernel(q: Tensor, k: Tensor, v: Tensor, head_channels: int, options: Options) -> Tensor:
    """Queries, keys and values `n s c` with merged heads -> `n s c`."""

    def plain(q: Tensor, k: Tensor, v: Tensor, heads: int, *_: object, **__: object) -> Tensor:
        return merge_heads(attention(*(split_heads(tokens, tokens.shape[-1] // heads) for tokens in (q, k, v))))

    heads = q.shape[-1] // head_channels
    override = options.get(_OVERRIDE)
    return plain(q, k, v, heads) if override is None else override(plain, q, k, v, heads, transformer_options=options)
