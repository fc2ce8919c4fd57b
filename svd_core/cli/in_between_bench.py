"""`svd bench in-between`: what lies between the ends of clips nobody trained on, against the frames that were there.

Everything is judged as the autoencoder shows it: the true frames and both ends are encoded and decoded first, or its
own loss would decide. Every clip of every case is a line of a file, so the bench goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..directing import encode_frames
from ..errors import InputError, explain
from ..in_betweening.chain import Gap
from ..in_betweening.gap import sample_gap
from ..in_betweening.settings import InBetweenSettings
from ..interpolation import Plan, interpolate
from ..operations import TORCH
from ..pipeline import decode_latents
from ..sampling import BETWEEN_METHODS, Bounded
from ..settings import AnimateSettings
from ..training.evaluation import held_out
from ..training.fast_layers import FAST_LAYERS
from ..types import Frames
from ..video_io import atomic_file
from ..weights.build import SvdModel, load_model
from .camera_bench import claim, read_lines
from .model_bench import identity_of
from .models import resolve_device, resolve_dtype
from .output import Console, show

LINES_NAME = "in-between.jsonl"
# Mean motion in pixels a frame.
BINS = ((0.0, 0.3), (0.3, 0.7), (0.7, 1.2), (1.2, math.inf))
_PLAIN = ("blend", "flow")
_FLOW_START = "+flow"
CASES = (*_PLAIN, *BETWEEN_METHODS, f"vibid{_FLOW_START}")


def run(options: argparse.Namespace) -> int:
    """Render what is missing, print the table; always exit code 0: it is a measurement, not a promise."""
    console = Console.of(options)
    device = resolve_device(options.device)
    layers = FAST_LAYERS if device.type == "cpu" else TORCH
    model = load_model(options.model, dtype=resolve_dtype(None, device), device=device, operations=layers)
    claim(options.out / LINES_NAME, identity_of(options.model, model))
    with console.progress(1, "in-between") as bar:

        def tell(done: int, total: int) -> None:
            show(bar, done, total)

        lines = run_cases(model, CASES, options.clips, options.out / LINES_NAME, tell)
    rows = table(lines)
    text = markdown(rows, options.clips)
    with atomic_file(options.out / "in-between.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    console.say(text)
    console.result({"clips": options.clips, "rows": rows})
    return 0


def run_cases(
    model: SvdModel, cases: Sequence[str], clips: int, file: Path, tell: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Render and judge what the file does not hold yet; returns all lines of these cases."""
    lines = read_lines(file)
    done = {(line["name"], line["clip"]) for line in lines}
    real = held_out(clips, model.config.sampling)
    for index in range(clips):
        wanted = [case for case in cases if (case, index) not in done]
        fresh: list[dict[str, Any]] = []
        if wanted:
            told = {"fps": int(real.fps[index]), "motion_bucket": float(real.motion_bucket[index])}
            errors = judged(model, wanted, (real.pixels[index] + 1) / 2, index, told)
            flow = round(float(real.flow[index]), 4)
            fresh = [{"name": name, "clip": index, "flow": flow, "error": error} for name, error in errors.items()]
            with file.open("a", encoding="utf-8") as stream:
                stream.write("".join(json.dumps(line) + "\n" for line in fresh))
        lines += fresh
        tell(index + 1, clips)
    return [line for line in lines if line["name"] in cases and line["clip"] < clips]


def judged(model: SvdModel, cases: Sequence[str], clip: Tensor, seed: int, told: dict[str, Any]) -> dict[str, float]:
    """Mean squared error of the frames between the ends of `T 3 H W` in [0, 1], by case."""
    truth = decoded(model, encode_frames(model, clip * 2 - 1))
    return {
        case: float((_between(model, case, clip, truth, seed, told)[1:-1] - truth[1:-1]).square().mean())
        for case in cases
    }


def decoded(model: SvdModel, latents: Tensor) -> Tensor:
    """Latents `T c h w` -> `T H W 3`."""
    return decode_latents(model, latents[None])[0]


def _between(model: SvdModel, case: str, clip: Tensor, truth: Tensor, seed: int, told: dict[str, Any]) -> Tensor:
    if case in _PLAIN:
        plan = Plan(factor=Fraction(len(clip) - 1))
        return interpolate(Frames(truth[[0, -1]], Fraction(1)), plan, engine=case, cut_guard="off").pixels
    method, plus, _ = case.partition(_FLOW_START)
    settings = InBetweenSettings(
        clip=AnimateSettings(size=(clip.shape[-1], clip.shape[-2]), frames=len(clip), **told),
        bounded=Bounded(method=method),  # type: ignore[arg-type]
        flow_start=1.0 if plus else 0.0,
    )
    return decoded(model, sample_gap(model, clip[[0, -1]], settings, Gap(0, 0, 1, seed)))


def table(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for every case that was run: dB by motion and over all clips, errors averaged before the logarithm."""
    names = list(dict.fromkeys(line["name"] for line in lines))
    rows: list[dict[str, Any]] = []
    for name in names:
        own = [(line["flow"], line["error"]) for line in lines if line["name"] == name]
        bins = {label(*ends): _decibels([e for flow, e in own if ends[0] <= flow < ends[1]]) for ends in BINS}
        rows.append({"name": name, "clips": len(own), "bins": bins, "all": _decibels([e for _, e in own])})
    return rows


def label(low: float, high: float) -> str:
    """A range of motion in words."""
    return f"{low:g} and more" if high == math.inf else f"{low:g} to {high:g}"


def markdown(rows: Sequence[dict[str, Any]], clips: int) -> str:
    """The table as Markdown.

    Raises:
        InputError: nothing was run.
    """
    if not rows:
        raise InputError(explain("a clip to judge", "none", "Give --clips."))
    ranges = [label(*ends) for ends in BINS]
    header = ("between by", *(f"{name} px" for name in ranges), "all")
    cells = [(row["name"], *(_shown(row["bins"][name]) for name in ranges), _shown(row["all"])) for row in rows]
    lines = [header, ("---",) * len(header), *cells]
    title = f"PSNR in dB of the frames between, by mean motion a frame, {clips} clips of the model's own length"
    return title + "\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _decibels(errors: Sequence[float]) -> float | None:
    if not errors:
        return None
    return float(-10 * torch.tensor(errors, dtype=torch.float64).mean().clamp(min=1e-12).log10())
