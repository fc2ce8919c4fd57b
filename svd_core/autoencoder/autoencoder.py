"""The KL autoencoder as one module with the original parameter names. Decodes one chunk whole; pieces are
the business of `decoding.py`, the latent scale factor that of the caller."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import AutoencoderConfig
from ..errors import InputError, explain
from ..operations import TORCH, Layers, Operations
from .decoder import Decoder
from .encoder import Encoder
from .norms import Normalise, own_statistics

# Bounds of the log variance in the published autoencoders; exp(20) is already absurdly wide.
_LOGVAR_MIN, _LOGVAR_MAX = -30.0, 20.0


class Autoencoder(nn.Module):
    """Encoder to a diagonal Gaussian (Rombach et al. 2022), per-frame or temporal decoder (Blattmann et al. 2023)."""

    def __init__(
        self,
        config: AutoencoderConfig,
        *,
        operations: Operations = TORCH,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        layers = Layers(operations, device, dtype)
        latent = config.latent_channels
        self.config = config
        self.encoder = Encoder(layers, config)
        self.quant_conv = layers.conv2d(2 * latent, 2 * latent, 1) if config.quant_conv else None
        self.decoder = Decoder(layers, config)
        self.post_quant_conv = layers.conv2d(latent, latent, 1) if config.post_quant_conv else None

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior.

        pixels: `B 3 H W` in [-1, 1] -> two of `B c h w`, unscaled; the log variance lies in [-30, 20].
        """
        moments = self.encoder(pixels)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, logvar = moments.chunk(2, dim=1)
        return mean, logvar.clamp(_LOGVAR_MIN, _LOGVAR_MAX)

    def encode(self, pixels: Tensor) -> Tensor:
        """The posterior's mode: pixels `B 3 H W` in [-1, 1] -> `B c h w`, unscaled."""
        return self.moments(pixels)[0]

    def decode(
        self,
        latents: Tensor,
        num_frames: int | None = None,
        *,
        image_only: bool = False,
        normalise: Normalise = own_statistics,
    ) -> Tensor:
        """Latents `(b t) c h w` -> pixels `(b t) 3 H W`, nominally in [-1, 1] (not clamped).

        Without `num_frames`, or with `image_only`, every frame is a still picture of its own: no temporal
        layer takes part. The image decoder has none and ignores the frame count.

        Raises:
            InputError: the batch is no whole number of clips.
        """
        frames = None if image_only else num_frames
        if frames is not None and (frames < 1 or latents.shape[0] % frames):
            raise InputError(
                explain(
                    f"a whole number of clips of {frames} frames",
                    f"{latents.shape[0]} latents",
                    "Give `num_frames` as the length of one clip.",
                )
            )
        return self.decoder(self.unquantise(latents), frames, normalise)

    def unquantise(self, latents: Tensor) -> Tensor:
        """Latents `n c h w` as the decoder wants them: through the post-quant convolution where there is one."""
        return latents if self.post_quant_conv is None else self.post_quant_conv(latents)

    def forward(self, latents: Tensor, num_frames: int | None = None) -> Tensor:
        """The same as `decode`."""
        return self.decode(latents, num_frames)
