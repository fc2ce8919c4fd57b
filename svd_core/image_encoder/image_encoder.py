"""The image encoder as one call: preprocessing, vision tower, projection. No L2 norm: SVD wants the raw embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import ImageEncoderConfig
from ..errors import InputError, explain
from ..operations import TORCH, Layers, Operations
from .preprocessing import preprocess
from .vision_tower import VisionModel


class ImageEncoder(nn.Module):
    """CLIP's vision tower; its projected class token is what the UNet's cross-attention sees of the picture."""

    def __init__(
        self,
        config: ImageEncoderConfig,
        *,
        operations: Operations = TORCH,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        layers = Layers(operations, device, dtype)
        self.config = config
        self.vision_model = VisionModel(layers, config)
        self.visual_projection = layers.linear(config.width, config.projection, bias=False)

    def forward(self, pixels: Tensor, *, dtype: torch.dtype | None = None) -> Tensor:
        """Pixels `B 3 H W` of any size in [-1, 1] -> embeddings `B d`.

        Preprocessing runs in float32 whatever `dtype`, the tower in `dtype` (default: that of its parameters).

        Raises:
            InputError: pixels are not a batch of RGB pictures.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise InputError(
                explain("pictures as B 3 H W", f"shape {tuple(pixels.shape)}", "Put the RGB channels second.")
            )
        images = preprocess(pixels, self.config.image_size, self.config.preprocessing)
        return self.embed(images.to(dtype or self.vision_model.embeddings.class_embedding.dtype))

    def embed(self, images: Tensor) -> Tensor:
        """Already preprocessed images `B 3 S S` in CLIP's units -> embeddings `B d`."""
        return self.visual_projection(self.vision_model(images))
