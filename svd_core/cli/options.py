"""Words on the command line to values, each with a sentence of its own when it makes no sense. No torch here."""

from __future__ import annotations

import argparse
import glob
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from ..errors import InputError, explain

DTYPES = ("fp32", "fp16", "bf16")
# One frame is no clip, and the family was trained on 14 to 25; beyond ten times that, memory is all that grows.
MIN_FRAMES, MAX_FRAMES = 2, 256
MAX_STEPS = 1000


def size(text: str) -> tuple[int, int]:
    """`1024x576` -> (1024, 576), width first."""
    match = re.fullmatch(r"(\d{1,5})\s*[xX*]\s*(\d{1,5})", text.strip())
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise InputError(explain("--size as WIDTHxHEIGHT", repr(text), "Write for example 1024x576."))
    return int(match[1]), int(match[2])


def whole(option: str, lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers in `lowest .. highest`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,19}", text.strip()) or not lowest <= int(text) <= highest:
            expected = f"{option} as a whole number in {lowest} .. {highest}"
            raise InputError(explain(expected, repr(text), "Give a number in that range."))
        return int(text)

    return parse


def factor(option: str) -> Callable[[str], Fraction]:
    """A parser of frames made of one: `2`, `2.5` or `60/24`."""
    return rate(option, "frames for one", "2, 2.5 or 60/24")


def number(option: str, lowest: float, highest: float) -> Callable[[str], float]:
    """A parser of numbers in `lowest .. highest`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            expected = f"{option} as a number in {lowest:g} .. {highest:g}"
            raise InputError(explain(expected, repr(text), "Give a number in that range."))
        return value

    return parse


def rate(
    option: str, unit: str = "frames a second", example: str = "8, 23.976 or 30000/1001"
) -> Callable[[str], Fraction]:
    """A parser of frame rates, `7`, `12.5` or `30000/1001`, or of other ratios in a `unit` with an `example`."""

    def parse(text: str) -> Fraction:
        try:
            # Plain digits only: 1e-999999999 is a number too, of a billion digits.
            value = Fraction(text.strip()) if re.fullmatch(r"[0-9./]{1,40}", text.strip()) else Fraction(0)
        except (ValueError, ZeroDivisionError):
            value = Fraction(0)
        if not 0 < value <= 1000:
            expected = f"{option} as {unit}, above 0 and up to 1000"
            raise InputError(explain(expected, repr(text), f"Write for example {example}."))
        return value

    return parse


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, where it runs and in what precision."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="nano",
        metavar="nano|FILE|FOLDER",
        help="the embedded model (default), a safetensors file, or a diffusers folder",
    )
    group.add_argument(
        "--companion",
        action="append",
        metavar="FILE|FOLDER",
        help="where the autoencoder and the image encoder are, for a file that holds the UNet only; repeatable",
    )
    add_device(group)


def add_device(group: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Where to compute and in what precision."""
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    group.add_argument("--dtype", choices=DTYPES, help="precision; default: fp16 on a GPU, fp32 on the CPU")


def pictures(arguments: Sequence[str]) -> list[Path]:
    """Files as given, folders as the pictures in them, and patterns that the shell left alone (Windows).

    Raises:
        InputError: a folder or a pattern without pictures.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            from ..video_io.readers import frame_files

            found += frame_files(path)
        elif not path.exists() and glob.has_magic(argument):
            found += [Path(match) for match in sorted(glob.glob(argument))] or [path]
        else:
            found.append(path)
    return found
