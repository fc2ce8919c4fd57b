"""One cell of a sweep as `svd animate` would make it: the same options, checked by the same parser."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from tqdm import tqdm

from ..errors import InputError, explain
from ..sweep.contents import EMBEDDED, file_of
from ..sweep.jobs import Job, Outcome, Render
from .output import Console

if TYPE_CHECKING:
    from ..weights.build import SvdModel

# Options of `svd animate` that name places or outputs belong to the sweep itself.
_NOT_HERE = ("out", "json", "quiet", "debug", "help")
FORMATS = ("mp4", "webm", "gif", "webp", "png")


def arguments(settings: Mapping[str, Any], folder: Path, target: Path) -> list[str]:
    """The command line of a cell; relative files start in `folder`.

    Raises:
        InputError: no picture, or a setting that is no option of `svd animate`.
    """
    image = settings.get("image")
    if not isinstance(image, str):
        remedy = 'Give "image" in the settings or as an axis.'
        raise InputError(explain("one picture a cell", repr(image), remedy))
    words = [str((folder / image).absolute()), "--out", str(target)]
    for name, value in settings.items():
        if name in _NOT_HERE:
            raise InputError(explain("an option of `svd animate` in a cell", name, "Remove it; the sweep sets it."))
        if name in ("image", "format") or value is None:
            continue
        for one in cast("list[Any]", value) if isinstance(value, list) else [value]:
            words.append(f"--{name.replace('_', '-')}={_placed(name, one, folder)}")
    return words


def parse(settings: Mapping[str, Any], folder: Path, target: Path) -> argparse.Namespace:
    """The options of a cell.

    Raises:
        InputError: as `svd animate` would say it.
    """
    wanted = settings.get("format", "mp4")
    if wanted not in FORMATS:
        raise InputError(explain(f"format as one of {', '.join(FORMATS)}", repr(wanted), "Correct the plan."))
    options, unknown = _parser().parse_known_args(["animate", *arguments(settings, folder, target)])
    if unknown:
        remedy = "`svd animate --help` lists what a cell can set."
        raise InputError(explain("options of `svd animate` in a plan", " ".join(unknown), remedy))
    return options


def check(settings: Mapping[str, Any], folder: Path, target: Path) -> None:
    """Whether a cell can be made, as far as its words tell; no file is read, since a bad one costs its own cell.

    Raises:
        InputError: as `svd animate` would say it.
    """
    from .animate import settings_of

    options = parse(settings, folder, target)
    options.camera = [text for text in options.camera if not text.lower().endswith(".json")]
    options.camera_lora, options.camera_folder, options.depth = [], [], None
    settings_of(options)


@cache
def _parser() -> argparse.ArgumentParser:
    """Made once: a plan of ten thousand cells asks it ten thousand times."""
    from .main import build_parser

    return build_parser("animate")


def make_render(device: str) -> Render:
    """A worker's renderer: the last model stays loaded, since neighbouring cells share it."""
    # Bars share a lock between processes by default, which a worker that is ended would leave behind, with a warning.
    tqdm.set_lock(RLock())
    held: list[tuple[tuple[object, ...], SvdModel]] = []

    def model_for(options: argparse.Namespace) -> SvdModel:
        from .models import load

        wanted = (options.model, options.dtype, tuple(options.companion or ()))
        if not held or held[0][0] != wanted:
            held.clear()
            held.append((wanted, load(options, Console(quiet=True))))
        return held[0][1]

    def render(job: Job) -> Outcome:
        from ..sweep.measured import measure_frames
        from .animate import render_one, settings_of

        options = parse(job.settings, job.folder, job.target)
        options.device = device
        picture = Path(options.images[0])
        source = {"image": picture.name, "cell": job.cell.key, "values": dict(job.cell.values)}
        model = model_for(options)
        # Loading belongs to no clip: what is left to do is foretold from these seconds.
        started = time.perf_counter()
        settings = settings_of(options)
        made = render_one(model, picture, job.target, settings, options, Console(quiet=True), source)
        told = measure_frames(made.frames, settings.camera)
        return Outcome(job=job, seconds=time.perf_counter() - started, settings=made.settings, track=told)

    return render


def _placed(name: str, value: object, folder: Path) -> object:
    """A file by its whole name, since a worker's own folder may be another; everything else as it is."""
    found = file_of(name, value, folder)
    return value if found is None or found[0] == EMBEDDED else f"{found[0].absolute()}{found[1]}"
