"""Our autoencoder as the host's VAE: the same call decodes the same pixels, whatever memory is free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..svd_core.autoencoder.autoencoder import Autoencoder
from ..svd_core.autoencoder.decoding import stream_clip
from ..svd_core.autoencoder.footprint import decode_bytes
from ..svd_core.memory import with_leaner_retry
from ..svd_core.weights.encoders import fold_quant_conv
from .host import VAE, ModelPatcher, management, quietly

# Latent cells along a tile where the whole frame does not fit.
_TILE = 32
# What `stream_clip` feeds together unless told otherwise.
_CHUNK = 8


class HostVAE(VAE):
    """The host's VAE with our network in it; encoding is inherited, decoding treats the batch as one clip."""

    def __init__(self, autoencoder: Autoencoder, dtype: torch.dtype | None = None) -> None:
        with quietly():
            # Without weights the parent sets its defaults, warns, and leaves the network to us.
            super().__init__(sd={})
        config = autoencoder.config
        self.device = management.vae_device()
        self.vae_dtype = dtype or management.vae_dtype(self.device, [torch.bfloat16, torch.float32])
        self.first_stage_model = stored_as(autoencoder, self.vae_dtype)
        self.latent_channels = config.latent_channels
        self.downscale_ratio = self.upscale_ratio = config.downsampling
        self.output_device = management.intermediate_device()
        self.patcher = ModelPatcher(
            self.first_stage_model, load_device=self.device, offload_device=management.vae_offload_device()
        )

    def decode(self, samples_in: Tensor, vae_options: dict[str, Any] | None = None) -> Tensor:
        """Latents `t c h w` of one clip, unscaled -> pixels `t H W 3` float32 in [0, 1]."""
        return self._decode(samples_in, tile=None, tile_overlap=None)

    def decode_tiled(
        self,
        samples: Tensor,
        tile_x: int | None = None,
        tile_y: int | None = None,
        overlap: int | None = None,
        tile_t: int | None = None,
        overlap_t: int | None = None,
    ) -> Tensor:
        """The same in spatial tiles that keep time whole; sizes in latent cells.

        The host's own tiling would show the temporal decoder one frame at a time.
        """
        return self._decode(samples, tile=max(tile_x or _TILE, tile_y or _TILE), tile_overlap=overlap)

    def _decode(self, latents: Tensor, *, tile: int | None, tile_overlap: int | None) -> Tensor:
        def run(tile: int) -> Tensor:
            self._make_room(latents.shape, tile)
            tiling = {"tile": tile, "tile_overlap": tile_overlap} if tile else {}
            pieces = stream_clip(self.first_stage_model, latents.to(self.device), len(latents), chunk=_CHUNK, **tiling)
            # Newer hosts finish frames in place, and a decoder may still need what it handed out.
            frames = [self.process_output(piece.clone()).to(self.output_device) for piece in pieces]
            return rearrange(torch.cat(frames), "t c h w -> t h w c")

        return with_leaner_retry("decoding", run, tile or 0, None if tile else _TILE)

    def _make_room(self, shape: Sequence[int], tile: int) -> None:
        _, _, height, width = shape
        needed = decode_bytes(
            self.first_stage_model.config,
            chunk=_CHUNK,
            tile=tile or None,
            height=height,
            width=width,
            bytes_per_value=self.vae_dtype.itemsize,
        )
        management.load_models_gpu([self.patcher], memory_required=needed)

    def get_sd(self) -> dict[str, Tensor]:
        """Weights for the host's saving nodes, which know no `quant_conv`: it is folded into the encoder."""
        weights = self.first_stage_model.state_dict()
        if "quant_conv.weight" in weights:
            last = ("encoder.conv_out.weight", "encoder.conv_out.bias")
            quant = ("quant_conv.weight", "quant_conv.bias")
            dtype = weights[last[0]].dtype
            pairs = [(weights[weight], weights[bias]) for weight, bias in (last, quant)]
            folded = fold_quant_conv(pairs[0], pairs[1])
            weights = {name: tensor for name, tensor in weights.items() if name not in quant}
            weights |= dict(zip(last, (part.to(dtype) for part in folded), strict=True))
        return weights


def stored_as(autoencoder: Autoencoder, dtype: torch.dtype) -> Autoencoder:
    """In the host's dtype, except for the blend factors: a rounded logit is worse than a rounded share."""
    for name, parameter in autoencoder.named_parameters():
        if not name.endswith("mix_factor"):
            parameter.data = parameter.data.to(dtype)
    return autoencoder
