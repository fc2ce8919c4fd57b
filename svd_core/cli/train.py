"""`svd train`: make the embedded model again, by the recipe that made it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import Console

if TYPE_CHECKING:
    from ..training.loop import Report


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd train`."""
    parser = subparsers.add_parser(
        "train",
        help="train the embedded model with the recipe it was made by",
        description="Train on procedurally drawn worlds, in stages; continues an interrupted run with --resume.",
    )
    parser.add_argument("what", choices=("nano",), help="nano: the embedded model, all of it")
    parser.add_argument(
        "--out", type=Path, default=Path("nano-run"), metavar="DIR", help="state, log, sheets and model go here"
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--steps", type=int, metavar="N", help="steps over all stages together")
    amount.add_argument("--minutes", type=float, metavar="N", help="computing time (of the processor, or of the GPU)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="processor threads; one is most efficient")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--seed", type=int, default=0, help="the same seed and steps give the same weights")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Train and say where the model went."""
    from ..training.nano import TrainOptions, train_nano
    from .models import resolve_device

    console = Console.of(options)
    settings = TrainOptions(
        out=options.out,
        steps=options.steps,
        minutes=options.minutes,
        device=str(resolve_device(options.device)),
        threads=options.threads,
        resume=options.resume,
        seed=options.seed,
    )
    with console.progress(1, "train") as bar:

        def show(report: Report) -> None:
            bar.total, bar.n = report.steps, report.step
            bar.set_description(report.stage, refresh=False)
            bar.set_postfix_str(f"loss {report.loss:.3f}", refresh=False)
            bar.update(0)

        result = train_nano(settings, show)
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
