"""One cell of a sweep as `svd animate` would make it: the same options, checked by the same parser."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import InputError, explain
from ..sweep.jobs import Job, Outcome, Render
from .output import Console

if TYPE_CHECKING:
    from ..weights.build import SvdModel

# Options of `svd animate` that name places or outputs belong to the sweep itself.
_NOT_HERE = ("out", "json", "quiet", "debug", "help")
_FILES = ("model", "companion", "camera", "camera_lora", "camera_folder", "depth")
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
    words = [str(folder / image), "--out", str(target)]
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
    from .main import build_parser

    wanted = settings.get("format", "mp4")
    if wanted not in FORMATS:
        raise InputError(explain(f"format as one of {', '.join(FORMATS)}", repr(wanted), "Correct the plan."))
    parser = build_parser("animate")
    options, unknown = parser.parse_known_args(["animate", *arguments(settings, folder, target)])
    if unknown:
        remedy = "`svd animate --help` lists what a cell can set."
        raise InputError(explain("options of `svd animate` in a plan", " ".join(unknown), remedy))
    return options


def make_render(device: str) -> Render:
    """A worker's renderer: the last model stays loaded, since neighbouring cells share it."""
    held: list[tuple[tuple[object, ...], SvdModel]] = []

    def model_for(options: argparse.Namespace) -> SvdModel:
        from .models import load

        wanted = (options.model, options.dtype, tuple(options.companion or ()))
        if not held or held[0][0] != wanted:
            held.clear()
            held.append((wanted, load(options, Console(quiet=True))))
        return held[0][1]

    def render(job: Job) -> Outcome:
        from ..camera.meter import measure
        from ..metrics import clip_report
        from .animate import render_one, settings_of

        started = time.perf_counter()
        options = parse(job.settings, job.folder, job.target)
        options.device = device
        picture = Path(options.images[0])
        source = {"image": picture.name, "cell": job.cell.key, "values": dict(job.cell.values)}
        made = render_one(
            model_for(options), picture, job.target, settings_of(options), options, Console(quiet=True), source
        )
        track = measure(made.frames)
        told = {"per_second": track.per_second, "mean": track.mean, **clip_report(made.frames, track).to_json()}
        return Outcome(job=job, seconds=time.perf_counter() - started, settings=made.settings, track=told)

    return render


def _placed(name: str, value: object, folder: Path) -> object:
    """A relative file of the plan's folder by its whole name; everything else as it is."""
    if name in _FILES and isinstance(value, str):
        path, colon, rest = value.rpartition(":")
        for candidate, tail in ((value, ""), (path, colon + rest)):
            if candidate and (folder / candidate).exists():
                return f"{folder / candidate}{tail}"
    return value
