"""`train_refiner`: the small network on top of the flow engine, from nothing or from where it stopped.

A step's randomness is a generator seeded by (seed, step), and its pairs follow from the step, so the state needs
weights, averages, optimiser and position only.
"""

from __future__ import annotations

import json
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from ..errors import FileFormatError, InputError, NumericsError, explain
from ..interpolation.refiner import METADATA, Refiner, change
from ..video_io.atomic import atomic_file
from ..weights.writer import Entry, write_tensors
from .checkpoints import save_fields
from .networks import Average
from .refiner_pool import Crops, RefinerPool
from .refiner_scores import Score, Verdict, score_refiner
from .run_log import append_line
from .run_options import REFINER_STATE_NAME, RunOptions

FILE_NAME, STATE_NAME = "refiner.safetensors", REFINER_STATE_NAME
_STEPS, _BATCH = 1500, 16
REFINER_ON_MODEL = 0.2
"""Steps and minutes of its training for one of the embedded model's."""
_RATE, _WARMUP, _LAST_RATE = 1.5e-3, 100, 0.02
_AVERAGE, _CLIP_NORM = 0.995, 1.0
# Squared errors below this, 60 dB, are as good as none.
_FLOOR = 1e-6
_PROBE_STEPS = 4
_LOG_EVERY = 20
_PRIME = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinerOptions(RunOptions):
    """`scored_pairs` unseen pairs of each kind are scored at the end, and `judged_scenes` of every exact class decide
    whether it may ship."""

    scored_pairs: int = 24
    judged_scenes: int = 6


@dataclass(frozen=True, slots=True)
class RefinerResult:
    """Where the refiner went, what it gains, in dB by kind of scene, and whether it may ship."""

    file: Path
    scores: dict[str, Score]
    verdict: Verdict
    seconds: float


Progress = Callable[[int, int, float], None]
"""Told (step, steps, loss) after every step."""


def train_refiner(options: RefinerOptions, progress: Progress | None = None) -> RefinerResult:
    """Train, score and write `out/refiner.safetensors`. On a CPU the result follows from seed and steps to the bit,
    also through `resume`.

    Raises:
        InputError: options contradict each other, the folder cannot be written, holds another run, or none to resume.
        NumericsError: the loss stopped being a number; the last good state is kept.
        OutputError: the disk is full or failed; the last state that was saved is kept.
    """
    options.check(STATE_NAME)
    options.set_threads()
    trainer = RefinerTrainer(options)
    trainer.run(progress)
    network = trainer.averaged()
    scores = score_refiner(network, options.seed, options.scored_pairs, options.judged_scenes)
    verdict = Verdict.of(scores)
    told = {kind: score.rounded() for kind, score in scores.items()}
    recipe = {"steps": trainer.steps, "seed": options.seed, "computing_seconds": round(trainer.spent), "data": _DATA}
    facts = {"widths": list(network.widths), "recipe": recipe, "scores": told, "verdict": verdict.to_json()}
    target = options.out / FILE_NAME
    entries = [Entry.of(*named) for named in network.state_dict().items()]
    write_tensors(target, entries, {METADATA: json.dumps(facts)})
    with atomic_file(options.out / "scores.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return RefinerResult(target, scores, verdict, trainer.spent)


_DATA = "pairs drawn by svd_core.training.refiner_pool; no photographs, no video, no third-party material"


class RefinerTrainer:
    """One run in one folder."""

    def __init__(self, options: RefinerOptions) -> None:
        self.folder, self.seed = options.out, options.seed
        self.device = torch.device(options.device)
        self.step, self.spent = 0, 0.0
        self.steps = options.steps or _STEPS
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.network = Refiner().to(self.device)
        # The layout oneDNN computes in: nothing is reordered between layers.
        convert_conv2d_weight_memory_format(self.network, torch.channels_last)
        values = dict(self.network.named_parameters())
        self._optimiser = torch.optim.AdamW(values.values(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-3)
        self._average = Average({name: value.detach().clone() for name, value in values.items()}, _AVERAGE)
        if options.resume:
            self._load(options.steps)
        self._pool = RefinerPool(self.seed, max(0, self.step - 1))
        if options.minutes is not None:
            self.steps = max(self.step + 1, self._steps_in(options, options.minutes * 60 - self.spent))

    def run(self, progress: Progress | None, *, save_seconds: float = 60.0) -> None:
        """Train to the end.

        Raises:
            NumericsError: a loss is not finite; the last saved state stays as it was.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        saved_at, total = self.spent, 0.0
        while self.step < self.steps:
            started = time.process_time()
            loss = self._train_step()
            self.step += 1
            self.spent += time.process_time() - started
            total += loss
            if self.step % _LOG_EVERY == 0:
                line = {"step": self.step, "loss": total / _LOG_EVERY, "spent": round(self.spent, 1)}
                append_line(self.folder, line)
                total = 0.0
            if progress is not None:
                progress(self.step, self.steps, loss)
            if self.spent - saved_at >= save_seconds:
                self.save()
                saved_at = self.spent
        self.save()

    def save(self) -> None:
        """Write the run's state; an interrupted write leaves the previous one.

        Raises:
            OutputError: the disk is full or failed.
        """
        fields = {
            "seed": self.seed,
            "step": self.step,
            "steps": self.steps,
            "spent": self.spent,
            "values": {name: value.cpu() for name, value in self.network.state_dict().items()},
            "average": {name: value.cpu() for name, value in self._average.values.items()},
            "average_count": self._average.count,
            "optimiser": self._optimiser.state_dict(),
        }
        save_fields(self.folder / STATE_NAME, fields)

    def averaged(self) -> Refiner:
        """The network with its averaged weights, on the CPU, for scoring and writing."""
        network = Refiner(self.network.widths)
        network.load_state_dict({name: value.cpu() for name, value in self._average.values.items()})
        return network.eval().requires_grad_(False)

    def _load(self, steps: int | None) -> None:
        path = self.folder / STATE_NAME
        try:
            saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            if saved["seed"] != self.seed:
                found = f"seed {saved['seed']} in {path}"
                raise InputError(explain(f"a run of seed {self.seed}", found, "Give that seed."))
            self.network.load_state_dict(saved["values"])
            self._average.values = {name: value.to(self.device) for name, value in saved["average"].items()}
            self._average.count = saved["average_count"]
            self._optimiser.load_state_dict(saved["optimiser"])
            self.step, self.spent, self.steps = saved["step"], saved["spent"], steps or saved["steps"]
        except (RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
            told = explain("a training state", f"{path}: {error}", "Delete it and start again.")
            raise FileFormatError(told) from error

    def _train_step(self) -> float:
        self._pool.advance(self.step)
        generator = torch.Generator().manual_seed((self.seed * 4_194_304 + self.step) * _PRIME % 2**63)
        crops = self._pool.crops(generator, _BATCH)
        loss = self._loss(crops)
        number = float(loss.detach())
        self._optimiser.param_groups[0]["lr"] = self._rate()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP_NORM))
        for what, value in (("loss", number), ("gradient", norm)):
            if not math.isfinite(value):
                place = f"{value} at step {self.step}, pairs {crops.pairs}"
                remedy = f"The last good state is kept in {self.folder}; start in another folder with another --seed."
                raise NumericsError(explain(f"a finite training {what}", place, remedy))
        self._optimiser.step()
        self._average.update(dict(self.network.named_parameters()))
        return number

    def _loss(self, crops: Crops) -> Tensor:
        """What the change does to the squared error: of each crop in proportion to its own, and to its frame's.

        The first is what a decibel measures wherever it is looked for, the second what it measures of whole frames.
        """
        planes = crops.planes.to(self.device, memory_format=torch.channels_last)
        missing, frame = crops.missing.to(self.device), crops.frame_error.to(self.device)
        before = missing.square().mean(dim=(1, 2, 3)) + _FLOOR
        after = (missing - change(planes, self.network(planes))).square().mean(dim=(1, 2, 3)) + _FLOOR
        return ((after / before).log() + (after - before) / (frame + _FLOOR)).mean() / 2

    def _rate(self) -> float:
        rising = min(1.0, (self.step + 1) / min(_WARMUP, max(1, self.steps // 4)))
        falling = 0.5 + 0.5 * math.cos(math.pi * self.step / self.steps)
        return _RATE * rising * max(_LAST_RATE, falling)

    def _steps_in(self, options: RefinerOptions, seconds: float) -> int:
        """The step at which so much more computing is spent, by a measurement on a network that is thrown away."""
        probe = RefinerTrainer(
            RefinerOptions(out=options.out, steps=_PROBE_STEPS + 1, device=options.device, seed=options.seed)
        )
        probe._train_step()
        started = time.process_time()
        for probe.step in range(1, _PROBE_STEPS + 1):
            probe._train_step()
        return self.step + round(max(0.0, seconds) * _PROBE_STEPS / (time.process_time() - started))
