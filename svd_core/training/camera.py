"""`train_camera`: from photographs, films or procedural worlds to a camera LoRA that knows what its strengths do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from ..camera.lora import LowRank
from ..config import ModelConfig
from ..errors import InputError, UnsupportedModelError, explain
from ..operations import TORCH
from ..source_image import check_size
from ..video_io import atomic_file
from ..weights.build import EMBEDDED, SvdModel, load_model
from ..weights.fingerprint import base_fingerprint
from .camera_clips import ClipSize, ClipSource
from .camera_latents import LatentGroups, cached_latents
from .camera_layers import check_rank, check_targets, times
from .camera_loop import STATE_NAME, CameraRecipe, CameraTrainer
from .camera_moves import Target, target_of
from .camera_recipe import BATCH, BUCKETS, RANK, TRIALS, is_small, law_for, steps_for
from .camera_sources import SourceChoice, open_source
from .camera_trials import Bench, Readings, bench_for, clips_with, read
from .camera_watch import Tell, Watcher
from .camera_writing import Finished, write_finished
from .fast_layers import FAST_LAYERS
from .run_options import PLAN_NAME, RunOptions, planned_steps

CALIBRATED_AT = (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5)
"""Strengths a finished LoRA is measured at."""
LARGE_SIZE = (512, 320)
"""Width and height clips have by default where the model's own size would take too much memory to train at."""
_MARKS = (STATE_NAME, PLAN_NAME)
_PROBE_STEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraTrainOptions(RunOptions):
    """source: what to learn from. size (width, height), frames and fps are the model's own by default, but for the
    size of large models (`LARGE_SIZE`). targets and rank: which layers, how wide. reference: the amount a second that
    strength 1 is to mean. trials: pictures the LoRA is tried on, by default the recipe's. early_stop: end when the
    meter reads the asked speed twice. dtype: of the model's weights, by default float32 on a CPU and bfloat16 on a GPU.
    """

    preset: str
    model: str | Path = EMBEDDED
    source: SourceChoice = field(default_factory=SourceChoice)
    size: tuple[int, int] | None = None
    frames: int | None = None
    fps: float | None = None
    rank: int | None = None
    targets: tuple[str, ...] = ("attention", "feed-forward")
    batch: int | None = None
    learning_rate: float = 4e-3
    reference: float | None = None
    trials: int | None = None
    early_stop: bool = False
    dtype: torch.dtype | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraTrainResult:
    """The file and its preview, what is in it, how long it took, and what there is to say."""

    lora: Path
    preview: Path
    finished: Finished
    steps: int
    seconds: float
    notes: tuple[str, ...]


def train_camera(
    options: CameraTrainOptions, tell: Tell | None = None, *, model: SvdModel | None = None
) -> CameraTrainResult:
    """Train, calibrate and write `out/<preset>.safetensors` with a preview and a report beside it.

    On a CPU the file follows from the options to the bit, also through an interruption and `resume`. `model` saves
    loading when the caller holds it; it is handed back as it was. What `tell` raises leaves a run to resume.

    Raises:
        InputError: options contradict each other, a folder has nothing usable, holds another run, or none to resume.
        UnsupportedModelError: the model is not of the family camera LoRAs are for.
        NumericsError: the loss stopped being a number; the last good state is kept.
    """
    say = tell or _say_nothing
    _check(options)
    options.set_threads()
    loaded = model or _load(options)
    _check_family(loaded.config)
    size = _size(options, loaded.config)
    target = target_of(options.preset, options.fps or loaded.config.sampling.fps, options.reference)
    source, notes = _source(options, loaded.config, target, size, say)
    base = base_fingerprint(loaded.unet)
    groups = cached_latents(loaded, source, base, options.out, lambda done, of: say("encoding", done, of, None))
    recipe = _recipe(options, loaded, size, groups, target)
    key = json.dumps({"base": base, "source": source.key, "recipe": repr(recipe)})
    trainer = CameraTrainer(loaded.unet, recipe, groups, options.out, key)
    if options.resume and (options.out / STATE_NAME).is_file():
        trainer.resume()
    bench = _bench(options, loaded, size, source)
    watcher = Watcher(trainer, loaded, target, bench, options.out, early_stop=options.early_stop, tell=say)
    # A run that an early stop had ended is only measured again.
    if not watcher.reached(trainer.step):
        trainer.run(watcher)
    deltas, readings, rescaled = _measured(loaded, trainer, target, bench, say)
    lora = replace(trainer.lora, deltas=deltas)
    finished = Finished(
        deltas=deltas,
        rank=recipe.rank,
        target=target,
        base=base,
        readings=readings,
        recipe={**_told(options, recipe, trainer, size, source), "rescaled": rescaled},
        preview=next(clips_with(loaded, [(lora, 1.0)], bench)),
        turned_preview=next(clips_with(loaded, [(lora, -1.0)], bench)) if target.axis is not None else None,
    )
    path = options.out / f"{target.preset}.safetensors"
    return CameraTrainResult(
        lora=path,
        preview=write_finished(finished, path),
        finished=finished,
        steps=trainer.step,
        seconds=trainer.spent,
        notes=(*notes, *watcher.notes),
    )


def begun(folder: Path) -> bool:
    """Whether a run of this kind was started in a folder."""
    return any((folder / mark).is_file() for mark in _MARKS)


def _say_nothing(what: str, done: int, total: int, loss: float | None) -> None:
    del what, done, total, loss


def _check(options: CameraTrainOptions) -> None:
    if options.batch is not None and options.batch < 1:
        raise InputError(explain("at least one clip a step", f"--batch {options.batch}", "Give more."))
    if options.trials is not None and not 1 <= options.trials <= 512:
        raise InputError(explain("1 to 512 clips to measure on", f"{options.trials}", "6 give a first impression."))
    check_targets(options.targets)
    if options.rank is not None:
        check_rank(options.rank)
    options.check(*_MARKS)


def _load(options: CameraTrainOptions) -> SvdModel:
    on_cpu = options.device.startswith("cpu")
    dtype = options.dtype or (torch.float32 if on_cpu else torch.bfloat16)
    return load_model(options.model, dtype=dtype, device=options.device, operations=FAST_LAYERS if on_cpu else TORCH)


def _check_family(config: ModelConfig) -> None:
    if config.family != "svd":
        remedy = "Camera LoRAs are for Stable Video Diffusion and the embedded model."
        raise UnsupportedModelError(explain("an image-to-video model of SVD's family", config.family, remedy))


def _size(options: CameraTrainOptions, config: ModelConfig) -> ClipSize:
    sampling = config.sampling
    # The deepest level must come out even.
    grid = config.autoencoder.downsampling * config.unet.downsampling
    usual = (sampling.width, sampling.height) if is_small(config) else LARGE_SIZE
    width, height = check_size(options.size or usual, grid)
    return ClipSize(frames=options.frames or sampling.frames, height=height, width=width)


def _source(
    options: CameraTrainOptions, config: ModelConfig, target: Target, size: ClipSize, say: Tell
) -> tuple[ClipSource, tuple[str, ...]]:
    choice = options.source
    if choice.kind == "worlds" and size.height != size.width:
        found = f"{size.width} x {size.height} without photographs or clips"
        raise InputError(explain("a square size for drawn worlds", found, "Give --images DIR or --clips DIR."))
    if not is_small(config):
        choice = replace(choice, per_group=1)
    return open_source(
        choice, target, size, options.seed, options.out, lambda done, of: say("looking at clips", done, of, None)
    )


def _recipe(
    options: CameraTrainOptions, model: SvdModel, size: ClipSize, groups: LatentGroups, target: Target
) -> CameraRecipe:
    small = is_small(model.config)
    recipe = CameraRecipe(
        steps=options.steps or steps_for(model.config, held=target.axis is None),
        rank=RANK[small] if options.rank is None else options.rank,
        targets=options.targets,
        learning_rate=options.learning_rate,
        batch=options.batch or BATCH[small],
        law=law_for(model.config, size),
        buckets=BUCKETS,
        checkpointing=not small,
        seed=options.seed,
    )
    plan = options.out / PLAN_NAME
    if plan.is_file() and options.steps is None:
        # A run that was given minutes must go on with the steps it made of them.
        return replace(recipe, steps=planned_steps(plan))
    if options.minutes is not None:
        probe = CameraTrainer(model.unet, replace(recipe, steps=_PROBE_STEPS + 1), groups, options.out, "")
        recipe = replace(recipe, steps=max(1, round(options.minutes * 60 / probe.seconds_per_step(_PROBE_STEPS))))
    if (options.out / STATE_NAME).is_file():
        # A resume that will be refused must not forget the steps the run was begun with.
        return recipe
    with atomic_file(plan) as temporary:
        temporary.write_text(json.dumps({"steps": recipe.steps}) + "\n", encoding="utf-8")
    return recipe


def _bench(options: CameraTrainOptions, model: SvdModel, size: ClipSize, source: ClipSource) -> Bench:
    small = is_small(model.config)
    return bench_for(model, size, source.stills(options.trials or TRIALS[small]), batch=8 if small else 1)


def _measured(
    model: SvdModel, trainer: CameraTrainer, target: Target, bench: Bench, say: Tell
) -> tuple[dict[str, LowRank], Readings, float]:
    """The finished matrices, what they do at every strength, and how their strengths were rescaled.

    A model that cannot follow the fastest clips stops obeying below the highest strength measured. Strengths are then
    rescaled so that all of that range is of use.
    """
    strengths = CALIBRATED_AT if target.axis is not None else (1.0,)

    def look(deltas: dict[str, LowRank]) -> Readings:
        lora = replace(trainer.lora, deltas=deltas)
        return read(
            model,
            lambda strength: [(lora, strength)],
            strengths,
            bench,
            look=lambda done, of: say("measuring", done, of, None),
        )

    deltas = trainer.deltas
    readings = look(deltas)
    factor = readings.reach(target) / max(strengths) if target.axis is not None else 1.0
    if not 0 < factor < 1:
        return deltas, readings, 1.0
    deltas = times(deltas, factor)
    return deltas, look(deltas), factor


def _told(
    options: CameraTrainOptions, recipe: CameraRecipe, trainer: CameraTrainer, size: ClipSize, source: ClipSource
) -> dict[str, object]:
    """What the file says about its making; nothing that differs from run to run."""
    return {
        "source": options.source.kind,
        "groups": source.groups,
        "frames": size.frames,
        "width": size.width,
        "height": size.height,
        "steps": trainer.step,
        "batch": recipe.batch,
        "rank": recipe.rank,
        "targets": recipe.targets,
        "learning_rate": recipe.learning_rate,
        "noise": [recipe.law.mean, recipe.law.deviation],
        "seed": options.seed,
    }
