"""The layers of a CLIP ViT (Dosovitskiy et al. 2021; Radford et al. 2021) under the transformers library's names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .. import inplace
from ..attention import attention, merge_heads, split_heads
from ..config import ImageEncoderConfig
from ..operations import Layers

_RGB = 3


class PositionEmbedding(nn.Module):
    """One learned vector a token."""

    def __init__(self, layers: Layers, tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(tokens, width, device=layers.device, dtype=layers.dtype))

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens `B n c`, overwritten in inference, plus their positions."""
        return inplace.add(tokens, self.weight.to(tokens))


class Embeddings(nn.Module):
    """Patches as tokens behind the class token, plus positions."""

    def __init__(self, layers: Layers, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(config.width, device=layers.device, dtype=layers.dtype))
        self.patch_embedding = layers.operations.Conv2d(
            _RGB,
            config.width,
            config.patch_size,
            stride=config.patch_size,
            bias=False,
            device=layers.device,
            dtype=layers.dtype,
        )
        self.position_embedding = PositionEmbedding(layers, config.tokens, config.width)

    def forward(self, images: Tensor) -> Tensor:
        """images `B 3 S S` -> tokens `B n c`, the class token first."""
        patches = rearrange(self.patch_embedding(images), "b c h w -> b (h w) c")
        first = self.class_embedding.to(patches).expand(patches.shape[0], 1, -1)
        return self.position_embedding(torch.cat([first, patches], dim=1))


class SelfAttention(nn.Module):
    """Multi-head attention with separate projections, all with bias."""

    def __init__(self, layers: Layers, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.head_channels = config.width // config.heads
        self.k_proj = layers.linear(config.width, config.width)
        self.v_proj = layers.linear(config.width, config.width)
        self.q_proj = layers.linear(config.width, config.width)
        self.out_proj = layers.linear(config.width, config.width)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """queries `B m c` attend to tokens `B n c` -> `B m c`."""
        q = split_heads(self.q_proj(queries), self.head_channels)
        k = split_heads(self.k_proj(tokens), self.head_channels)
        v = split_heads(self.v_proj(tokens), self.head_channels)
        return self.out_proj(merge_heads(attention(q, k, v)))


class FeedForward(nn.Module):
    """Two linear maps around the exact (erf) GELU."""

    def __init__(self, layers: Layers, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.fc1 = layers.linear(config.width, config.mlp_width)
        self.fc2 = layers.linear(config.mlp_width, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """`B n c` -> `B n c`."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, layers: Layers, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(layers, config)
        self.layer_norm1 = layers.layer_norm(config.width)
        self.mlp = FeedForward(layers, config)
        self.layer_norm2 = layers.layer_norm(config.width)

    def forward(self, tokens: Tensor, wanted: int | None = None) -> Tensor:
        """`B n c` -> `B n c`, or only the first `wanted` tokens of it."""
        normed = self.layer_norm1(tokens)
        hidden = inplace.add(self.self_attn(normed[:, :wanted], normed), tokens[:, :wanted])
        return inplace.add(self.mlp(self.layer_norm2(hidden)), hidden)


class Encoder(nn.Module):
    """The stack of layers; its last one computes the class token alone, since nothing reads the others."""

    def __init__(self, layers: Layers, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(layers, config) for _ in range(config.layers))

    def forward(self, tokens: Tensor) -> Tensor:
        """`B n c` -> the class token `B 1 c`."""
        for layer in self.layers[:-1]:
            tokens = layer(tokens)
        return self.layers[-1](tokens, wanted=1)


class VisionModel(nn.Module):
    """Embeddings, encoder and the norms around it."""

    def __init__(self, layers: Layers, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(layers, config)
        # The missing letter is part of the published name.
        self.pre_layrnorm = layers.layer_norm(config.width)
        self.encoder = Encoder(layers, config)
        self.post_layernorm = layers.layer_norm(config.width)

    def forward(self, images: Tensor) -> Tensor:
        """images `B 3 S S` in CLIP's units -> pooled class token `B c`."""
        tokens = self.encoder(self.pre_layrnorm(self.embeddings(images)))
        return self.post_layernorm(tokens[:, 0])
