"""What `--engine` names: an engine without weights by its name, or one from a file as KIND:FILE."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, choose_from, explain
from ..seeds import LAST_SEED
from . import options as words

if TYPE_CHECKING:
    import torch

    from ..interpolation import Engine

_SVD, _RIFE = "svd", "rife"
_WITH_FILES = ("flow:FILE", "rife:FILE", "svd", "svd:FILE")


def add_svd_options(group: argparse._ArgumentGroup) -> None:
    """How video interpolators run."""
    group.add_argument(
        "--base", default="nano", metavar="nano|FILE|FOLDER", help="svd: the model the engine was trained on"
    )
    group.add_argument(
        "--steps",
        type=words.whole("--steps", 1, words.MAX_STEPS),
        default=25,
        metavar="N",
        help="svd, files that sample from noise (Framer's, --form masked): sampling steps between two frames "
        "(default: 25)",
    )
    group.add_argument(
        "--seed",
        type=words.whole("--seed", 0, LAST_SEED),
        default=0,
        metavar="N",
        help="svd, the same files: seed of the noise, the same for every two frames (default: 0)",
    )


def add_rife_options(group: argparse._ArgumentGroup) -> None:
    """How RIFE weights run."""
    group.add_argument(
        "--flow-scale",
        type=words.number("--flow-scale", 0.25, 2),
        default=1.0,
        metavar="0.25|0.5|1|2",
        help="RIFE, and flow up to 1: size at which motion is looked for, as a factor; 0.5 for 4K frames",
    )
    group.add_argument(
        "--batch", type=words.whole("--batch", 1, 64), default=1, metavar="N", help="RIFE: frames made at once"
    )
    group.add_argument(
        "--dtype",
        choices=words.DTYPES,
        default=None,
        help="RIFE: number format of the network; default: fp16 on a GPU, fp32 on the CPU",
    )


def resolve_engine(options: argparse.Namespace, device: torch.device) -> str | Engine:
    """The engine of `--engine`: `flow`, `flow:FILE` (FILE is a refiner), `svd`, `svd:FILE`, `rife:FILE`.

    Names without weights are `retime`'s own.

    `--base` is the model whose latents an svd engine speaks.

    Raises:
        InputError, FileFormatError, UnsupportedModelError, WeightsMismatchError: see the loaders.
    """
    kind, _, file = options.engine.partition(":")
    if kind == _SVD:
        from ..weights.video_engine import load_video_engine

        return load_video_engine(
            file or "nano", base=options.base, device=device, steps=options.steps, seed=options.seed
        )
    if kind == _RIFE:
        if not Path(file).exists() or not file:
            found = f"nothing at {file}" if file else f"--engine {options.engine}"
            remedy = "Write for example --engine rife:flownet.pkl."
            raise InputError(explain("a file of RIFE weights", found, remedy))
        from ..weights.rife import load_interpolator
        from .models import resolve_dtype

        dtype = resolve_dtype(options.dtype, device)
        return load_interpolator(file, dtype=dtype, device=device, flow_scale=options.flow_scale, batch=options.batch)
    if kind == "flow" and (file or options.flow_scale != 1):
        from ..interpolation.engines import Flow, flow_engine
        from ..interpolation.refiner import load_refiner

        return Flow(load_refiner(file), options.flow_scale) if file else flow_engine(options.flow_scale)
    from ..interpolation.retime import ENGINES

    if options.engine not in ENGINES:
        raise InputError(choose_from("--engine", options.engine, [*ENGINES, *_WITH_FILES]))
    return options.engine
