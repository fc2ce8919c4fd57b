"""`train_interpolator`: from nothing, or from where it stopped, to the finished file and its scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ..config import NANO_INTERPOLATOR, InterpolatorConfig, InterpolatorForm
from ..errors import InputError, choose_from
from ..video_io.atomic import atomic_file
from ..weights.build import EMBEDDED, SvdModel, load_model
from ..weights.fingerprint import latent_fingerprint
from ..weights.video_engine import VideoBetween
from ..weights.video_interpolators import save_interpolator
from .checkpoints import FILE_NAME
from .interpolator_gate import fit_gate
from .interpolator_loop import RECIPE, InterpolatorTrainer
from .interpolator_trials import Row, compare
from .loop import Report
from .run_log import MeanLog
from .run_options import PLAN_NAME, RunOptions, planned_steps
from .stages import Stage

INTERPOLATOR_NAME = "interpolator.safetensors"
FORMS: tuple[InterpolatorForm, ...] = ("residual", "masked")
INTERPOLATOR_ON_MODEL = 0.4
"""Steps and minutes of its training for one of the embedded model's."""
SCORE_SEED, GATE_SEED = 7_777, 8_888
_PROBE_STEPS = 3
_SCORED_CLIPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolatorOptions(RunOptions):
    """`model` is the base whose latents it learns. `form` "residual" is a narrower network from nothing; "masked"
    starts from the base's UNet. `scored_clips` held-out clips of every class fit the gate, and as many others are
    scored at the end. `config`, `stage` and `save_seconds` are for tests.
    """

    form: InterpolatorForm = "residual"
    model: str | Path = EMBEDDED
    scored_clips: int = _SCORED_CLIPS
    config: InterpolatorConfig | None = None
    stage: Stage | None = None
    save_seconds: float = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolatorResult:
    """Where the interpolator went, what it scores, and the seconds of computing."""

    model: Path
    rows: list[Row]
    seconds: float


def train_interpolator(
    options: InterpolatorOptions, progress: Callable[[Report], None] | None = None
) -> InterpolatorResult:
    """Train, evaluate and write `out/interpolator.safetensors`; `progress` is called after every step.

    On a CPU the result follows from seed and steps to the bit, also through `resume`.

    Raises:
        InputError: options contradict each other, the folder cannot be written, holds another run, or none to resume.
        NumericsError: the loss stopped being a number; the last good state is kept.
    """
    _check(options)
    options.set_threads()
    base = load_model(options.model, dtype=torch.float32, device=options.device)
    config = options.config or interpolator_config(options.form, base)
    stage = _planned(options, base, config)
    trainer = _trainer(options, base, config, stage)
    if options.resume:
        trainer.resume()
    else:
        trainer.begin()
    # A resume that is refused leaves the plan as it was: it may be another run's.
    with atomic_file(options.out / PLAN_NAME) as temporary:
        aim = {"steps": stage.steps, "seed": options.seed, "form": config.form, "model": str(options.model)}
        temporary.write_text(json.dumps(aim) + "\n", encoding="utf-8")
    trainer.run(_Observer(MeanLog(options.out), progress))
    return _finish(options, trainer)


def interpolator_config(form: InterpolatorForm, base: SvdModel) -> InterpolatorConfig:
    """The row of a form for a base: the masked one is the base's own UNet with a mask channel."""
    unet, latent = base.config.unet, base.config.autoencoder.latent_channels
    context = base.config.image_encoder.projection
    if form == "masked":
        return InterpolatorConfig(
            name=f"{base.config.name}_interpolator", form=form, unet=replace(unet, in_channels=2 * latent + 1)
        )
    narrow = replace(
        NANO_INTERPOLATOR.unet,
        in_channels=2 * latent + 1,
        out_channels=latent,
        context_dim=context,
        vector=unet.vector,
    )
    return replace(NANO_INTERPOLATOR, name=f"{base.config.name}_interpolator", unet=narrow)


def _check(options: InterpolatorOptions) -> None:
    if options.form not in FORMS:
        raise InputError(choose_from("--form", options.form, FORMS))
    options.check(FILE_NAME)


def _trainer(
    options: InterpolatorOptions, base: SvdModel, config: InterpolatorConfig, stage: Stage
) -> InterpolatorTrainer:
    return InterpolatorTrainer(
        config=base.config,
        stages=(stage,),
        seed=options.seed,
        folder=options.out,
        device=torch.device(options.device),
        save_seconds=options.save_seconds,
        base=base,
        interpolator=config,
    )


def _planned(options: InterpolatorOptions, base: SvdModel, config: InterpolatorConfig) -> Stage:
    """The stage with its steps: asked for, measured from the minutes, a resumed run's own, or the recipe's."""
    stage = options.stage or RECIPE[config.form]
    plan = options.out / PLAN_NAME
    if options.resume and plan.is_file() and options.steps is None and options.minutes is None:
        return replace(stage, steps=planned_steps(plan))
    steps = options.steps or stage.steps
    if options.minutes is not None:
        probe = _trainer(options, base, config, stage)
        steps = max(1, round(options.minutes * 60 / probe.seconds_per_step(stage, _PROBE_STEPS)))
    return replace(stage, steps=steps)


@dataclass(slots=True)
class _Observer:
    """Writes the log and passes the report on."""

    log: MeanLog
    progress: Callable[[Report], None] | None

    def __call__(self, trainer: InterpolatorTrainer, report: Report) -> None:
        self.log.add(report)
        if self.progress is not None:
            self.progress(report)


def _finish(options: InterpolatorOptions, trainer: InterpolatorTrainer) -> InterpolatorResult:
    network, base = trainer.averaged(), trainer.base
    if network.config.form == "residual":
        gate = fit_gate(VideoBetween(network=network, base=base), GATE_SEED, options.scored_clips)
        network.config = replace(network.config, gate=gate)
    rows = compare(VideoBetween(network=network, base=base), SCORE_SEED, options.scored_clips)
    stage = trainer.stages[0]
    recipe = {
        "seed": options.seed,
        "steps": stage.steps,
        "batch": stage.batch,
        "computing_seconds": round(trainer.spent),
        "data": "procedural worlds of svd_core.training",
    }
    scores = [row.to_json() for row in rows]
    metadata = {"svd_studio.scores": json.dumps(scores), "svd_studio.recipe": json.dumps(recipe)}
    model = options.out / INTERPOLATOR_NAME
    save_interpolator(network, model, base=latent_fingerprint(base), metadata=metadata, dtype=torch.float16)
    with atomic_file(options.out / "scores.json") as temporary:
        told = {"scores": scores, "recipe": recipe, "config": asdict(network.config)}
        temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return InterpolatorResult(model=model, rows=rows, seconds=trainer.spent)
