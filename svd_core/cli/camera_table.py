"""What `svd bench camera` prints and writes: one table a judge, and what each move has to show."""

from __future__ import annotations

import argparse

from ..errors import InputError, explain
from ..operations import TORCH
from ..training.fast_layers import FAST_LAYERS
from ..video_io import atomic_file
from ..weights.build import load_model
from ..weights.camera_files import SHIPPED
from ..weights.lora import load_camera_lora
from .camera_bench import JUDGES, LINES_NAME, MoveResult, both_at_once, cases_for, results, run_cases
from .models import resolve_device, resolve_dtype
from .output import Console

_HEADER = ("move", "strength", "a second", "right way", "pushed", "off axis", "camera", "subject")


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
    options.out.mkdir(parents=True, exist_ok=True)
    cases = cases_for(loras)
    with console.progress(1, "camera") as bar:

        def tell(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.update(0)

        lines = run_cases(model, cases, options.clips, options.out / LINES_NAME, tell)
    moves = results(lines, loras, model.config.sampling.fps)
    together = {judge: both_at_once(lines, judge) for judge in JUDGES}
    text = markdown(moves, together, options.clips)
    with atomic_file(options.out / "camera.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    console.say(text)
    console.result(
        {
            "clips": options.clips,
            "moves": [
                {"preset": move.preset, "judge": move.judge, "rows": move.rows, "shows": move.verdicts()}
                for move in moves
            ],
            "pan_and_zoom": together,
        }
    )
    return 0 if all(all(move.verdicts().values()) for move in moves if move.judge == JUDGES[0]) else 1


def markdown(moves: list[MoveResult], together: dict[str, tuple[float, float] | None], clips: int) -> str:
    """The tables as Markdown."""
    parts: list[str] = []
    for judge in JUDGES:
        judged = [move for move in moves if move.judge == judge]
        if not judged:
            continue
        rows = [_row(move.preset, row) for move in judged for row in move.rows]
        parts.append(f"Judge: {judge}, {clips} clips a strength\n\n" + _table(_HEADER, rows))
        shows = [
            (move.preset, name, "yes" if held else "no") for move in judged for name, held in move.verdicts().items()
        ]
        parts.append(_table(("move", "must show", judge), shows))
        amounts = [
            (move.preset, f"{move.asked:.2f}", f"{move.measured:.2f}", f"{move.measured / move.asked:.0%}")
            for move in judged
            if move.asked is not None and move.measured is not None
        ]
        parts.append(_table(("move", "calibrated amount asked", "measured", "part"), amounts))
        both = together.get(judge)
        if both is not None:
            measured = f"pan {both[0]:+.2f} %, zoom {both[1]:+.2f} % a second"
            parts.append(f"pan_right and zoom_in at strength 1 together: {measured}")
    return "\n\n".join(parts) + "\n"


def _row(preset: str, row: dict[str, float]) -> tuple[str, ...]:
    return (
        preset,
        f"{row['strength']:.3g}",
        f"{row['amount']:+.2f}",
        f"{row['right']:.0%}" if row["strength"] else "-",
        f"{row['paired']:.0%}" if row["strength"] else "-",
        f"{row['off_axis']:.2f}" if row["strength"] else "-",
        f"{row['camera']:.3f}",
        f"{row['subject']:.3f}",
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ("---",) * len(header), *rows)]
    return "\n".join(lines)
