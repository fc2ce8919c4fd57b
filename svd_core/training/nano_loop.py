"""The embedded model's run: three networks stage by stage, with each stage's clips and loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from .autoencoder_losses import anchored_loss, temporal_loss
from .checkpoints import state_key
from .diffusion import TrainingClips, diffusion_loss
from .fast_layers import FAST_LAYERS
from .loop import Loop
from .motion_head import middle_of
from .networks import Networks, adopt, start
from .pca import fit_basis, recover_basis
from .photographs import Photographs
from .pool import ClipPool, LatentClips, to_pixels
from .stages import Stage, trained

_CHUNK = 32
# Chunks of the decoder's short clips, and of every further process of a team, far from the pool's first.
_DECODER_CHUNKS, _RANK_CHUNKS = 1_000_000, 10_000
_CROP, _SMALL_BATCH, _CROPPED_SHARE = 32, 6, 0.7


@dataclass(slots=True, kw_only=True)
class Trainer(Loop[Networks]):
    """The embedded model's own run: all three networks; `photographs` are backgrounds of some of the worlds."""

    photographs: Photographs | None = None

    def begin(self, source: Path | None = None) -> None:
        """Fit the latent basis and stand before the first step; `source` is a finished model to go on from."""
        config = self.config.autoencoder
        images = self._basis_images()
        if source is None:
            basis = fit_basis(images, config.downsampling, config.latent_channels)
        else:
            adopt(self.networks, source)
            basis = recover_basis(self.networks.autoencoder.encode, images.to(self.device), config.downsampling)
        self.basis = basis.to(self.device)
        self._enter()

    def averaged(self) -> Networks:
        """A copy of the networks with the running average in place, in evaluation mode, for samples and export."""
        copy = Networks(self.config).to(self.device)
        copy.load_state_dict(self.networks.state_dict() | self.average.values)
        return copy.eval().requires_grad_(False)

    def _fresh(self) -> Networks:
        return start(self.config, self.seed, FAST_LAYERS)

    def _key(self) -> str:
        return state_key(self.config, self.photographs)

    def _trained(self, stage: Stage) -> Iterable[tuple[str, nn.Parameter]]:
        return trained(self.networks, stage.name)

    def _wants_pool(self, stage: Stage) -> bool:
        return self._pool is None or self.stages[self.stage - 1].clips != stage.clips

    def _make_pool(self, stage: Stage) -> ClipPool:
        """The diffusion stages share one pool; the decoder wants short clips in pixels, the autoencoder any pixels."""
        decoder = stage.name == "temporal_decoder"
        linear = stage.name in ("autoencoder", "temporal_decoder")
        return ClipPool(
            self.seed,
            replace(self._size, frames=stage.frames) if decoder and stage.frames else self._size,
            self.basis,
            chunk=_CHUNK,
            device=self.device,
            encode=None if linear else self.networks.autoencoder.encode,
            keep_pixels=decoder,
            offset=(_DECODER_CHUNKS if decoder else 0) + self.member.rank * _RANK_CHUNKS,
            subjects=stage.subjects,
            haste=stage.haste,
            photographs=self.photographs.training if self.photographs else (),
        )

    def _loss(self, stage: Stage, clips: LatentClips, generator: Generator) -> Tensor:
        if stage.name == "autoencoder":
            cropped = self.step < _CROPPED_SHARE * stage.steps
            pixels = _images(clips, generator, cropped)
            return anchored_loss(
                self.networks.autoencoder, self.basis, pixels, generator, with_encoder=self.step % 2 == 0
            )
        if stage.name == "temporal_decoder":
            return temporal_loss(self.networks.autoencoder, self.basis, to_pixels(clips.stills), generator)
        unet, conditioned = self.networks.unet, self._conditioned(clips, generator, stage)
        law = stage.noise.for_cells(clips.latents[0, 0, 0].numel())
        if not stage.motion:
            return diffusion_loss(unet, conditioned, law, generator)
        with middle_of(unet) as features:
            denoising = diffusion_loss(unet, conditioned, law, generator)
        return denoising + stage.motion * self.networks.motion_head.loss(features[0], clips.origins[:, : stage.frames])

    def _conditioned(self, clips: LatentClips, generator: Generator, stage: Stage) -> TrainingClips:
        """Frames, image token and conditions; images are single frames in any order, seen one by one."""
        image_only, frames = stage.name == "images", stage.frames
        latents = clips.latents
        if image_only:
            latents = latents[:, torch.randperm(latents.shape[1], generator=generator)]
        return TrainingClips(
            latents=latents[:, :frames],
            condition=clips.condition,
            context=self.networks.image_encoder(to_pixels(clips.stills[:, 0]))[:, None],
            fps=clips.fps,
            motion_bucket=clips.motion_bucket,
            pixel_noise=self.basis.analysis.norm(dim=1),
            image_only=image_only,
        )


def _images(clips: LatentClips, generator: Generator, cropped: bool) -> Tensor:
    """One still of each clip in [-1, 1]: many small aligned crops at first, fewer whole pictures later."""
    count = len(clips.stills)
    picks = torch.randint(clips.stills.shape[1], (count,), generator=generator)
    pixels = to_pixels(clips.stills[torch.arange(count), picks])
    if not cropped:
        return pixels[:_SMALL_BATCH]
    rows = torch.randint(pixels.shape[-2] - _CROP + 1, (count,), generator=generator).tolist()
    columns = torch.randint(pixels.shape[-1] - _CROP + 1, (count,), generator=generator).tolist()
    crops = [
        picture[:, row : row + _CROP, column : column + _CROP]
        for picture, row, column in zip(pixels, rows, columns, strict=True)
    ]
    return torch.stack(crops)
