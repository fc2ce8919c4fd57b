"""`svd train camera`: a camera move learnt from photographs, from films, or from the package's own worlds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, explain
from . import options as words
from .output import Console, show

if TYPE_CHECKING:
    from ..training.camera import CameraTrainOptions
    from ..training.camera_watch import Tell

DEFAULT_OUT = "camera-run"
ALL = "all"
# As the trainer has it, which would cost help an import of torch.
RANKS = (1, 64)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that only `svd train camera` looks at."""
    group = parser.add_argument_group("camera")
    group.add_argument("--preset", metavar="NAME", help="the move, e.g. pan_left; all: every move that ships")
    group.add_argument(
        "--model", default="nano", metavar="nano|FILE|FOLDER", help="the model the LoRA or interpolator is for"
    )
    group.add_argument("--images", type=Path, metavar="DIR", help="learn from photographs: a camera is moved over them")
    group.add_argument("--clips", type=Path, metavar="DIR", help="learn from films: cut, measured and sorted first")
    group.add_argument(
        "--size", type=words.size, metavar="WxH", help="of the clips; default: 512x320, for a small model its own"
    )
    group.add_argument(
        "--frames", type=words.whole("--frames", words.MIN_FRAMES, words.MAX_FRAMES), metavar="N", help="of a clip"
    )
    group.add_argument("--fps", type=words.number("--fps", 1, 120), metavar="RATE", help="default: the model's own")
    group.add_argument(
        "--rank",
        type=words.whole("--rank", *RANKS),
        metavar="N",
        help=f"width of the LoRA, {RANKS[0]} to {RANKS[1]}; 8 is enough for a move, 4 to 64 are usual",
    )
    group.add_argument(
        "--targets",
        metavar="A,B",
        help="among attention, feed-forward, convolutions, spatial; default: the first two",
    )
    group.add_argument("--rate", type=words.number("--rate", 1e-7, 1), metavar="X", help="learning rate")
    group.add_argument("--batch", type=words.whole("--batch", 1, 256), metavar="N", help="clips a step")
    group.add_argument(
        "--reference",
        type=words.number("--reference", 0.01, 999),
        metavar="X",
        help="what strength 1 is to mean, in %% or degrees a second",
    )
    group.add_argument(
        "--trials", type=words.whole("--trials", 1, 512), metavar="N", help="pictures the LoRA is measured on"
    )
    group.add_argument("--early-stop", action="store_true", help="end when the meter reads the asked speed twice")
    group.add_argument("--dtype", choices=words.DTYPES, help="of the model's weights; default: bf16 on a GPU")


def run(options: argparse.Namespace) -> int:
    """Train and say where the LoRA went and what it was measured to do."""
    from ..training.camera import train_camera
    from ..training.camera_writing import scores

    if options.preset is None:
        raise InputError(explain("--preset", "none", "Name the move, for example --preset pan_left."))
    settings = settings_of(options)
    console = Console.of(options)
    if options.preset == ALL:
        return run_shipped(settings, console)
    with console.progress(1, "train") as bar:
        result = train_camera(settings, _teller(bar))
    for note in result.notes:
        console.note(note)
    finished = result.finished
    rows = scores(finished.readings, finished.target)
    console.say(f"{result.lora}: {result.steps} steps, {result.seconds / 60:.1f} computing minutes")
    console.say(f"preview: {result.preview}")
    _table(console, {finished.target.preset: rows})
    console.result(
        {"lora": str(result.lora), "preview": str(result.preview), "seconds": result.seconds, "scores": rows}
    )
    return 0


def run_shipped(settings: CameraTrainOptions, console: Console) -> int:
    """Train every move that ships; fails when one of them did not pass its test."""
    from ..training.camera_shipped import train_shipped

    with console.progress(1, "train") as bar:
        moves = train_shipped(settings, _teller(bar))
    for move in moves:
        console.say(f"{move.preset}: {move.file if move.file is not None else 'did not pass its test, not shipped'}")
    _table(console, {move.preset: move.scores for move in moves})
    files = {move.preset: None if move.file is None else str(move.file) for move in moves}
    console.result({"files": files, "scores": {move.preset: move.scores for move in moves}})
    return 0 if all(move.file is not None for move in moves) else 1


def settings_of(options: argparse.Namespace) -> CameraTrainOptions:
    """What was asked for, in the trainer's words; what was not keeps the trainer's own defaults."""
    from ..training.camera import CameraTrainOptions
    from ..training.camera_sources import SourceChoice
    from .models import resolve_device, resolve_dtype

    device = resolve_device(options.device)
    given = {
        "rank": options.rank,
        "targets": None if options.targets is None else tuple(part.strip() for part in options.targets.split(",")),
        "learning_rate": options.rate,
        "trials": options.trials,
    }
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return CameraTrainOptions(
        out=options.out or Path(DEFAULT_OUT),
        preset=options.preset or "",
        model=options.model,
        source=SourceChoice(images=options.images, clips=options.clips),
        size=options.size,
        frames=options.frames,
        fps=options.fps,
        steps=options.steps,
        minutes=options.minutes,
        batch=options.batch,
        reference=options.reference,
        early_stop=options.early_stop,
        resume=options.resume,
        seed=options.seed,
        device=str(device),
        dtype=None if options.dtype is None else resolve_dtype(options.dtype, device),
        threads=options.threads,
        **settings,
    )


def _teller(bar: Any) -> Tell:  # noqa: ANN401 - tqdm's own type says nothing either
    def tell(what: str, done: int, total: int, loss: float | None) -> None:
        show(bar, done, total, what, "" if loss is None else f"loss {loss:.3f}")

    return tell


def _table(console: Console, moves: dict[str, list[dict[str, float]]]) -> None:
    rows = [
        (
            preset,
            f"{row['strength']:g}",
            f"{row['amount']:+.2f}",
            f"{row['right']:.0%}",
            f"{row['paired']:.0%}",
            f"{row['off_axis']:.2f}",
            f"{row['camera']:.2f}",
            f"{row['subject']:.2f}",
        )
        for preset, scored in moves.items()
        for row in scored
    ]
    console.table(("move", "strength", "a second", "right way", "pushed", "off axis", "camera %", "subject %"), rows)
