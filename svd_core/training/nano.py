"""`train_nano`: the whole recipe from nothing, or from where it stopped, to the finished file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from ..config import NANO, ModelConfig
from ..errors import FileFormatError, InputError, explain
from ..video_io.atomic import atomic_file
from .checkpoints import FILE_NAME, load, state_key
from .evaluation import Scores, animate, evaluate, held_out
from .export import export
from .loop import Report
from .nano_loop import Trainer
from .networks import Networks
from .photographs import Photographs, read_photographs
from .run_log import MeanLog
from .run_options import PLAN_NAME, RunOptions
from .sheet import save_sheet
from .stages import STAGES, Stage, chosen, place_of, scaled
from .team import ALONE, Member, team
from .worlds import texels

MODEL_NAME = "nano.safetensors"
# Seconds a step of each stage takes next to one of `video`; `--minutes` turns into steps with these.
_RELATIVE_COST = {
    "autoencoder": 0.13,
    "images": 0.25,
    "temporal": 0.9,
    "short_video": 1.0,
    "camera": 1.0,
    "video": 1.0,
    "temporal_decoder": 0.4,
}
_PROBE_STEPS = 3
_MAX_WORKERS = 64
_INSTALLED = "installed"
_SHEET_CLIPS, _MILESTONE_CLIPS, _SCORED_CLIPS = 8, 4, 64
_MILESTONE_BUCKETS = (1.0, 90.0, 255.0)
# Computing seconds between milestones inside a stage; one costs about forty.
_MILESTONE_SECONDS = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(RunOptions):
    """`steps` are of all stages together. `stages` picks some of the recipe's; `source` is a finished model file they
    go on from, without which the first must be the autoencoder's. `workers` processes (of `threads` each, on a CPU)
    take a batch each; the minutes are all theirs. `photographs` are backgrounds of a fifth of the worlds: a folder's,
    or those of installed packages. A resumed run keeps what is not given anew of steps, stages, workers and
    photographs; photographs may only have moved. `config` is for tests. `scored_clips` held-out clips are scored at the
    end.
    """

    workers: int | None = None
    stages: Sequence[str] | None = None
    source: Path | None = None
    photographs: Path | Literal["installed"] | None = None
    config: ModelConfig = NANO
    scored_clips: int = _SCORED_CLIPS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """Where the model went and what it scores."""

    model: Path
    scores: Scores
    seconds: float


Progress = Callable[[Report], None]


def train_nano(options: TrainOptions, progress: Progress | None = None) -> TrainResult:
    """Train, evaluate and write `out/nano.safetensors`; `progress` is called after every step.

    On a CPU the result follows from seed and steps to the bit, also through `resume`.

    Raises:
        InputError: options contradict each other, the folder cannot be written, holds another run, or none to resume.
        NumericsError: the loss stopped being a number; the last good state is kept.
        WorkerLost: one of several processes ended; the last good state is kept.
    """
    _check(options)
    options.set_threads()
    stages = _plan(options)
    workers = _read_plan(options.out)["workers"]
    numbers = sum(parameter.numel() for parameter in Networks(options.config).parameters())
    with team(workers, numbers, partial(_assist, options, stages)) as member:
        trainer = _ready(options, stages, member)
        trainer.run(_Observer(options.out, progress, min(_MILESTONE_CLIPS, options.scored_clips)))
    return _finish(options, trainer)


def _ready(options: TrainOptions, stages: Sequence[Stage], member: Member) -> Trainer:
    trainer = _trainer(options, stages, member)
    if options.resume:
        trainer.resume()
    else:
        trainer.begin(options.source)
    return trainer


def _assist(options: TrainOptions, stages: Sequence[Stage], member: Member) -> None:
    """The work of a team's other processes: the same steps, nothing written."""
    options.set_threads()
    _ready(options, stages, member).run(_say_nothing)


def _say_nothing(trainer: Trainer, report: Report) -> None:
    """What a process observes whose leader tells all."""


def _check(options: TrainOptions) -> None:
    if options.resume and options.source is not None:
        raise InputError(explain("--resume or --from", "both", "A resumed run has its weights; leave --from out."))
    if options.source is not None and not options.source.is_file():
        raise InputError(explain("a model file after --from", f"{options.source}", "Give e.g. nano.safetensors."))
    first = chosen(options.stages)[0].name
    if options.source is None and not options.resume and first != STAGES[0].name:
        raise InputError(explain("--from FILE with --stages", f"{first} first and no file", "Say what to go on from."))
    if options.workers is not None and not 1 <= options.workers <= _MAX_WORKERS:
        raise InputError(
            explain(f"--workers 1 to {_MAX_WORKERS}", f"{options.workers}", "Give one for every free core.")
        )
    options.check(FILE_NAME)


def _trainer(options: TrainOptions, stages: Sequence[Stage], member: Member = ALONE) -> Trainer:
    return Trainer(
        config=options.config,
        stages=tuple(stages),
        seed=options.seed,
        folder=options.out,
        device=torch.device(options.device),
        photographs=_photographs(options),
        member=member,
    )


def _photographs(options: TrainOptions) -> Photographs | None:
    """Those of the options, else of a resumed run's plan; read once for every process."""
    known = _named(options) or _before(options).get("photographs")
    if known is None:
        return None
    return read_photographs(None if known == _INSTALLED else Path(known), texels(options.config.sampling.width))


def _named(options: TrainOptions) -> str | None:
    """How the plan names a source of photographs, from wherever it is resumed."""
    named = options.photographs
    return str(named.absolute()) if isinstance(named, Path) else named


def _plan(options: TrainOptions) -> tuple[Stage, ...]:
    """The stages, from the folder of a resumed run, the number of steps, or the minutes and a short measurement.

    What a resumed run sets out to do anew is written down once its state is known to be this run's.
    """
    before = _before(options)
    stages = chosen(before.get("stages") if options.stages is None else options.stages)
    workers = options.workers or before.get("workers", 1)
    if workers > 1 and torch.device(options.device).type != "cpu":
        raise InputError(explain("--workers on a CPU", f"--device {options.device}", "Give --workers 1 on a GPU."))
    if options.resume:
        place_of(load(options.out, state_key(options.config, _photographs(options)), options.seed).stage, stages)
    steps = before.get("steps", sum(stage.steps for stage in stages))
    if options.steps is not None:
        steps = options.steps
    elif options.minutes is not None:
        steps = _steps_for(options, stages, options.minutes * 60 / workers)
    stages = scaled(steps, stages)
    aim = {
        "steps": steps,
        "seed": options.seed,
        "stages": [stage.name for stage in stages],
        "workers": workers,
        "photographs": _named(options) or before.get("photographs"),
        "from": before.get("from") if options.resume else _told(options.source),
    }
    with atomic_file(options.out / PLAN_NAME) as temporary:
        temporary.write_text(json.dumps(aim) + "\n", encoding="utf-8")
    return stages


def _before(options: TrainOptions) -> dict[str, Any]:
    """The plan of the run that is resumed; empty for a new one."""
    return _read_plan(options.out) if options.resume and (options.out / PLAN_NAME).is_file() else {}


def _steps_for(options: TrainOptions, stages: Sequence[Stage], seconds: float) -> int:
    """How many steps of the stages fit into one process's seconds, from a few steps of the dearest stage."""
    video = next(stage for stage in STAGES if stage.name == "video")
    probe = _trainer(options, scaled(len(STAGES)))
    cost = probe.seconds_per_step(video, _PROBE_STEPS)
    whole = sum(stage.steps * _RELATIVE_COST[stage.name] for stage in stages) * cost
    steps = sum(stage.steps for stage in stages)
    return max(len(stages), round(steps * seconds / whole))


@dataclass(slots=True)
class _Observer:
    """Writes the log and, now and then and at the end of every stage, a contact sheet and scores over a few clips."""

    folder: Path
    progress: Progress | None
    clips: int
    log: MeanLog = field(init=False)
    looked: float | None = None

    def __post_init__(self) -> None:
        self.log = MeanLog(self.folder)

    def __call__(self, trainer: Trainer, report: Report) -> None:
        self.log.add(report)
        self.looked = report.spent if self.looked is None else self.looked
        name = f"{trainer.stage}_{report.stage}"
        if report.step == report.steps:
            self._look(trainer, report, name)
        elif report.spent - self.looked >= _MILESTONE_SECONDS:
            self._look(trainer, report, f"{name}_{report.step:05d}")
        if self.progress is not None:
            self.progress(report)

    def _look(self, trainer: Trainer, report: Report, name: str) -> None:
        _milestone(trainer, self.folder / "sheets" / name, self.clips)
        self.looked = report.spent


def _milestone(trainer: Trainer, path: Path, clips: int) -> None:
    """`path`.png: held-out clips and, below each, what the averaged networks make of its first frame; `path`.json: the
    scores of `clips` clips."""
    networks = trainer.averaged().cpu()
    sampling = trainer.config.sampling
    real = held_out(_SHEET_CLIPS // 2, sampling).pixels
    made = animate(networks, real[:, 0], sampling, float(sampling.motion_bucket))
    save_sheet(path.with_suffix(".png"), torch.stack((real, made), dim=1).flatten(0, 1), columns=8)
    scores, _ = evaluate(networks, clips=clips, buckets=_MILESTONE_BUCKETS)
    with atomic_file(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(scores.to_json(), indent=1) + "\n", encoding="utf-8")


def _told(source: Path | None) -> dict[str, str] | None:
    """How the plan and the recipe name the file a run went on from."""
    if source is None:
        return None
    return {"file": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}


def _source(folder: Path) -> dict[str, str] | None:
    return _read_plan(folder).get("from")


def _read_plan(folder: Path) -> dict[str, Any]:
    """What a run set out to do: steps, seed, stages, workers, photographs, from.

    Raises:
        FileFormatError: the file is damaged.
    """
    path = folder / PLAN_NAME
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        workers = int(plan.get("workers", 1))
        return {"photographs": None, **plan, "steps": int(plan["steps"]), "workers": workers}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "Delete it, and give --steps, --stages, --workers and --photographs as before with --resume."
        raise FileFormatError(explain("a training plan", f"damage in {path}", remedy)) from error


def _finish(options: TrainOptions, trainer: Trainer) -> TrainResult:
    networks = trainer.averaged().cpu()
    scores, samples = evaluate(networks, clips=options.scored_clips)
    recipe = {
        "seed": options.seed,
        "computing_seconds": round(trainer.spent),
        "stages": {stage.name: stage.steps for stage in trainer.stages},
        "workers": _read_plan(options.out)["workers"],
        "photographs": None if trainer.photographs is None else trainer.photographs.fingerprint,
        "from": _source(options.out),
    }
    model = options.out / MODEL_NAME
    export(networks, model, {"svd_studio.scores": scores.to_json(), "svd_studio.recipe": recipe})
    text = json.dumps({"scores": scores.to_json(), "recipe": recipe}, indent=1) + "\n"
    with atomic_file(options.out / "scores.json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    save_sheet(options.out / "sheets" / "final.png", samples[:_SHEET_CLIPS], columns=8)
    return TrainResult(model=model, scores=scores, seconds=trainer.spent)
