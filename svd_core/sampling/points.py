"""A curve along the artist's own points: of guidance over a clip, or of how far a camera move has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import InputError, explain


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """Straight lines between points (place, weight); place 0 is the first frame, 1 the last."""

    points: tuple[tuple[float, float], ...]

    @staticmethod
    def parse(
        text: str, what: str = "guidance `points` as place:weight", example: str = "0:1, 0.5:3, 1:1"
    ) -> CurvePoints:
        """Read `0:1, 0.5:3, 1:1`; `what` names it in the message of an error, `example` shows one that fits.

        Raises:
            InputError: not of that form, places outside 0 .. 1 or not ascending.
        """
        pairs = [entry.split(":") for entry in text.replace(";", ",").split(",") if entry.strip()]
        try:
            points = tuple((float(place), float(weight)) for place, weight in pairs)
        except ValueError:
            points = ()
        places = [place for place, _ in points]
        fine = all(0 <= place <= 1 and math.isfinite(weight) for place, weight in points)
        if not points or not fine or any(b <= a for a, b in pairwise(places)):
            expected = f"{what} with places ascending from 0 to 1"
            raise InputError(explain(expected, repr(text), f"Write for example {example}."))
        return CurvePoints(points)

    def weights(self, frames: int) -> Tensor:
        """One weight a frame, `T` float32; before the first point and behind the last the curve is level."""
        places = torch.tensor([place for place, _ in self.points], dtype=torch.float64)
        weights = torch.tensor([weight for _, weight in self.points], dtype=torch.float64)
        at = torch.linspace(0, 1, frames, dtype=torch.float64).clamp(places[0], places[-1])
        if len(places) == 1:
            return weights.expand(frames).float()
        left = (torch.searchsorted(places, at, right=True) - 1).clamp(0, len(places) - 2)
        share = (at - places[left]) / (places[left + 1] - places[left])
        return torch.lerp(weights[left], weights[left + 1], share).float()
