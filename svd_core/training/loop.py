"""The training loop: stages in order, averaging, saving; stops at the first loss that is not a number.

What is trained, on which clips and with which loss is left to the subclasses; what evaluation looks at to the `observe`
callback.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Generator, Tensor, nn

from ..config import ModelConfig
from ..errors import InputError, NumericsError, explain
from .checkpoints import Saved, check_fits, load, save
from .muon import Muon
from .networks import Average
from .pca import PatchBasis
from .pool import ClipPool, LatentClips
from .stages import Stage, place_of
from .team import ALONE, Member
from .worlds import TRAINING, WorldSize, draw_clips

_CLIP_NORM = 1.0
# Processes of a team draw from streams far from one another's.
_RANK_STRIDE = 2**44
_BASIS_NAMES = ("mean", "analysis", "synthesis")
# Clips the basis is fitted to, far from those of every pool.
_BASIS_FIRST, _BASIS_CLIPS = 64_000_000, 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happens after a step: position, the last loss, and seconds of computing spent so far."""

    stage: str
    step: int
    steps: int
    loss: float
    spent: float


Module = TypeVar("Module", bound=nn.Module)


@dataclass(slots=True, kw_only=True)
class Loop(ABC, Generic[Module]):
    """One run in one folder. Computing seconds are counted: of all processes on a CPU, of the wall on a GPU.

    `config` is the model whose latents are trained on. What is trained, on which pool, with which loss is the
    subclass's to say.
    """

    config: ModelConfig
    stages: tuple[Stage, ...]
    seed: int
    folder: Path
    device: torch.device
    save_seconds: float = 90.0
    member: Member = ALONE
    networks: Module = field(init=False)
    average: Average = field(init=False)
    basis: PatchBasis = field(init=False)
    stage: int = 0
    step: int = 0
    spent: float = 0.0
    _optimiser: torch.optim.Optimizer | None = None
    _pool: ClipPool | None = None

    def __post_init__(self) -> None:
        self.networks = self._fresh().to(self.device)
        self.average = Average({}, 0.0)

    @abstractmethod
    def begin(self) -> None:
        """Fit or recover the latent basis and stand before the first step."""

    @abstractmethod
    def _fresh(self) -> Module:
        """What is trained, as it starts from the seed."""

    @abstractmethod
    def _trained(self, stage: Stage) -> Iterable[tuple[str, nn.Parameter]]:
        """The parameters of `networks` a stage moves."""

    @abstractmethod
    def _make_pool(self, stage: Stage) -> ClipPool:
        """The clips of a stage."""

    @abstractmethod
    def _loss(self, stage: Stage, clips: LatentClips, generator: Generator) -> Tensor:
        """The loss of one batch; every random number comes from `generator`."""

    def _key(self) -> str:
        """What a saved run must be of, to be resumed by this one."""
        return self.config.to_json()

    def _wants_pool(self, stage: Stage) -> bool:
        """Whether the pool of the stage before does not serve this one."""
        return self._pool is None

    def resume(self) -> None:
        """Continue the run saved in the folder, to the bit.

        Raises:
            InputError: there is none, or it is another config's, seed's, recipe's or version's.
            FileFormatError: its state is damaged.
        """
        saved = load(self.folder, self._key(), self.seed)
        self.stage = place_of(saved.stage, self.stages)
        self.step, self.spent = saved.step, saved.spent
        moved = [name for name, _ in self._trained(self.stages[self.stage])]
        check_fits(self.folder, saved, weights=self.networks.state_dict(), average=moved, basis=_BASIS_NAMES)
        self.networks.load_state_dict(saved.weights)
        mean, analysis, synthesis = (saved.basis[name].to(self.device) for name in _BASIS_NAMES)
        self.basis = PatchBasis(mean, analysis, synthesis, self.config.autoencoder.downsampling)
        self._enter()
        self.average.values = {name: value.to(self.device) for name, value in saved.average.items()}
        self.average.count = saved.average_count
        if saved.optimiser is not None and self._optimiser is not None:
            try:
                self._optimiser.load_state_dict(saved.optimiser)
            except ValueError as error:
                raise InputError(
                    explain("a run of this recipe", f"another optimiser in {self.folder}", "Start a new folder.")
                ) from error

    def run(self, observe: Callable[[Any, Report], None]) -> None:
        """Train to the end of the last stage, calling `observe` after every step.

        Raises:
            NumericsError: a loss is not finite; the last saved state stays as it was.
        """
        saved_at = self.spent
        while self.stage < len(self.stages):
            stage = self.stages[self.stage]
            while self.step < stage.steps:
                started = self._now()
                loss = self._train_step(stage)
                self.step += 1
                self.spent += (self._now() - started) * self.member.count
                observe(self, Report(stage=stage.name, step=self.step, steps=stage.steps, loss=loss, spent=self.spent))
                if self.spent - saved_at >= self.save_seconds:
                    self.save()
                    saved_at = self.spent
            self._leave()
            self.save()

    def save(self) -> None:
        """Write the run's state."""
        if not self.member.leads:
            return
        finished = self.stage >= len(self.stages)
        self.folder.mkdir(parents=True, exist_ok=True)
        save(
            self.folder,
            Saved(
                config=self._key(),
                seed=self.seed,
                stage=self.stages[-1 if finished else self.stage].name,
                step=self.stages[-1].steps if finished else self.step,
                weights={name: value.cpu() for name, value in self.networks.state_dict().items()},
                average={name: value.cpu() for name, value in self.average.values.items()},
                average_count=self.average.count,
                optimiser=None if finished or self._optimiser is None else self._optimiser.state_dict(),
                basis={name: getattr(self.basis, name).cpu() for name in _BASIS_NAMES},
                spent=self.spent,
            ),
        )

    def seconds_per_step(self, stage: Stage, count: int) -> float:
        """Measure `count` steps of a stage on fresh networks that are thrown away afterwards."""
        self.stages, self.stage, self.step = (replace(stage, window=(1, 1)),), 0, 0
        self.begin()
        self._train_step(self.stages[0])
        started = self._now()
        for _ in range(count):
            self._train_step(self.stages[0])
        return (self._now() - started) / count

    @abstractmethod
    def averaged(self) -> Module:
        """A copy of the networks with the running average in place, in evaluation mode, for samples and export."""

    @property
    def _size(self) -> WorldSize:
        sampling = self.config.sampling
        return WorldSize(frames=sampling.frames, height=sampling.height, width=sampling.width)

    def _basis_images(self) -> Tensor:
        """Pictures `n 3 H W` of worlds no pool draws."""
        clips = draw_clips(self.seed, TRAINING, range(_BASIS_FIRST, _BASIS_FIRST + _BASIS_CLIPS), self._size)
        return clips.pixels[:, ::4].flatten(0, 1)

    def _enter(self) -> None:
        """Make optimiser, average and pool of the current stage."""
        if self.stage >= len(self.stages):
            return
        stage = self.stages[self.stage]
        parameters = dict(self._trained(stage))
        rate = stage.learning_rate
        self._optimiser = (
            Muon(parameters.items(), lr=rate)
            if stage.muon
            else torch.optim.AdamW(parameters.values(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01)
        )
        self.average = Average({name: value.detach().clone() for name, value in parameters.items()}, stage.average)
        if self._wants_pool(stage):
            self._pool = self._make_pool(stage)

    def _leave(self) -> None:
        """Let the average replace the trained weights, and stand before the next stage."""
        self.average.adopt(dict(self.networks.named_parameters()))
        self.stage, self.step = self.stage + 1, 0
        self._enter()

    def _train_step(self, stage: Stage) -> float:
        pool, optimiser = self._pool, self._optimiser
        assert pool is not None and optimiser is not None
        pool.advance(*stage.chunks(self.step))
        place = (self.seed * 64 + self.stage) * 4_194_304 + self.step
        generator = torch.Generator().manual_seed(
            (place + self.member.rank * _RANK_STRIDE) * 0x9E3779B97F4A7C15 % 2**63
        )
        clips = pool.batch(generator, stage.batch)
        for group in optimiser.param_groups:
            group["lr"] = stage.rate(self.step) * group.get("share", 1.0)
        with self._autocast():
            loss = self._loss(stage, clips, generator)
        self.networks.zero_grad(set_to_none=True)
        loss.backward()
        moved = [entry for group in optimiser.param_groups for entry in group["params"]]
        chosen = [parameter for parameter in moved if parameter.grad is not None]
        shared = self.member.mean(loss.detach(), [parameter.grad for parameter in chosen])
        value = self._finite("loss", shared, clips)
        self._finite("gradient", nn.utils.clip_grad_norm_(chosen, _CLIP_NORM), clips)
        optimiser.step()
        self.average.update(dict(self.networks.named_parameters()))
        return value

    def _finite(self, what: str, value: Tensor, clips: LatentClips) -> float:
        """The number, checked before a step can spoil the weights."""
        number = float(value)
        if not math.isfinite(number):
            place = f"stage {self.stages[self.stage].name} at step {self.step}, {self._batch(clips)}"
            remedy = (
                f"The last good state is kept in {self.folder}. Should --resume meet it again, fewer --steps end the "
                "stage, or lower its rate, sooner."
            )
            raise NumericsError(explain(f"a finite training {what}", f"{number} in {place}", remedy))
        return number

    def _batch(self, clips: LatentClips) -> str:
        """Which batch spoilt the last mean: this process's own, or those of others."""
        own = f"clips of chunks {clips.chunks}"
        told = [
            own if rank == self.member.rank else f"the batch of process {rank + 1} of {self.member.count}"
            for rank in self.member.spoilt()
        ]
        return " and ".join(told) or own

    def _autocast(self) -> AbstractContextManager[object]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()

    def _now(self) -> float:
        """Seconds of computing: this process's on a CPU, where others may share the core, the wall's on a GPU."""
        return time.monotonic() if self.device.type == "cuda" else time.process_time()
