"""A camera LoRA trained inside the host: folders by name, progress, cancelling, and the file where it is found."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch
from torch import Tensor

from ..svd_core.errors import InputError, explain
from ..svd_core.naming import fill_template
from ..svd_core.training.camera import CameraTrainOptions, CameraTrainResult, begun, train_camera
from ..svd_core.training.camera_sources import SourceChoice
from ..svd_core.training.camera_writing import scores
from ..svd_core.video_io import atomic_file
from .catalog import CAMERA_LORAS, fingerprint
from .host import check_interrupt, folder_paths, management, work_report

_RUNS = "svd_camera_training"
DRAWN = "drawn worlds"
"""The source that needs no files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the node was told; `folder` lies in the host's input folder, zeros stand for the model's own values."""

    model: Path
    preset: str
    learn_from: str
    folder: str
    name: str
    steps: int
    rank: int
    frames: int
    size: tuple[int, int]
    seed: int
    trials: int


def train_for_host(wish: Wish) -> tuple[str, Tensor, str]:
    """Train, save, and say what came of it: the file's name, a preview `T H W 3`, a summary.

    Raises:
        InputError: no such folder, nothing usable in it, or a name that leads elsewhere.
        SvdError: as in `train_camera`.
    """
    values = {"preset": wish.preset, "seed": wish.seed}
    target = _place(fill_template(wish.name, values, datetime.now()) + ".safetensors")
    options = _options(wish)
    # Weights of other models would only stand in the way.
    management.unload_all_models()
    bar = work_report()

    def tell(what: str, done: int, total: int, loss: float | None) -> None:
        del what, loss
        check_interrupt()
        bar(done, total)

    # The host runs nodes in inference mode, in which nothing can learn.
    with torch.inference_mode(False), torch.enable_grad():
        result = train_camera(options, tell)
    for source in (result.lora, result.preview):
        with atomic_file(target.with_suffix(source.suffix)) as temporary:
            shutil.copyfile(source, temporary)
    # As the host lists it, folders below the first one included.
    listed = str(target.relative_to(Path(folder_paths.get_folder_paths(CAMERA_LORAS)[0]).resolve()))
    return listed, result.finished.preview.pixels, _summary(result, listed)


def _options(wish: Wish) -> CameraTrainOptions:
    source = _source(wish)
    # Other photographs or another model under the same name are another run, not one to go on with.
    mark = hashlib.sha256(f"{wish}|{contents(wish.model, wish.learn_from, wish.folder)}".encode()).hexdigest()[:16]
    run = Path(folder_paths.get_output_directory()) / _RUNS / f"{wish.preset}-{mark}"
    return CameraTrainOptions(
        out=run,
        preset=wish.preset,
        model=wish.model,
        source=source,
        size=None if 0 in wish.size else wish.size,
        frames=wish.frames or None,
        rank=wish.rank,
        steps=wish.steps,
        trials=wish.trials,
        resume=begun(run),
        seed=wish.seed,
        device=str(management.get_torch_device()),
    )


def contents(model: Path, learn_from: str, folder: str) -> str:
    """Changes with the model's file and with the files learnt from.

    Raises:
        InputError: as in `train_for_host`.
    """
    if learn_from == DRAWN:
        return fingerprint(model)
    return f"{fingerprint(model)}|{fingerprint(_learnt_from(folder))}"


def _learnt_from(folder: str) -> Path:
    return _inside(Path(folder_paths.get_input_directory()), folder, "folder")


def _source(wish: Wish) -> SourceChoice:
    if wish.learn_from == DRAWN:
        return SourceChoice()
    folder = _learnt_from(wish.folder)
    return SourceChoice(images=folder) if wish.learn_from == "photos" else SourceChoice(clips=folder)


def _place(name: str) -> Path:
    roots = folder_paths.get_folder_paths(CAMERA_LORAS)
    return _inside(Path(roots[0]), name, "name")


def _inside(root: Path, name: str, what: str) -> Path:
    """A path below `root`.

    Raises:
        InputError: nothing was named, or the name leads out of the root.
    """
    path = (root / name).resolve()
    if not name.strip() or not path.is_relative_to(root.resolve()) or path == root.resolve():
        raise InputError(explain(f"`{what}` as a name inside {root.name}", repr(name), "Write a plain name."))
    return path


def _summary(result: CameraTrainResult, listed: str) -> str:
    finished = result.finished
    lines = [f"{listed}: {result.steps} steps, {result.seconds / 60:.1f} minutes of computing."]
    for row in scores(finished.readings, finished.target):
        said = f"strength {row['strength']:+g}: "
        if finished.target.axis is None:
            said += f"camera {row['camera']:.2f}, subject {row['subject']:.2f} % of width a frame"
        else:
            said += f"{row['amount']:+.1f} a second, right way in {row['right']:.0%} of clips"
        lines.append(said)
    return "\n".join([*lines, *result.notes])
