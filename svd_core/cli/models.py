"""Devices, precisions and models as the command line names them."""

from __future__ import annotations

import argparse
import platform
from typing import Any

import torch

from .. import __version__
from ..errors import InputError, explain
from ..weights.build import SvdModel, load_model
from .output import Console

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """`auto` is the first GPU there is, else the CPU.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(explain("--device as cpu, cuda, cuda:1 or mps", repr(name), "Name one of these.")) from error
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= present.get(device.type, 0):
        counted = ", ".join(f"{count} {kind}" for kind, count in present.items())
        remedy = "Leave --device away, or install a torch that knows your GPU."
        raise InputError(explain(f"a device {name} that torch {torch.__version__} can see", counted, remedy))
    return device


def resolve_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The precision asked for; fp16 on a GPU and fp32 on the CPU, where halves are slower, when none was."""
    if name is not None:
        return _DTYPES[name]
    return torch.float32 if device.type == "cpu" else torch.float16


def load(options: argparse.Namespace, console: Console) -> SvdModel:
    """The model of `--model --device --dtype`, with what its report remarks said on stderr.

    Raises:
        SvdError: as in `load_model`; InputError for an unknown device.
    """
    device = resolve_device(options.device)
    dtype = resolve_dtype(options.dtype, device)
    companions = tuple(getattr(options, "companion", None) or ())
    model = load_model(options.model, dtype=dtype, device=device, companions=companions)
    for remark in model.report.notes:
        console.note(remark)
    return model


def versions() -> dict[str, str]:
    """What a result depends on besides its settings."""
    return {
        "svd-studio": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
    }


def placement(model: SvdModel) -> dict[str, Any]:
    """Device and precision of a loaded model, as its results record them."""
    parameter = next(model.unet.parameters())
    device = parameter.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "dtype": str(parameter.dtype).removeprefix("torch.")}
