"""Our image encoder as the host's CLIP_VISION, with SVD's own preprocessing and without loss of precision."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from ..svd_core.image_encoder.image_encoder import ImageEncoder
from .host import ClipVisionOutput, ModelPatcher, management


class HostClipVision:
    """What the host's nodes ask of a CLIP_VISION object; residency is the host patcher's business."""

    def __init__(self, encoder: ImageEncoder) -> None:
        self.model = encoder
        self.image_size = encoder.config.image_size
        self.dtype = next(encoder.parameters()).dtype
        self.load_device = management.text_encoder_device()
        self.patcher = ModelPatcher(
            encoder, load_device=self.load_device, offload_device=management.text_encoder_offload_device()
        )

    def encode_image(self, image: Tensor, crop: bool = True) -> ClipVisionOutput:
        """Pictures `B H W 3` (or 4, alpha ignored) in [0, 1] -> an output whose `image_embeds` are `B d`.

        `crop` is there for the host: SVD was trained on the whole picture squeezed to a square, so nothing is cut.
        Only the projected class token is computed; the other fields of the host's output are None.
        """
        management.load_model_gpu(self.patcher)
        pixels = rearrange(image[..., :3], "b h w c -> b c h w") * 2 - 1
        with torch.no_grad():
            rows = [self.model(row.to(self.load_device), dtype=torch.float32) for row in pixels.split(1)]
        output = ClipVisionOutput()
        output["image_embeds"] = torch.cat(rows).to(management.intermediate_device())
        for field in ("last_hidden_state", "penultimate_hidden_states", "mm_projected"):
            output[field] = None
        return output

    def get_sd(self) -> dict[str, Tensor]:
        """Weights for the host's saving nodes."""
        return self.model.state_dict()
