"""A spatial layer, its temporal twin and their blend as one block. Only this file folds and unfolds `(b t)`.

Every block first prepares what does not depend on x, then runs on x; the sampling loop prepares once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from .. import inplace
from ..config import UNetConfig
from ..operations import Layers
from ..sinusoid import sinusoid
from .spatial import SpatialResBlock, SpatialTransformerBlock
from .temporal import AlphaBlender, TemporalResBlock, TemporalTransformerBlock
from .transformer import Attention, Cross, CrossConstant, CrossTokens

# The transformer's entry norm keeps Stable Diffusion's value, unlike the res blocks.
_TRANSFORMER_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class ClipSignals:
    """What a block is told about the clips, whatever the noise level.

    context `b n d`; image_only `(b t)` bool or None. `temporal` is False when every frame is a still.
    """

    context: Tensor
    frames: int
    image_only: Tensor | None
    temporal: bool


@dataclass(frozen=True, slots=True)
class ResConstants:
    """Embedding projections, spatial `(b t) c 1 1`, temporal `b c t 1 1`; blend weight (None: spatial half alone)."""

    spatial: Tensor
    temporal: Tensor
    weight: Tensor | None
    frames: int


@dataclass(frozen=True, slots=True)
class TransformerConstants:
    """Cross-attention of both halves by depth, frame positions `(b t) 1 c`, blend weight (None: spatial half alone)."""

    spatial: tuple[Cross, ...]
    temporal: tuple[Cross, ...]
    position: Tensor
    weight: Tensor | None
    frames: int


class VideoResBlock(SpatialResBlock):
    """A spatial res block followed by a temporal one on its result."""

    def __init__(self, layers: Layers, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(layers, in_channels, out_channels, config.embed_dim, config.norm_groups)
        self.time_stack = TemporalResBlock(
            layers, out_channels, config.embed_dim, config.norm_groups, config.temporal_kernel
        )
        self.time_mixer = AlphaBlender(layers)

    def prepare(self, activated: Tensor, clip: ClipSignals) -> ResConstants:
        """activated: SiLU(embedding), `b e` or `(b t) e`."""
        frames = clip.frames
        spatial = self.emb_layers[1](activated)
        temporal = self.time_stack.emb_layers[1](activated)
        if activated.shape[0] == clip.context.shape[0]:
            spatial, temporal = (row.repeat_interleave(frames, dim=0) for row in (spatial, temporal))
        weight = self.time_mixer.temporal_weight(clip.image_only, spatial) if clip.temporal else None
        if weight is not None and clip.image_only is not None:
            weight = rearrange(weight, "(b t) -> b 1 t 1 1", t=frames)
        return ResConstants(
            rearrange(spatial, "n c -> n c 1 1"),
            rearrange(temporal, "(b t) c -> b c t 1 1", t=frames),
            weight,
            frames,
        )

    def forward(self, x: Tensor, constants: ResConstants) -> Tensor:
        """x `(b t) c h w` -> `(b t) c h w`.

        The temporal half is residual, so a*spatial + (1-a)*temporal == spatial + (1-a)*residual.
        """
        x = self.spatial(x, constants.spatial)
        if constants.weight is None:
            return x
        clips = rearrange(x, "(b t) c h w -> b c t h w", t=constants.frames)
        residual = self.time_stack.residual(clips, constants.temporal)
        clips = inplace.add_scaled(clips, residual, constants.weight)
        return rearrange(clips, "b c t h w -> (b t) c h w")


class SpatialVideoTransformer(nn.Module):
    """Spatial transformer blocks, each followed by a temporal one that also knows the frame index."""

    def __init__(self, layers: Layers, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.channels = channels
        widths = (channels, config.context_dim, config.head_channels)
        depth = range(config.transformer_depth)
        self.norm = layers.group_norm(config.norm_groups, channels, eps=_TRANSFORMER_NORM_EPS)
        self.proj_in = layers.linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([SpatialTransformerBlock(layers, *widths) for _ in depth])
        self.time_stack = nn.ModuleList([TemporalTransformerBlock(layers, *widths) for _ in depth])
        self.time_pos_embed = nn.Sequential(
            layers.linear(channels, 4 * channels), nn.SiLU(), layers.linear(4 * channels, channels)
        )
        self.time_mixer = AlphaBlender(layers)
        self.proj_out = layers.linear(channels, channels)

    def prepare(self, clip: ClipSignals) -> TransformerConstants:
        """Frame positions, blend weight and, for a single context token, the whole cross-attention."""
        context, frames = clip.context, clip.frames
        index = torch.arange(frames, device=context.device)
        position = self.time_pos_embed(sinusoid(index, self.channels).to(context.dtype))
        weight = self.time_mixer.temporal_weight(clip.image_only, context) if clip.temporal else None
        if weight is not None and clip.image_only is not None:
            weight = rearrange(weight, "n -> n 1 1")
        return TransformerConstants(
            spatial=tuple(_cross(block, clip) for block in self.transformer_blocks),
            temporal=tuple(_cross(block, clip) for block in self.time_stack),
            position=position.repeat(context.shape[0], 1).unsqueeze(1),
            weight=weight,
            frames=frames,
        )

    def forward(self, x: Tensor, constants: TransformerConstants, blocks: int) -> Tensor:
        """x `(b t) c h w`, overwritten in inference -> `(b t) c h w`."""
        height = x.shape[-2]
        tokens = self.proj_in(rearrange(self.norm(x), "n c h w -> n (h w) c"))
        for depth, (spatial, temporal) in enumerate(zip(self.transformer_blocks, self.time_stack, strict=True)):
            tokens = spatial(tokens, constants.spatial[depth], blocks)
            if constants.weight is not None:
                moved = temporal(tokens + constants.position, constants.temporal[depth], constants.frames, blocks)
                tokens = inplace.lerp(tokens, moved, constants.weight)
                del moved
        tokens = self.proj_out(tokens)
        return inplace.add(x, rearrange(tokens, "n (h w) c -> n c h w", h=height))


def _cross(block: nn.Module, clip: ClipSignals) -> Cross:
    """Collapse cross-attention where the context is one token; keep the tokens where it is more.

    A row for every frame even where all are alike: an adapter on these layers may tell them apart.
    """
    context = clip.context.repeat_interleave(clip.frames, dim=0)
    if context.shape[1] > 1:
        return CrossTokens(context)
    return CrossConstant(cast("Attention", block.attn2).constant(context))
