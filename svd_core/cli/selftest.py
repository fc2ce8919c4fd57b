"""`svd selftest`: does this machine compute what it should? A table of measured numbers beside their limits."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import SvdError
from .output import Console

if TYPE_CHECKING:
    from .checks import Check, Result


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Options of `svd selftest`."""
    parser = subparsers.add_parser(
        "selftest",
        help="prove on this machine that the networks compute what they should",
        description="Compute the same things in different ways and compare. Exit code 1 if anything fails.",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    parser.add_argument("--model", default="nano", metavar="nano|FILE|FOLDER", help="model of the end-to-end check")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(options: argparse.Namespace) -> int:
    """Run every check, however many fail."""
    import torch

    from . import checks, models

    console = Console.of(options)
    device = models.resolve_device(options.device)
    groups: dict[str, Check] = {
        "unet": checks.unet_paths,
        "reference": checks.against_diffusers,
        "device": checks.against_cpu,
        "precision": checks.halves,
        "decode": checks.decoding,
        "memory": checks.memory_plan,
        "model": checks.end_to_end(options.model),
    }
    started = time.perf_counter()
    results: list[tuple[str, Result]] = []
    with torch.no_grad(), checks.exact_float32(), console.progress(len(groups), "selftest") as bar:
        for group, check in groups.items():
            results += [(group, result) for result in _safely(check, device)]
            bar.update()
    failed = sum(not result.passed for _, result in results)
    _table(console, results)
    seconds = time.perf_counter() - started
    skipped = sum(bool(result.skipped) for _, result in results)
    passed = len(results) - failed - skipped
    console.say(f"\n{passed} passed, {failed} failed, {skipped} skipped on {device} in {seconds:.1f} s")
    console.result(
        {
            "device": str(device),
            "versions": models.versions(),
            "seconds": round(seconds, 2),
            "failed": failed,
            "checks": [_entry(group, result) for group, result in results],
        }
    )
    return int(failed > 0)


def _safely(check: Check, device: Any) -> Iterator[Result]:  # noqa: ANN401 - torch.device without torch
    """A check that cannot even run is a failed one; the others still get their turn."""
    from .checks import Result

    try:
        yield from check(device)
    except (SvdError, RuntimeError) as error:
        yield Result(name=" ".join(str(error).split())[:160])


def _table(console: Console, results: list[tuple[str, Result]]) -> None:
    rows = [(result.name, *_numbers(result), _verdict(result)) for _, result in results]
    console.table(("check", "measured", "limit", ""), rows)


def _numbers(result: Result) -> tuple[str, str]:
    if result.skipped:
        return "-", "-"
    return f"{result.measured:.2e}", f"{result.limit:.2e}"


def _verdict(result: Result) -> str:
    return f"skip: {result.skipped}" if result.skipped else "PASS" if result.passed else "FAIL"


def _entry(group: str, result: Result) -> dict[str, Any]:
    return {
        "group": group,
        "name": result.name,
        "measured": result.measured,
        "limit": result.limit,
        "verdict": "skip" if result.skipped else _verdict(result).lower(),
        "skipped": result.skipped or None,
    }
