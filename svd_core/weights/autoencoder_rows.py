"""Every tensor of the autoencoder, encoder and decoder apart, written out from its config."""

from __future__ import annotations

from collections.abc import Iterator

from ..config import AutoencoderConfig
from .rows import Row, layer


def encoder_rows(config: AutoencoderConfig) -> tuple[Row, ...]:
    """Rows of `encoder.*` and, if the config has one, `quant_conv.*`."""
    moments = 2 * config.latent_channels
    rows = list(_encoder(config))
    if config.quant_conv:
        rows += layer("quant_conv", "quant_conv", moments, moments, 1, 1)
    return tuple(rows)


def decoder_rows(config: AutoencoderConfig) -> tuple[Row, ...]:
    """Rows of `decoder.*` and, if the config has one, `post_quant_conv.*`."""
    rows = list(_decoder(config))
    if config.post_quant_conv:
        rows += layer("post_quant_conv", "post_quant_conv", config.latent_channels, config.latent_channels, 1, 1)
    return tuple(rows)


def _encoder(config: AutoencoderConfig) -> Iterator[Row]:
    width, deepest = config.channels[0], config.channels[-1]
    yield from layer("encoder.conv_in", "encoder.conv_in", width, 3, 3, 3)
    for level, channels in enumerate(config.channels):
        name, diffusers = f"encoder.down.{level}", f"encoder.down_blocks.{level}"
        for position in range(config.res_blocks):
            yield from _res(f"{name}.block.{position}", f"{diffusers}.resnets.{position}", width, channels)
            width = channels
        if level < len(config.channels) - 1:
            sampler = f"{name}.downsample.conv", f"{diffusers}.downsamplers.0.conv"
            yield from layer(*sampler, width, width, 3, 3)
    yield from _res("encoder.mid.block_1", "encoder.mid_block.resnets.0", deepest, deepest)
    yield from _attention("encoder", deepest)
    yield from _res("encoder.mid.block_2", "encoder.mid_block.resnets.1", deepest, deepest)
    yield from layer("encoder.norm_out", "encoder.conv_norm_out", deepest)
    yield from layer("encoder.conv_out", "encoder.conv_out", 2 * config.latent_channels, deepest, 3, 3)


def _decoder(config: AutoencoderConfig) -> Iterator[Row]:
    block = _blended if config.temporal_decoder else _res
    width, last = config.channels[-1], len(config.channels) - 1
    yield from layer("decoder.conv_in", "decoder.conv_in", width, config.latent_channels, 3, 3)
    yield from block("decoder.mid.block_1", "decoder.mid_block.resnets.0", width, width)
    yield from _attention("decoder", width)
    yield from block("decoder.mid.block_2", "decoder.mid_block.resnets.1", width, width)
    for level in reversed(range(len(config.channels))):
        # The original counts levels by resolution, diffusers in the order they run.
        name, diffusers = f"decoder.up.{level}", f"decoder.up_blocks.{last - level}"
        for position in range(config.res_blocks + 1):
            yield from block(
                f"{name}.block.{position}", f"{diffusers}.resnets.{position}", width, config.channels[level]
            )
            width = config.channels[level]
        if level:
            yield from layer(f"{name}.upsample.conv", f"{diffusers}.upsamplers.0.conv", width, width, 3, 3)
    yield from layer("decoder.norm_out", "decoder.conv_norm_out", width)
    yield from layer("decoder.conv_out", "decoder.conv_out", 3, width, 3, 3)
    if config.temporal_decoder:
        yield from layer("decoder.conv_out.time_mix_conv", "decoder.time_conv_out", 3, 3, 3, 1, 1)


def _res(name: str, diffusers: str, inputs: int, outputs: int) -> Iterator[Row]:
    yield from layer(f"{name}.norm1", f"{diffusers}.norm1", inputs)
    yield from layer(f"{name}.conv1", f"{diffusers}.conv1", outputs, inputs, 3, 3)
    yield from layer(f"{name}.norm2", f"{diffusers}.norm2", outputs)
    yield from layer(f"{name}.conv2", f"{diffusers}.conv2", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from layer(f"{name}.nin_shortcut", f"{diffusers}.conv_shortcut", outputs, inputs, 1, 1)


def _blended(name: str, diffusers: str, inputs: int, outputs: int) -> Iterator[Row]:
    """A residual block with its temporal twin; here the twin takes no time embedding."""
    yield from _res(name, f"{diffusers}.spatial_res_block", inputs, outputs)
    here, there = f"{name}.time_stack", f"{diffusers}.temporal_res_block"
    yield from layer(f"{here}.in_layers.0", f"{there}.norm1", outputs)
    yield from layer(f"{here}.in_layers.2", f"{there}.conv1", outputs, outputs, 3, 1, 1)
    yield from layer(f"{here}.out_layers.0", f"{there}.norm2", outputs)
    yield from layer(f"{here}.out_layers.3", f"{there}.conv2", outputs, outputs, 3, 1, 1)
    yield Row(f"{name}.mix_factor", f"{diffusers}.time_mixer.mix_factor", (1,))


def _attention(side: str, width: int) -> Iterator[Row]:
    name, diffusers = f"{side}.mid.attn_1", f"{side}.mid_block.attentions.0"
    yield from layer(f"{name}.norm", f"{diffusers}.group_norm", width)
    for here, there in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
        yield from layer(f"{name}.{here}", f"{diffusers}.{there}", width, width, 1, 1, pointwise=True)
