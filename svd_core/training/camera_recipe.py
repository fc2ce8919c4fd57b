"""How long, how fast and at which noise a camera LoRA is trained; figures and their reasons stand in README.md."""

from __future__ import annotations

import math

from ..config import ModelConfig
from .camera_clips import ClipSize
from .diffusion import NoiseLaw

SMALL = 128
"""Models whose first level is narrower than this are trained in batches, without recomputation."""
STEPS = {True: 220, False: 600}
"""Optimiser steps by whether the model is small; a camera that stands still is learnt in half as many."""
CLIPS_DRAWN = 120
"""Clips photographs and worlds are made into; more variants teach a small LoRA nothing new."""
TRIALS = {True: 24, False: 6}
"""Pictures a LoRA is tried on: calibrated on 6, one of two moves was a quarter off on others."""
BATCH = {True: 6, False: 1}
RANK = {True: 6, False: 16}
BUCKETS = (20.0, 180.0)
"""Motion buckets a clip is shown with, whatever its own motion."""

# The published models were finetuned around 0.7 at this area; more pixels need more noise to hide the same structure.
_MEAN, _DEVIATION, _AREA = 0.7, 1.6, 512 * 320
# Which way a clip moves is decided at high noise.
_CAMERA_SHIFT = 0.7
_SMALL_LAW = NoiseLaw(mean=1.5, deviation=1.2)


def is_small(config: ModelConfig) -> bool:
    """Whether the model is of the embedded one's size."""
    return config.unet.channels[0] < SMALL


def steps_for(config: ModelConfig, *, held: bool) -> int:
    """Optimiser steps of a move, or of a held camera."""
    return STEPS[is_small(config)] // (2 if held else 1)


def law_for(config: ModelConfig, size: ClipSize) -> NoiseLaw:
    """Training noise for the clip's resolution: its mean rises with log area / 2 (Hoogeboom et al. 2023)."""
    if is_small(config):
        return _SMALL_LAW.for_cells(size.height * size.width // config.autoencoder.downsampling**2)
    shift = 0.5 * math.log(size.height * size.width / _AREA)
    return NoiseLaw(mean=_MEAN + shift + _CAMERA_SHIFT, deviation=_DEVIATION)
