"""`--interpolate` and `--target-fps`: new frames for a clip that has just been made."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import InputError, explain
from . import options as words
from .output import Console

if TYPE_CHECKING:
    from ..types import Frames


def add_retiming(parser: argparse.ArgumentParser) -> None:
    """The two options; `svd interpolate` has the rest."""
    group = parser.add_argument_group("frame rate")
    group.add_argument(
        "--interpolate",
        type=words.factor("--interpolate"),
        metavar="N",
        help="frames for one of the model's, e.g. 2, 2.5 or 4: the clip plays as long as without, and smoother",
    )
    group.add_argument(
        "--target-fps",
        type=words.rate("--target-fps"),
        metavar="RATE",
        help="instead: frames a second of the file, e.g. 24; every frame is made for its exact time",
    )


@dataclass(frozen=True, slots=True)
class Retiming:
    """What was asked for; neither means nothing."""

    factor: Fraction | None
    target: Fraction | None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Retiming:
        """From the command line.

        Raises:
            InputError: both options at once.
        """
        if options.interpolate is not None and options.target_fps is not None:
            raise InputError(explain("one of --interpolate and --target-fps", "both", "Leave out one."))
        return cls(options.interpolate, options.target_fps)

    @property
    def record(self) -> dict[str, Any]:
        """What the file says about it."""
        given = {"interpolate": self.factor, "target_fps": self.target}
        return {name: str(value) for name, value in given.items() if value is not None}

    def applied(self, frames: Frames, console: Console, label: str) -> Frames:
        """The clip at its new rate, with the flow engine on the clip's own device."""
        from ..interpolation import Plan, interpolate, to_rate

        factor = to_rate(frames.fps, self.target) if self.target is not None else self.factor
        if factor is None:
            return frames
        plan = Plan(factor=factor)
        with console.progress(plan.count(len(frames)), f"{label}: interpolating") as bar:

            def show(done: int, _: int) -> None:
                bar.update(done - bar.n)

            return interpolate(frames, plan, on_frame=show)
