"""`svd train interpolator`: the network that draws the frames between two, on the latents of a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .output import Console, show

if TYPE_CHECKING:
    from ..training.interpolator import InterpolatorOptions
    from ..training.interpolator_trials import Row
    from ..training.loop import Report

DEFAULT_OUT = "interpolator-run"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that only `svd train interpolator` looks at; the model is camera's `--model`."""
    group = parser.add_argument_group("interpolator")
    group.add_argument(
        "--form",
        choices=("residual", "masked"),
        default="residual",
        help="residual: what a cross-fade lacks, in one step (default); masked: the paper's, sampled from noise, "
        "starting from the model's own UNet",
    )


def run(options: argparse.Namespace, console: Console | None = None) -> int:
    """Train and say where the interpolator went and what it scores."""
    from ..training.interpolator import train_interpolator

    console = console or Console.of(options)
    with console.progress(1, "train") as bar:

        def tell(report: Report) -> None:
            show(bar, report.step, report.steps, note=f"loss {report.loss:.4f}")

        result = train_interpolator(settings_of(options), tell)
    console.say(f"{result.model}: {result.seconds / 60:.1f} computing minutes")
    table(console, result.rows)
    scores = [row.to_json() for row in result.rows]
    console.result({"model": str(result.model), "seconds": result.seconds, "scores": scores})
    return 0


def settings_of(options: argparse.Namespace) -> InterpolatorOptions:
    """What was asked for, in the trainer's words."""
    from ..training.interpolator import InterpolatorOptions
    from .models import resolve_device

    return InterpolatorOptions(
        out=options.out or Path(DEFAULT_OUT),
        steps=options.steps,
        minutes=options.minutes,
        device=str(resolve_device(options.device)),
        threads=options.threads,
        resume=options.resume,
        seed=options.seed,
        form=options.form,
        model=options.model,
    )


def table(console: Console, rows: list[Row]) -> None:
    """One line a class of held-out clips."""
    console.table(
        (
            "held-out clips",
            "px a frame",
            "fade, decoded",
            "network",
            "gain dB",
            "won",
            "worst",
            "fade",
            "engine",
            "flow",
        ),
        [
            (
                f"{row.speed} ({row.clips})",
                f"{row.flow:.2f}",
                f"{row.decoded_blend:.2f}",
                f"{row.decoded:.2f}",
                f"{row.gain:+.2f}",
                f"{row.won:.0%}",
                f"{row.worst:.2f}",
                f"{row.pixels_blend:.2f}",
                f"{row.pixels_engine:.2f}",
                f"{row.pixels_flow:.2f}",
            )
            for row in rows
        ],
    )
