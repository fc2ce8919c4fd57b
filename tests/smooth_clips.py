"""Clips that lossy formats keep well, and the formats there are."""

from __future__ import annotations

import torch

SUFFIXES = (".mp4", ".webm", ".gif", ".webp", "")


def smooth_clip(frames: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    """Frames `T H W 3` of a soft picture that moves to the left."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(1, 3, 4, 6, generator=generator)
    still = torch.nn.functional.interpolate(base, size=(height, width + 3 * frames), mode="bicubic").clamp(0, 1)[0]
    return torch.stack([still[:, :, 3 * t : 3 * t + width].permute(1, 2, 0) for t in range(frames)])


def psnr(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """In dB, of pictures in [0, 1]."""
    return float(-10 * torch.log10((actual - expected).square().mean().clamp_min(1e-12)))
