"""`svd train`: the embedded model, by the recipe that made it, its interpolator, and camera LoRAs for any model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError, explain
from . import train_camera, train_interpolator, train_refiner
from .output import Console, show

if TYPE_CHECKING:
    from ..training.loop import Report

_OF_NANO = {"workers": "--workers", "photographs": "--photographs", "source": "--from", "stages": "--stages"}
_OF_CAMERA = {
    "preset": "--preset",
    "images": "--images",
    "clips": "--clips",
    "size": "--size",
    "frames": "--frames",
    "fps": "--fps",
    "rank": "--rank",
    "targets": "--targets",
    "rate": "--rate",
    "batch": "--batch",
    "reference": "--reference",
    "trials": "--trials",
    "early_stop": "--early-stop",
    "dtype": "--dtype",
}


@dataclass(frozen=True, slots=True)
class _Part(Console):
    """The console of one of several runs: what it has to say to programs is kept under its name."""

    name: str = ""
    results: dict[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])

    def result(self, tree: Mapping[str, object]) -> None:
        """Keep the result."""
        self.results[self.name] = tree


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd train`."""
    parser = subparsers.add_parser(
        "train",
        help="teach a camera move, or make the embedded model again",
        description="Train a camera LoRA from photographs, films or drawn worlds, or, from nothing, the embedded model "
        "or the interpolator that goes with it; --resume continues an interrupted run.",
    )
    parser.add_argument(
        "what",
        choices=("nano", "camera", "interpolator", "refiner", "all"),
        help="nano: the embedded model; camera: a camera LoRA for any model; interpolator: the frames between two; "
        "refiner: what the flow engine of svd interpolate leaves undone; "
        "all: nano, then its interpolator, the refiner and every LoRA it ships with",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="state, log, samples and the result go here; default: NAME-run"
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--steps", type=int, metavar="N", help="training steps; nano: of all stages together")
    amount.add_argument("--minutes", type=float, metavar="N", help="computing time (of the processor, or of the GPU)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads; one is most efficient")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="nano: processes that share the work on a CPU, one a core; default: 1"
    )
    parser.add_argument(
        "--photographs",
        metavar="DIR|installed",
        help="nano: backgrounds for a fifth of the worlds, from a folder or from packages that bring some",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="nano: go on from this finished model instead of from nothing",
    )
    parser.add_argument(
        "--stages",
        type=_names,
        metavar="A,B",
        help="nano: only these stages of the recipe, e.g. camera,video,temporal_decoder; needs --from",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed and steps give the same weights")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    train_camera.add_options(parser)
    train_interpolator.add_options(parser)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _photographs(text: str | None) -> Path | Literal["installed"] | None:
    if text is None:
        return None
    return "installed" if text == "installed" else Path(text)


def _check_fit(options: argparse.Namespace) -> None:
    """What only another training listens to is refused, not passed over."""
    foreign: list[tuple[str, str]] = []
    if options.what not in ("nano", "all"):
        foreign += [(option, "nano") for name, option in _OF_NANO.items() if getattr(options, name) is not None]
    if options.what != "camera":
        # The moves that ship are trained as asked too, but which they are is not asked.
        heard = {"preset": "--preset"} if options.what == "all" else _OF_CAMERA
        foreign += [(option, "camera") for name, option in heard.items() if getattr(options, name) not in (None, False)]
    if options.what not in ("camera", "interpolator") and options.model != "nano":
        foreign.append(("--model", "camera` or `svd train interpolator"))
    for option, what in foreign:
        raise InputError(
            explain(f"{option} with `svd train {what}`", f"it with {options.what}", f"Leave {option} out.")
        )


def run(options: argparse.Namespace) -> int:
    """Train what was asked for."""
    _check_fit(options)
    if options.what == "camera":
        return train_camera.run(options)
    if options.what == "interpolator":
        return train_interpolator.run(options)
    if options.what == "refiner":
        return train_refiner.run(options)
    if options.what == "all":
        return _all(options)
    return _nano(options)


def _all(options: argparse.Namespace) -> int:
    """The embedded model and all that comes after it; amounts of work are the model's.

    Interpolator and camera LoRAs stand on what came out, the refiner on nothing but its own scenes.
    """
    from ..training.camera_shipped import ON_MODEL
    from ..training.checkpoints import FILE_NAME
    from ..training.interpolator import INTERPOLATOR_ON_MODEL
    from ..training.nano import MODEL_NAME
    from ..training.refiner import REFINER_ON_MODEL, STATE_NAME

    folder = options.out or Path("all-run")
    options.out = folder / "nano"
    results: dict[str, Mapping[str, object]] = {}

    def part(name: str) -> Console:
        whole = Console.of(options)
        return _Part(whole.json, whole.quiet, name, results)

    _nano(options, part("nano"))
    asked, options.model = copy(options), folder / "nano" / MODEL_NAME
    shares = {"interpolator": INTERPOLATOR_ON_MODEL, "refiner": REFINER_ON_MODEL, "camera": ON_MODEL}
    for name, share in shares.items():
        options.out = folder / name
        options.steps = None if asked.steps is None else max(1, round(asked.steps * share))
        options.minutes = None if asked.minutes is None else asked.minutes * share
        # What was not begun is begun all the same.
        if name == "interpolator":
            options.resume = asked.resume and (options.out / FILE_NAME).is_file()
            train_interpolator.run(options, part(name))
        elif name == "refiner":
            options.resume = asked.resume and (options.out / STATE_NAME).is_file()
            train_refiner.run(options, part(name))
    options.resume = asked.resume
    code = train_camera.run_shipped(train_camera.settings_of(options), part("camera"))
    Console.of(options).result(results)
    return code


def _nano(options: argparse.Namespace, console: Console | None = None) -> int:
    """Train and say where the model went."""
    from ..training.nano import TrainOptions, train_nano
    from .models import resolve_device

    console = console or Console.of(options)
    settings = TrainOptions(
        out=options.out or Path("nano-run"),
        steps=options.steps,
        minutes=options.minutes,
        device=str(resolve_device(options.device)),
        threads=options.threads,
        workers=options.workers,
        resume=options.resume,
        seed=options.seed,
        stages=options.stages,
        source=options.source,
        photographs=_photographs(options.photographs),
    )
    with console.progress(1, "train") as bar:

        def tell(report: Report) -> None:
            show(bar, report.step, report.steps, report.stage, f"loss {report.loss:.3f}")

        result = train_nano(settings, tell)
    scores = result.scores
    console.say(f"{result.model}: {result.seconds / 60:.1f} computing minutes")
    console.table(
        ("held-out worlds", "score"),
        (
            ("reconstruction", f"{scores.reconstruction:.2f} dB"),
            ("first frame against input", f"{scores.first_frame:.2f} dB"),
            ("motion bucket, rank correlation", f"{scores.rank_correlation:.3f}"),
            ("flow, highest bucket / lowest", f"{scores.flow_ratio:.2f}"),
        ),
    )
    console.result({"model": str(result.model), "seconds": result.seconds, "scores": scores.to_json()})
    return 0
