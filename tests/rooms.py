"""The rooms' neighbours on a fake host: a VAE, an image encoder, a model, and a clip from them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from tests.fake_host import FakeHost

FRAMES = 3


def refusal(pack: tuple[FakeHost, Any]) -> type[Exception]:
    """The InputError of the pack itself: it was imported under another name."""
    return pack[1]("svd_core.errors").InputError


class FakeVae:
    """Pooling, eight-fold unless said otherwise, as a VAE: `t c h w` of four channels."""

    latent_channels, latent_dim = 4, 2
    vae_dtype, device, output_device, patcher = torch.float32, "cpu", "cpu", None

    def __init__(self, cell: int = 8) -> None:
        self.downscale_ratio = cell
        self.calls: list[tuple[int, ...]] = []
        self.fail_above = 10**9
        self.first_stage_model = SimpleNamespace(decode=self._decode, named_parameters=lambda: [("time_mix", None)])

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape[-1] == 3, f"{pixels.shape[-1]} channels"
        pooled = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), self.downscale_ratio)
        return torch.cat([pooled, pooled.mean(1, keepdim=True)], 1)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.calls.append(tuple(latents.shape))
        if latents.shape[0] * latents.shape[2] > self.fail_above:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        # Each frame is told from its neighbours, as by a temporal decoder.
        mixed = latents + 0.1 * torch.cat([latents[1:], latents[-1:]])
        cell = self.downscale_ratio
        return mixed[:, :3].repeat_interleave(cell, 2).repeat_interleave(cell, 3)

    def process_output(self, pixels: torch.Tensor) -> torch.Tensor:
        return ((pixels + 1) / 2).clamp(0, 1)


class FakeClipVision:
    """The mean colours for an embedding."""

    def encode_image(self, pixels: torch.Tensor, crop: bool) -> Any:
        assert not crop, "the whole picture counts"
        return SimpleNamespace(image_embeds=pixels.mean((1, 2)))


CHOICE = {
    "size": "auto",
    "width": 64,
    "height": 64,
    "framing": "crop",
    "frames": FRAMES,
    "fps": 8,
    "motion_bucket": 127,
    "augmentation": 0.1,
    "seed": 5,
}


def condition(pack: tuple[FakeHost, Any], image: torch.Tensor, **changes: Any) -> tuple[Any, ...]:
    """What the conditioning node hands on."""
    room = pack[1]("nodes.condition").SVDStudioImageConditioning
    return room.execute(clip_vision=FakeClipVision(), vae=FakeVae(), image=image, **CHOICE | changes).result


def pictures(count: int, channels: int = 3) -> torch.Tensor:
    """Random ones of 96 x 96."""
    return torch.rand(count, 96, 96, channels, generator=torch.Generator().manual_seed(1))


def svd_model(pack: tuple[FakeHost, Any], vector: int = 768) -> Any:
    """As much of a MODEL as the nodes look at."""
    base = pack[1]("nodes.sampling").SvdModelBase
    parts = {
        "model_sampling": SimpleNamespace(sigma_min=torch.tensor(0.02000001), sigma_max=torch.tensor(79.99999)),
        "latent_format": SimpleNamespace(latent_channels=4),
    }
    model = base()
    model.diffusion_model = None
    model.model_config = SimpleNamespace(unet_config={"context_dim": 3, "adm_in_channels": vector})
    return SimpleNamespace(model=model, get_model_object=parts.__getitem__)


def sampled(pack: tuple[FakeHost, Any], images: torch.Tensor, seed: int, **changes: Any) -> torch.Tensor:
    """Latents of the sampler node."""
    room = pack[1]("nodes.sample").SVDStudioSampler
    positive, negative, latent, *_ = condition(pack, images, seed=seed)
    choice = {"steps": 4, "cfg": 2.0, "solver": "euler_ancestral", "schedule": "karras"} | changes
    return room.execute(svd_model(pack), positive, negative, latent, seed, **choice).result[0]["samples"]
