"""`svd train refiner`: the small network on top of the flow engine, learnt from drawn scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import Console, show

DEFAULT_OUT = "refiner-run"


def run(options: argparse.Namespace, console: Console | None = None) -> int:
    """Train and say where the refiner went, what it gains on scenes it never saw, and whether it may ship."""
    from ..training.refiner import RefinerOptions, train_refiner
    from .models import resolve_device

    console = console or Console.of(options)
    settings = RefinerOptions(
        out=options.out or Path(DEFAULT_OUT),
        steps=options.steps,
        minutes=options.minutes,
        device=str(resolve_device(options.device)),
        threads=options.threads,
        resume=options.resume,
        seed=options.seed,
    )
    with console.progress(1, "train") as bar:

        def tell(step: int, steps: int, loss: float) -> None:
            show(bar, step, steps, note=f"loss {loss:.4f}")

        result = train_refiner(settings, tell)
    console.say(f"{result.file}: {result.seconds / 60:.1f} computing minutes")
    rows = {kind: score.rounded() for kind, score in result.scores.items()}
    console.table(
        ("unseen", "engine alone", "with the refiner", "gain"),
        tuple(
            (kind, f"{row['engine']:.2f} dB", f"{row['refined']:.2f} dB", f"{result.scores[kind].gain:+.2f} dB")
            for kind, row in rows.items()
        ),
    )
    console.say(result.verdict.sentence())
    verdict = result.verdict.to_json()
    console.result({"file": str(result.file), "seconds": result.seconds, "scores": rows, "verdict": verdict})
    return 0
