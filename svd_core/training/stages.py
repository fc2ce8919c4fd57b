"""The stages of the recipe: what each trains, for how long, how fast.

The three diffusion stages are the family's own in small: images with time switched off, video with the spatial layers
at rest, then everything. The autoencoder comes before them, its temporal layers after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from ..errors import InputError, choose_from, explain
from .diffusion import NoiseLaw

StageName = Literal[
    "autoencoder", "images", "temporal", "short_video", "camera", "video", "temporal_decoder", "interpolator"
]
_TEMPORAL_MARKS = ("time_stack", "time_mixer", "time_pos_embed", "time_mix_conv", "mix_factor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One optimisation: `steps` of `batch` clips (images for the autoencoder), a warm-up, a plateau, a linear decay.

    `refresh` is how many steps a new chunk of clips serves; the window at first ends at chunk `window[0]`, and is at
    most `window[1]` long. `average` is the decay of the exponential average that replaces the weights at the end.
    `frames` is how many frames of a clip are used: any for images, the first ones for video; None takes all.
    `muon` moves the hidden matrices by Muon; without `subjects` nothing but the camera moves, and nothing is nearer.
    `haste` above 1 makes fast clips likelier (`worlds.draw_world`).
    `motion` weighs the lesson in seeing motion (`motion_head`) against the denoising.
    """

    name: StageName
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    decay_share: float
    average: float
    refresh: int
    window: tuple[int, int]
    frames: int | None = None
    muon: bool = False
    subjects: bool = True
    haste: float = 1.0
    motion: float = 0.0
    noise: NoiseLaw = field(default_factory=NoiseLaw)

    @property
    def clips(self) -> tuple[str, bool, float]:
        """What its pool holds: all stages of the UNet want the same, but for what moves."""
        linear = self.name in ("autoencoder", "temporal_decoder")
        return self.name if linear else "unet", self.subjects, self.haste

    def rate(self, step: int) -> float:
        """Learning rate of a step: up, level, and down to a twentieth over the last `decay_share`."""
        rising = min(1.0, (step + 1) / max(1, min(self.warmup, self.steps // 4)))
        left = (self.steps - step) / max(1.0, self.decay_share * self.steps)
        return self.learning_rate * rising * max(0.05, min(1.0, left))

    def chunks(self, step: int) -> tuple[int, int]:
        """First chunk and end of the pool's window at a step."""
        end = self.window[0] + step // self.refresh
        return max(0, end - self.window[1]), end


# Where it is decided which way things move: between half and ten times the signal's deviation.
_MOTION = NoiseLaw(deviation=1.2, dropout=0.06)

STAGES: tuple[Stage, ...] = (
    Stage(
        name="autoencoder",
        steps=4000,
        batch=16,
        learning_rate=2e-3,
        warmup=50,
        decay_share=0.7,
        average=0.995,
        refresh=100,
        window=(10, 20),
    ),
    Stage(
        name="images",
        steps=200,
        batch=8,
        learning_rate=1.2e-3,
        warmup=50,
        decay_share=0.0,
        average=0.98,
        refresh=20,
        window=(12, 100),
        frames=5,
    ),
    Stage(
        name="temporal",
        steps=50,
        batch=10,
        learning_rate=1.2e-3,
        warmup=20,
        decay_share=0.0,
        average=0.98,
        refresh=20,
        window=(22, 60),
        frames=8,
    ),
    Stage(
        name="short_video",
        steps=800,
        batch=10,
        learning_rate=1.2e-3,
        warmup=20,
        decay_share=0.0,
        average=0.99,
        refresh=10,
        window=(12, 60),
        frames=8,
    ),
    Stage(
        name="camera",
        steps=350,
        batch=6,
        learning_rate=2e-3,
        warmup=20,
        decay_share=0.0,
        average=0.99,
        refresh=20,
        window=(30, 30),
        muon=True,
        subjects=False,
        haste=3.0,
        motion=0.5,
        noise=_MOTION,
    ),
    Stage(
        name="video",
        steps=900,
        batch=6,
        learning_rate=2e-3,
        warmup=20,
        decay_share=0.7,
        average=0.99,
        refresh=20,
        window=(92, 40),
        muon=True,
        haste=2.0,
        motion=0.3,
        noise=_MOTION,
    ),
    Stage(
        name="temporal_decoder",
        steps=220,
        batch=2,
        learning_rate=1e-3,
        warmup=30,
        decay_share=0.5,
        average=0.99,
        refresh=12,
        window=(2, 12),
        frames=6,
    ),
)


def chosen(names: Sequence[str] | None) -> tuple[Stage, ...]:
    """The stages of these names in the recipe's order; None takes all.

    Raises:
        InputError: a name is not a stage's, or there is none.
    """
    if names is None:
        return STAGES
    valid = [stage.name for stage in STAGES]
    for name in names or [""]:
        if name not in valid:
            raise InputError(choose_from("--stages", name, valid))
    return tuple(stage for stage in STAGES if stage.name in names)


def place_of(name: str, stages: Sequence[Stage]) -> int:
    """Which of the stages a saved run is in.

    Raises:
        InputError: none of them.
    """
    names = [stage.name for stage in stages]
    if name not in names:
        raise InputError(explain(f"a run in one of the stages {', '.join(names)}", name, "Resume with --resume alone."))
    return names.index(name)


def scaled(total: int, stages: Sequence[Stage] | None = None) -> tuple[Stage, ...]:
    """Stages (all of the recipe by default) with `total` steps over all of them, in the same proportions.

    Raises:
        InputError: fewer steps than stages.
    """
    stages = STAGES if stages is None else stages
    if total < len(stages):
        raise InputError(explain(f"at least {len(stages)} training steps", str(total), "Ask for more steps."))
    share = total / sum(stage.steps for stage in stages)
    return tuple(replace(stage, steps=max(1, round(stage.steps * share))) for stage in stages)


def is_temporal(name: str) -> bool:
    """Whether a parameter of the UNet or the decoder belongs to what inflation added."""
    return any(mark in name for mark in _TEMPORAL_MARKS)


def trained(networks: nn.Module, stage: StageName) -> Iterable[tuple[str, nn.Parameter]]:
    """The parameters of `Networks` a stage hands to its optimiser.

    The others keep their gradients and are simply not stepped: freezing the spatial decoder by `requires_grad`
    crashed PyTorch 2.13 on CPUs.
    """
    for name, parameter in networks.named_parameters():
        part = name.split(".", 1)[0]
        temporal = is_temporal(name)
        moved = {
            "autoencoder": part == "autoencoder" and not temporal,
            "images": part in ("unet", "image_encoder") and not temporal,
            "temporal": part == "unet" and temporal,
            "short_video": part in ("unet", "image_encoder"),
            "camera": part in ("unet", "image_encoder", "motion_head"),
            "video": part in ("unet", "image_encoder", "motion_head"),
            "temporal_decoder": part == "autoencoder" and temporal,
            "interpolator": False,
        }[stage]
        if moved:
            yield name, parameter
