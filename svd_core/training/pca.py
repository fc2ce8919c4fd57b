"""The linear anchor of the latent space: principal components of image patches.

An autoencoder trained from nothing spends its first minutes finding what the leading components of 8 x 8 patches
already are. Ours is told: its encoder regresses them and its decoder inverts them, so that everything downstream can
use the components before a single autoencoder step. Components are divided by the square root of their deviation,
half-way to whitening: colour stays larger than detail, as it is worth more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

_WHITENING = 0.5
_RIDGE = 1e-3
_RECOVERY_BATCH = 32


@dataclass(frozen=True, slots=True)
class PatchBasis:
    """mean `d`, analysis `c d` (patch to latent), synthesis `d c` (latent to patch); d = 3 * patch * patch."""

    mean: Tensor
    analysis: Tensor
    synthesis: Tensor
    patch: int

    def to(self, device: torch.device | str) -> PatchBasis:
        """The same on a device."""
        return PatchBasis(self.mean.to(device), self.analysis.to(device), self.synthesis.to(device), self.patch)

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels `n 3 H W` in [-1, 1] -> latents `n c h w` of overall unit variance."""
        patches = rearrange(pixels, "n c (h p) (w q) -> n h w (c p q)", p=self.patch, q=self.patch)
        return ((patches - self.mean) @ self.analysis.T).permute(0, 3, 1, 2).contiguous()

    def decode(self, latents: Tensor) -> Tensor:
        """The least-squares inverse: latents `n c h w` -> pixels `n 3 H W`."""
        patches = latents.permute(0, 2, 3, 1) @ self.synthesis.T + self.mean
        return rearrange(patches, "n h w (c p q) -> n c (h p) (w q)", c=3, p=self.patch)


def fit_basis(pixels: Tensor, patch: int, channels: int) -> PatchBasis:
    """The leading components of images `n 3 H W` in [-1, 1]; signs are fixed so that the result is unique."""
    patches = rearrange(pixels, "n c (h p) (w q) -> (n h w) (c p q)", p=patch, q=patch).double()
    mean = patches.mean(0)
    centred = patches - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    values, vectors = values.flip(0)[:channels], vectors.flip(1)[:, :channels]
    strongest = vectors.abs().argmax(0)
    vectors = vectors * torch.sign(vectors[strongest, torch.arange(channels)])
    scale = values.sqrt() ** _WHITENING
    scale = scale * ((values / scale.square()).mean()).sqrt()
    return PatchBasis(mean.float(), (vectors / scale).T.float().contiguous(), (vectors * scale).float(), patch)


@torch.no_grad()
def recover_basis(encode: Callable[[Tensor], Tensor], pixels: Tensor, patch: int) -> PatchBasis:
    """The anchor a trained encoder once regressed, from its latents of images `n 3 H W` in [-1, 1].

    Components of nearly equal strength turn into each other when a basis is fitted to other worlds; a model that is
    trained on needs the one it knows.
    """
    latents = torch.cat([encode(part) for part in pixels.split(_RECOVERY_BATCH)])
    patches = rearrange(pixels, "n c (h p) (w q) -> (n h w) (c p q)", p=patch, q=patch).double()
    targets = latents.permute(0, 2, 3, 1).flatten(0, 2).double()
    mean, shift = patches.mean(0), targets.mean(0)
    centred = patches - mean
    damping = _RIDGE * len(centred) * torch.eye(centred.shape[1], dtype=torch.double, device=pixels.device)
    analysis = torch.linalg.solve(centred.T @ centred + damping, centred.T @ (targets - shift)).T
    seen = centred @ analysis.T
    synthesis = torch.linalg.solve(seen.T @ seen, seen.T @ centred).T
    zero = mean - torch.linalg.pinv(analysis) @ shift
    return PatchBasis(zero.float(), analysis.float().contiguous(), synthesis.float().contiguous(), patch)
