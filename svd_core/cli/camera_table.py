"""What `svd bench camera` prints and writes: tables judge by judge, and what each move has to show."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from ..errors import InputError, explain
from ..operations import TORCH
from ..training.fast_layers import FAST_LAYERS
from ..training.scores_between import digest
from ..video_io import atomic_file
from ..weights.build import load_model
from ..weights.camera_files import SHIPPED
from ..weights.lora import load_camera_lora
from .camera_bench import JUDGES, LINES_NAME, claim, run_cases
from .camera_cases import cases_for
from .camera_results import CurveResult, MoveResult, StackResult, curve_results, move_results, stack_results
from .model_bench import identity_of
from .models import resolve_device, resolve_dtype
from .output import Console, show

_MOVES = ("move", "strength", "clips", "a second", "right way", "pushed", "off axis", "camera", "subject")
_STACKS = ("camera", "move", "clips", "asked", "a second", "right way", "pushed", "camera %", "subject of plain run's")
_CURVES = ("curve", "clips", "correlation", "against even", "asked, % a frame", "measured")


def run(options: argparse.Namespace) -> int:
    """Render what is missing, judge, print; exit code 1 when a shipped move does not show what it must."""
    console = Console.of(options)
    files = options.lora or sorted(SHIPPED.glob("*.safetensors"))
    loras = [load_camera_lora(file) for file in files]
    if not loras or any(lora.preset is None for lora in loras):
        found = "none that ship" if not loras else "a file without a preset"
        raise InputError(explain("camera LoRAs tagged for a preset", found, "Name files with --lora."))
    device = resolve_device(options.device)
    on_cpu = device.type == "cpu"
    layers = FAST_LAYERS if on_cpu else TORCH
    model = load_model(options.model, dtype=resolve_dtype(None, device), device=device, operations=layers)
    # Clips are told apart by preset: the same one of other LoRAs must not be taken for theirs.
    marks = " ".join(digest(file) for file in files)
    claim(options.out / LINES_NAME, f"{identity_of(options.model, model)} with LoRAs {marks}")
    sampling = model.config.sampling
    cases = cases_for(loras, sampling.frames)
    with console.progress(1, "camera") as bar:

        def tell(done: int, total: int) -> None:
            show(bar, done, total)

        lines = run_cases(model, cases, options.clips, options.out / LINES_NAME, tell)
    moves = move_results(lines, loras, sampling.fps)
    stacks, curves = stack_results(lines, cases), curve_results(lines, cases, sampling.fps)
    text = markdown(moves, stacks, curves)
    with atomic_file(options.out / "camera.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    console.say(text)
    console.result(
        {
            "clips": options.clips,
            "moves": [_told(move, move.verdicts()) for move in moves],
            "cameras": [_told(stack, stack.verdicts()) for stack in stacks],
            "curves": [_told(curve, curve.verdicts()) for curve in curves],
        }
    )
    return 0 if all(all(move.verdicts().values()) for move in moves if move.judge == JUDGES[0]) else 1


def markdown(moves: Sequence[MoveResult], stacks: Sequence[StackResult], curves: Sequence[CurveResult]) -> str:
    """The tables as Markdown."""
    parts: list[str] = []
    for judge in JUDGES:
        rows = [_row(move.preset, row) for move in moves if move.judge == judge for row in move.rows]
        amounts = [
            (move.preset, f"{move.asked:.2f}", f"{move.measured:.2f}", f"{move.measured / move.asked:.0%}")
            for move in moves
            if move.judge == judge and move.asked is not None and move.measured is not None
        ]
        together = [_stack_row(stack) for stack in stacks if stack.judge == judge]
        over_time = [_curve_row(curve) for curve in curves if curve.judge == judge]
        verdicts = [
            *((move.preset, move.verdicts()) for move in moves if move.judge == judge),
            *((f"{stack.name}: {stack.preset}", stack.verdicts()) for stack in stacks if stack.judge == judge),
            *((curve.name, curve.verdicts()) for curve in curves if curve.judge == judge),
        ]
        shows = [(name, what, "yes" if held else "no") for name, told in verdicts for what, held in told.items()]
        tables = (
            (_MOVES, rows),
            (("move", "calibrated amount asked", "measured", "part"), amounts),
            (_STACKS, together),
            (_CURVES, over_time),
            (("camera", "must show", judge), shows),
        )
        filled = [_table(header, body) for header, body in tables if body]
        if filled:
            parts.append("\n\n".join((f"Judge: {judge}", *filled)))
    return "\n\n".join(parts) + "\n"


def _told(result: MoveResult | StackResult | CurveResult, shows: dict[str, bool]) -> dict[str, object]:
    return {**asdict(result), "shows": shows}


def _row(preset: str, row: dict[str, float]) -> tuple[str, ...]:
    return (
        preset,
        f"{row['strength']:.3g}",
        f"{row['clips']}",
        f"{row['amount']:+.2f}",
        f"{row['right']:.0%}" if row["strength"] else "-",
        f"{row['paired']:.0%}" if row["strength"] else "-",
        f"{row['off_axis']:.2f}" if row["strength"] else "-",
        f"{row['camera']:.3f}",
        f"{row['subject']:.3f}",
    )


def _stack_row(stack: StackResult) -> tuple[str, ...]:
    return (
        stack.name,
        stack.preset,
        f"{stack.clips}",
        f"{stack.asked:.2f}",
        f"{stack.shift:+.2f}",
        f"{stack.right:.0%}",
        f"{stack.pushed:.0%}",
        f"{stack.camera:.3f}",
        f"{stack.subject:.2f}",
    )


def _curve_row(curve: CurveResult) -> tuple[str, ...]:
    asked, measured = (" ".join(f"{value:.2f}" for value in values) for values in (curve.asked, curve.measured))
    return (curve.name, f"{curve.clips}", f"{curve.correlation:.2f}", f"{curve.changed:.2f}", asked, measured)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ("---",) * len(header), *rows)]
    return "\n".join(lines)
