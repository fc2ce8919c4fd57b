"""Decoding with whatever decoder the host's VAE holds, once more with less if memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from ..svd_core.autoencoder.autoencoder import Autoencoder
from ..svd_core.autoencoder.decoding import stream_clip
from ..svd_core.autoencoder.footprint import DecodePlan, decode_bytes
from ..svd_core.config import SVD, AutoencoderConfig
from ..svd_core.errors import InputError, explain
from ..svd_core.memory import with_leaner_retry
from .conditioning import pixels_per_cell
from .host import VAE, management, work_report


def decode_for_host(vae: VAE, latents: Tensor, frames: int, chunk: int, overlap: int, tile: int) -> tuple[Tensor, str]:
    """Latents `(b t) c h w`, unscaled -> frames `(b t) H W 3` in [0, 1], and a report. `tile` in pixels, 0 is none.

    Raises:
        InputError: a VAE that is not for these latents.
        NumericsError: NaN or infinity.
        OutOfMemoryError: memory ran out at the leaner plan too.
    """
    check_vae(vae, latents)
    notices: list[str] = []
    asked = DecodePlan(chunk=min(chunk, frames), tile=max(1, tile // pixels_per_cell(vae)) if tile else None)

    def run(plan: DecodePlan) -> Tensor:
        return _decode(vae, latents, frames, overlap, plan)

    images = with_leaner_retry("decoding", run, asked, asked.leaner(), notices.append)
    return images, "\n".join([_report(vae, latents, frames, asked), *notices])


def check_vae(vae: VAE, latents: Tensor) -> None:
    """Refuse what cannot decode these latents.

    Raises:
        InputError: no image VAE, or one for other latents.
    """
    network = getattr(vae, "first_stage_model", None)
    if network is None or getattr(vae, "latent_dim", 2) != 2:
        raise InputError(explain("`vae` of the SVD family", "another kind", "Use the VAE of the SVD checkpoint."))
    if vae.latent_channels != latents.shape[1]:
        found = f"{latents.shape[1]}"
        remedy = "Use the VAE that came with the model that was sampled."
        raise InputError(explain(f"latents of the VAE's {vae.latent_channels} channels", found, remedy))


def memory_needed(vae: VAE, latents: Tensor, plan: DecodePlan) -> int:
    """Bytes of activations."""
    height, width = latents.shape[-2:]
    size = torch.empty((), dtype=vae.vae_dtype).element_size()
    return decode_bytes(
        _config(vae), chunk=plan.chunk, tile=plan.tile, height=height, width=width, bytes_per_value=size
    )


@torch.no_grad()
def _decode(vae: VAE, latents: Tensor, frames: int, overlap: int, plan: DecodePlan) -> Tensor:
    management.load_models_gpu([vae.patcher], memory_required=memory_needed(vae, latents, plan))
    report = work_report()
    images: Tensor | None = None
    done = 0
    pieces = stream_clip(
        _decoder(vae),
        latents.to(vae.device),
        frames,
        chunk=plan.chunk,
        overlap=overlap,
        tile=plan.tile,
        progress=report,
    )
    for piece in pieces:
        # Newer hosts finish frames in place, and a decoder may still need what it handed out.
        pixels = rearrange(vae.process_output(piece.clone()), "t c h w -> t h w c")
        # Frames leave the device as they are finished: a long clip never lies there whole.
        if images is None:
            images = torch.empty(len(latents), *pixels.shape[1:], device=vae.output_device)
        images[done : done + len(pixels)] = pixels.to(vae.output_device)
        done += len(pixels)
    assert images is not None, "a clip without frames was let through"
    report(1, 1)
    return images


def _decoder(vae: VAE) -> Autoencoder | Callable[[Tensor, int], Tensor]:
    """Our network as it is, anybody else's as a function."""
    network = vae.first_stage_model
    if isinstance(network, Autoencoder):
        return network

    def decode(latents: Tensor, _: int) -> Tensor:
        return network.decode(latents.to(vae.vae_dtype)).float()

    return decode


def _report(vae: VAE, latents: Tensor, frames: int, plan: DecodePlan) -> str:
    tiles = "whole frames" if plan.tile is None else f"tiles of {plan.tile * pixels_per_cell(vae)} pixels"
    needed = memory_needed(vae, latents, plan) / 2**30
    lines = [f"{len(latents) // frames} x {frames} frames, {plan.chunk} at a time, {tiles}; about {needed:.2f} GiB"]
    if not any("time_" in name for name, _ in vae.first_stage_model.named_parameters()):
        lines.append("note: this VAE has no temporal decoder; each frame is decoded alone and may flicker")
    return "\n".join(lines)


def _config(vae: VAE) -> AutoencoderConfig:
    network = vae.first_stage_model
    return network.config if isinstance(network, Autoencoder) else SVD.autoencoder
