"""VideoUNet: the inflated Stable Diffusion UNet, read top to bottom like the paper's figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import inplace
from ..config import UNetConfig
from ..errors import InputError, explain
from ..operations import TORCH, Layers, Operations
from ..sinusoid import sinusoid
from .inflated import ClipSignals, SpatialVideoTransformer, VideoResBlock
from .plan import FAST, ExecutionPlan
from .spatial import NORM_EPS
from .stages import ClipConstants, Stage, StepConstants, apply_layer, down_stages, middle_stage, up_stages


class VideoUNet(nn.Module):
    """The denoising network of SVD and SV3D (Blattmann et al. 2023, appendix D).

    Parameter names are those of the published single files, so hosts and LoRA files address them directly.
    """

    def __init__(
        self,
        config: UNetConfig,
        *,
        operations: Operations = TORCH,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        layers = Layers(operations, device, dtype)
        width, embed = config.channels[0], config.embed_dim
        self.time_embed = _embedding(layers, width, embed)
        self.label_emb = nn.Sequential(_embedding(layers, config.vector_dim, embed))
        self.input_blocks = nn.ModuleList(down_stages(layers, config))
        self.middle_block = middle_stage(layers, config)
        self.output_blocks = nn.ModuleList(up_stages(layers, config))
        self.out = nn.ModuleList(
            [
                layers.group_norm(config.norm_groups, width, eps=NORM_EPS),
                nn.SiLU(),
                layers.conv2d(width, config.out_channels),
            ]
        )

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        context: Tensor,
        vector: Tensor,
        num_frames: int,
        *,
        image_only: Tensor | None = None,
        plan: ExecutionPlan = FAST,
    ) -> Tensor:
        """Predict v for B clips of T frames.

        Args:
            x: `(b t) c h w`, noisy latents scaled by c_in with the image latents concatenated.
            c_noise: `b` or `(b t)`, 0.25 ln sigma.
            context: `b n d`, image tokens; a single token takes the collapsed path.
            vector: `b v` or `b t v`, the sinusoids before the MLP.
            num_frames: T.
            image_only: `b t` bool, True where a frame is a still image that time must not touch.
            plan: how to spend memory; changes rounding at most.

        Returns:
            `(b t) c h w`, with the config's `out_channels`.

        Raises:
            InputError: shapes do not fit the config or each other.
        """
        check_shapes(self.config, x, context, vector, num_frames)
        clip = self.prepare_clip(context, vector, num_frames, image_only=image_only)
        return self.run(x, self.prepare_step(c_noise, clip), plan)

    def prepare_clip(
        self, context: Tensor, vector: Tensor, num_frames: int, *, image_only: Tensor | None = None
    ) -> ClipConstants:
        """Evaluate what stays the same over all steps; arguments as in `forward`."""
        stills = None if image_only is None else image_only.flatten()
        temporal = stills is None or not bool(stills.all())
        signals = ClipSignals(context, num_frames, stills if temporal else None, temporal)
        label = self.label_emb(vector.flatten(0, -2).to(context.dtype))
        transformers = {layer: layer.prepare(signals) for layer in self._every_transformer()}
        return ClipConstants(signals, label, transformers)

    def prepare_step(self, c_noise: Tensor, clip: ClipConstants) -> StepConstants:
        """Evaluate what one noise level adds: the embedding and its projection in every res block."""
        noise = self.time_embed(sinusoid(c_noise, self.config.channels[0]).to(clip.label.dtype))
        noise, label = _same_rows(noise, clip.label, clip.signals.frames)
        activated = F.silu(noise + label)
        return StepConstants(clip, {layer: layer.prepare(activated, clip.signals) for layer in self._every_res_block()})

    def run(self, x: Tensor, constants: StepConstants, plan: ExecutionPlan = FAST) -> Tensor:
        """The part of `forward` that depends on x.

        Layers are applied one by one in this frame, so that each input is freed as soon as its layer is done.
        """
        skips: list[Tensor] = []
        for stage in _stages(self.input_blocks):
            for layer in stage:
                x = apply_layer(layer, x, constants, plan, x.shape[-2:])
            skips.append(x)
        for layer in self.middle_block:
            x = apply_layer(layer, x, constants, plan, x.shape[-2:])
        for stage in _stages(self.output_blocks):
            x = torch.cat([x, skips.pop()], dim=1)
            size = skips[-1].shape[-2:] if skips else x.shape[-2:]
            for layer in stage:
                x = apply_layer(layer, x, constants, plan, size)
        return self.out[2](inplace.silu(self.out[0](x)))

    def _every_transformer(self) -> Iterator[SpatialVideoTransformer]:
        return (module for module in self.modules() if isinstance(module, SpatialVideoTransformer))

    def _every_res_block(self) -> Iterator[VideoResBlock]:
        return (module for module in self.modules() if isinstance(module, VideoResBlock))


def _embedding(layers: Layers, inputs: int, outputs: int) -> nn.Sequential:
    """Linear, SiLU, Linear: how every scalar condition enters."""
    return nn.Sequential(layers.linear(inputs, outputs), nn.SiLU(), layers.linear(outputs, outputs))


def _stages(blocks: nn.ModuleList) -> Iterable[Stage]:
    return cast("Iterable[Stage]", blocks)


def _same_rows(noise: Tensor, label: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Bring `b` and `(b t)` rows together: whichever is per clip is repeated for its frames."""
    if noise.shape[0] > label.shape[0]:
        return noise, label.repeat_interleave(frames, dim=0)
    if label.shape[0] > noise.shape[0]:
        return noise.repeat_interleave(frames, dim=0), label
    return noise, label


def check_shapes(config: UNetConfig, x: Tensor, context: Tensor, vector: Tensor, frames: int) -> None:
    """Whether the inputs of a call fit the network and each other; arguments as in `VideoUNet.forward`.

    Raises:
        InputError: one does not; the message names it.
    """
    clips = context.shape[0]
    expected = {
        "x": (clips * frames, config.in_channels),
        "context": (clips, context.shape[1], config.context_dim),
        "vector": (clips, config.vector_dim) if vector.ndim == 2 else (clips, frames, config.vector_dim),
    }
    found = {"x": tuple(x.shape[:2]), "context": tuple(context.shape), "vector": tuple(vector.shape)}
    for name, shape in expected.items():
        if found[name] != shape:
            raise InputError(
                explain(
                    f"`{name}` to begin with shape {shape} for {clips} clips of {frames} frames",
                    str(found[name]),
                    "Fold clips and frames as (b t) with clips outermost, and check `num_frames`.",
                )
            )
