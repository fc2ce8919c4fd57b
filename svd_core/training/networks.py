"""The three networks as one module, started the way the recipe wants them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..autoencoder.autoencoder import Autoencoder
from ..autoencoder.temporal import start_temporal_as_identity_
from ..config import ModelConfig
from ..errors import InputError, explain
from ..image_encoder.image_encoder import ImageEncoder
from ..operations import TORCH, Operations
from ..unet.unet import VideoUNet
from ..weights.build import load_model
from .autoencoder_losses import start_anchored_
from .motion_head import MotionHead

# Outputs of residual branches that begin silent: the network's last layer, the transformers', and all of time.
_SILENT = re.compile(
    r"^out\.2\.|\.proj_out\.|time_pos_embed\.2\."
    r"|time_stack\.(\d+\.)?(out_layers\.3|attn\d\.to_out\.0|ff\.net\.2|ff_in\.net\.2)\."
)


class Networks(nn.Module):
    """unet, autoencoder and image_encoder; parameter names start with theirs. The motion head serves training alone."""

    def __init__(self, config: ModelConfig, operations: Operations = TORCH) -> None:
        super().__init__()
        self.config = config
        self.unet = VideoUNet(config.unet, operations=operations)
        self.autoencoder = Autoencoder(config.autoencoder, operations=operations)
        self.image_encoder = ImageEncoder(config.image_encoder, operations=operations)
        self.motion_head = MotionHead(config.unet.channels[-1])


def start(config: ModelConfig, seed: int, operations: Operations = TORCH) -> Networks:
    """Fresh networks from a seed; the video model starts as the image model, the decoder as the image decoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Networks(config, operations)
        embeddings = networks.image_encoder.vision_model.embeddings
        for parameter in embeddings.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
    silence_(networks.unet)
    start_temporal_as_identity_(networks.autoencoder.decoder)
    start_anchored_(networks.autoencoder)
    return networks


def silence_(unet: VideoUNet) -> None:
    """Let every residual branch begin with nothing to say, and time with it."""
    for name, parameter in unet.named_parameters():
        if _SILENT.search(name):
            nn.init.zeros_(parameter)


def adopt(networks: Networks, path: Path) -> None:
    """Give `networks` the weights of a finished model file; sampling defaults may differ, the networks may not.

    Raises:
        InputError: the file is another model's.
        FileFormatError: the file is damaged.
    """
    model = load_model(path, dtype=torch.float32)
    wanted = networks.config
    if dataclasses.replace(model.config, sampling=wanted.sampling, name=wanted.name) != wanted:
        raise InputError(
            explain(
                f"a model file with the networks of {wanted.name}",
                f"{model.config.name} in {path}",
                "Give --from a file made by this recipe.",
            )
        )
    networks.unet.load_state_dict(model.unet.state_dict())
    networks.autoencoder.load_state_dict(model.autoencoder.state_dict())
    networks.image_encoder.load_state_dict(model.image_encoder.state_dict())


@dataclass(slots=True)
class Average:
    """Exponential moving average of named parameters, with a short memory at first."""

    values: dict[str, torch.Tensor]
    decay: float
    count: int = 0

    @torch.no_grad()
    def update(self, parameters: dict[str, nn.Parameter]) -> None:
        """Take one step towards the parameters."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, value in self.values.items():
            value.lerp_(parameters[name], 1 - decay)

    @torch.no_grad()
    def adopt(self, parameters: dict[str, nn.Parameter]) -> None:
        """Write the average into the parameters."""
        for name, value in self.values.items():
            parameters[name].copy_(value)
