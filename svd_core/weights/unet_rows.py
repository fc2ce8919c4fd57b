"""Every tensor of the inflated UNet, written out from its config: the whole truth about its names and shapes."""

from __future__ import annotations

from collections.abc import Iterator

from ..config import UNetConfig
from .rows import Row, layer


def unet_rows(config: UNetConfig) -> tuple[Row, ...]:
    """Rows of a UNet of any size, in the order the network runs."""
    return tuple(_unet(config))


def _unet(config: UNetConfig) -> Iterator[Row]:
    first, embed = config.channels[0], config.embed_dim
    yield from _mlp("time_embed", "time_embedding", first, embed, embed)
    yield from _mlp("label_emb.0", "add_embedding", config.vector_dim, embed, embed)
    yield from layer("input_blocks.0.0", "conv_in", first, config.in_channels, 3, 3)
    skips = [first]
    yield from _down(config, skips)
    deepest = config.channels[-1]
    yield from _res(config, "middle_block.0", "mid_block.resnets.0", deepest, deepest)
    yield from _transformer(config, "middle_block.1", "mid_block.attentions.0", deepest)
    yield from _res(config, "middle_block.2", "mid_block.resnets.1", deepest, deepest)
    yield from _up(config, skips)
    yield from layer("out.0", "conv_norm_out", first)
    yield from layer("out.2", "conv_out", config.out_channels, first, 3, 3)


def _down(config: UNetConfig, skips: list[int]) -> Iterator[Row]:
    """The input blocks; `skips` gathers the width of every connection to the output blocks."""
    index, width = 1, config.channels[0]
    for level, (channels, attention) in enumerate(zip(config.channels, config.attention, strict=True)):
        block = f"down_blocks.{level}"
        for position in range(config.res_blocks):
            yield from _res(config, f"input_blocks.{index}.0", f"{block}.resnets.{position}", width, channels)
            if attention:
                yield from _transformer(config, f"input_blocks.{index}.1", f"{block}.attentions.{position}", channels)
            width = channels
            skips.append(width)
            index += 1
        if level < len(config.channels) - 1:
            yield from layer(f"input_blocks.{index}.0.op", f"{block}.downsamplers.0.conv", width, width, 3, 3)
            skips.append(width)
            index += 1


def _up(config: UNetConfig, skips: list[int]) -> Iterator[Row]:
    index, width = 0, config.channels[-1]
    levels = list(zip(config.channels, config.attention, strict=True))
    for level, (channels, attention) in enumerate(reversed(levels)):
        block = f"up_blocks.{level}"
        for position in range(config.res_blocks + 1):
            name = f"output_blocks.{index}"
            yield from _res(config, f"{name}.0", f"{block}.resnets.{position}", width + skips.pop(), channels)
            if attention:
                yield from _transformer(config, f"{name}.1", f"{block}.attentions.{position}", channels)
            width = channels
            if position == config.res_blocks and level < len(levels) - 1:
                # The upsampler follows whatever stands in its block already.
                slot = 2 if attention else 1
                yield from layer(f"{name}.{slot}.conv", f"{block}.upsamplers.0.conv", width, width, 3, 3)
            index += 1


def _mlp(name: str, diffusers: str, inputs: int, hidden: int, outputs: int) -> Iterator[Row]:
    yield from layer(f"{name}.0", f"{diffusers}.linear_1", hidden, inputs)
    yield from layer(f"{name}.2", f"{diffusers}.linear_2", outputs, hidden)


def _res(config: UNetConfig, name: str, diffusers: str, inputs: int, outputs: int) -> Iterator[Row]:
    """A spatial residual block, its temporal twin, and the scalar that blends them."""
    spatial, temporal = f"{diffusers}.spatial_res_block", f"{diffusers}.temporal_res_block"
    yield from _half(name, spatial, inputs, outputs, config.embed_dim, (3, 3))
    if inputs != outputs:
        yield from layer(f"{name}.skip_connection", f"{spatial}.conv_shortcut", outputs, inputs, 1, 1)
    kernel = (config.temporal_kernel, 1, 1)
    yield from _half(f"{name}.time_stack", temporal, outputs, outputs, config.embed_dim, kernel)
    yield Row(f"{name}.time_mixer.mix_factor", f"{diffusers}.time_mixer.mix_factor", (1,))


def _half(name: str, diffusers: str, inputs: int, outputs: int, embed: int, kernel: tuple[int, ...]) -> Iterator[Row]:
    yield from layer(f"{name}.in_layers.0", f"{diffusers}.norm1", inputs)
    yield from layer(f"{name}.in_layers.2", f"{diffusers}.conv1", outputs, inputs, *kernel)
    yield from layer(f"{name}.emb_layers.1", f"{diffusers}.time_emb_proj", outputs, embed)
    yield from layer(f"{name}.out_layers.0", f"{diffusers}.norm2", outputs)
    yield from layer(f"{name}.out_layers.3", f"{diffusers}.conv2", outputs, outputs, *kernel)


def _transformer(config: UNetConfig, name: str, diffusers: str, width: int) -> Iterator[Row]:
    yield from layer(f"{name}.norm", f"{diffusers}.norm", width)
    yield from layer(f"{name}.proj_in", f"{diffusers}.proj_in", width, width)
    for depth in range(config.transformer_depth):
        spatial = f"transformer_blocks.{depth}"
        yield from _block(f"{name}.{spatial}", f"{diffusers}.{spatial}", width, config.context_dim)
        temporal = f"{name}.time_stack.{depth}", f"{diffusers}.temporal_transformer_blocks.{depth}"
        yield from layer(f"{temporal[0]}.norm_in", f"{temporal[1]}.norm_in", width)
        yield from _feed_forward(f"{temporal[0]}.ff_in", f"{temporal[1]}.ff_in", width)
        yield from _block(*temporal, width, config.context_dim)
    yield from _mlp(f"{name}.time_pos_embed", f"{diffusers}.time_pos_embed", width, 4 * width, width)
    yield Row(f"{name}.time_mixer.mix_factor", f"{diffusers}.time_mixer.mix_factor", (1,))
    yield from layer(f"{name}.proj_out", f"{diffusers}.proj_out", width, width)


def _block(name: str, diffusers: str, width: int, context: int) -> Iterator[Row]:
    """Self-attention, cross-attention and feed-forward: both layouts agree on every name in here."""
    for attention, source in (("attn1", width), ("attn2", context)):
        here, there = f"{name}.{attention}", f"{diffusers}.{attention}"
        yield from layer(f"{here}.to_q", f"{there}.to_q", width, width, bias=False)
        yield from layer(f"{here}.to_k", f"{there}.to_k", width, source, bias=False)
        yield from layer(f"{here}.to_v", f"{there}.to_v", width, source, bias=False)
        yield from layer(f"{here}.to_out.0", f"{there}.to_out.0", width, width)
    yield from _feed_forward(f"{name}.ff", f"{diffusers}.ff", width)
    for norm in ("norm1", "norm2", "norm3"):
        yield from layer(f"{name}.{norm}", f"{diffusers}.{norm}", width)


def _feed_forward(name: str, diffusers: str, width: int) -> Iterator[Row]:
    yield from layer(f"{name}.net.0.proj", f"{diffusers}.net.0.proj", 8 * width, width)
    yield from layer(f"{name}.net.2", f"{diffusers}.net.2", width, 4 * width)
