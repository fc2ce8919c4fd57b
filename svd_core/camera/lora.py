"""What a camera LoRA is once its file has been understood: low-rank deltas by the network's own layer names.

Reading files and their many namings is `weights.lora`'s work, putting deltas on a network `camera.adapter`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from torch import Tensor

from ..errors import InputError, explain

_IDLE = (".attn2.to_q", ".attn2.to_k")


@dataclass(frozen=True, slots=True)
class LowRank:
    """One layer's change `scale * up @ down`: down `r in ...`, up `out r ...` (convolutions keep kernel axes)."""

    down: Tensor
    up: Tensor
    scale: float

    @property
    def rank(self) -> int:
        """Width of the bottleneck."""
        return self.down.shape[0]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What strengths were measured to do on the base model the LoRA was trained for.

    `points` are (strength, amount) in rising order, amount being the move's unit per second (% or degrees) at `fps`
    frames a second; (0, 0) is always among them.
    """

    points: tuple[tuple[float, float], ...]
    fps: float

    @property
    def reach(self) -> tuple[float, float]:
        """The lowest and highest amount there is a strength for."""
        low, high = self.points[0][1], self.points[-1][1]
        return min(low, -high if low >= 0 else low), max(high, -low if high <= 0 else high)

    def strength_for(self, amount: float) -> float:
        """The strength that was measured to give `amount` a second; beyond `reach` that of its end.

        Strengths nobody measured break a clip sooner than they move it further.

        Raises:
            InputError: the table does not rise, so no strength follows from it.
        """
        points = self.points
        if (
            (0.0, 0.0) not in points
            or len(points) < 2
            or any(a[1] >= b[1] or a[0] >= b[0] for a, b in pairwise(points))
        ):
            remedy = "Give the strength itself, or calibrate the file again."
            raise InputError(explain("a calibration table that rises through 0", f"{points}", remedy))
        low, high = self.reach
        amount = min(max(amount, low), high)
        if amount < points[0][1] or amount > points[-1][1]:
            # A table of one direction speaks for both.
            return -self.strength_for(-amount)
        upper = next(i for i in range(1, len(points)) if amount <= points[i][1])
        (s0, a0), (s1, a1) = points[upper - 1], points[upper]
        return s0 + (amount - a0) * (s1 - s0) / (a1 - a0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraLora:
    """A LoRA resolved onto the original layer names (`input_blocks.1.1.time_stack.0.attn1.to_q`, no `.weight`).

    name: the file's stem. dialect: which naming the file had. matched of total layers were understood; `no_effect` of
    them cannot change an SVD clip. temporal_total: temporal attention matrices of the network (128 in SVD). preset: the
    move it was trained for, base: fingerprint of the model it belongs to, both None when the file does not say.
    warnings: sentences for the artist.
    """

    name: str
    deltas: Mapping[str, LowRank]
    dialect: str
    rank: int
    alpha: float | None
    total: int
    no_effect: int
    temporal_total: int = 0
    preset: str | None = None
    base: str | None = None
    calibration: Calibration | None = None
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    @staticmethod
    def of(
        name: str,
        deltas: Mapping[str, LowRank],
        *,
        preset: str | None = None,
        base: str | None = None,
        calibration: Calibration | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> CameraLora:
        """A LoRA made here, by training or from others, rather than read from a file.

        Raises:
            InputError: there are no deltas.
        """
        if not deltas:
            raise InputError(explain("at least one delta", "none", "Choose layers to adapt."))
        return CameraLora(
            name=name,
            deltas=dict(deltas),
            dialect="svd_studio",
            rank=_most_common([delta.rank for delta in deltas.values()]),
            alpha=_most_common([delta.scale * delta.rank for delta in deltas.values()]),
            total=len(deltas),
            no_effect=sum(layer.endswith(_IDLE) for layer in deltas),
            preset=preset,
            base=base,
            calibration=calibration,
            metadata=dict(metadata or {}),
        )

    @property
    def matched(self) -> int:
        """Layers that were understood."""
        return len(self.deltas)

    @property
    def temporal(self) -> int:
        """Of those, layers that look along time."""
        return sum(".time_stack." in name for name in self.deltas)

    def summary(self) -> str:
        """What it is, one fact a line; warnings last."""
        attention = sum(".time_stack." in name and ".to_" in name for name in self.deltas)
        along_time = f"{attention} of {self.temporal_total}" if self.temporal_total else f"{attention}"
        alpha = "none (scale 1)" if self.alpha is None else f"{self.alpha:g}"
        lines = [
            f"{self.name}: rank {self.rank}, alpha {alpha}, naming {self.dialect}",
            f"matched {self.matched} of {self.total} layers, temporal attention {along_time}",
        ]
        if self.no_effect:
            lines.append(f"{self.no_effect} layers (attn2 to_q, to_k) cannot change a clip")
        if self.preset:
            lines.append(f"made for the move {self.preset}")
        if self.base:
            lines.append(f"made on the model {self.base}")
        if self.calibration:
            points = ", ".join(f"{strength:g} -> {amount:g}" for strength, amount in self.calibration.points)
            lines.append(f"measured strength -> amount a second: {points}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


_Value = TypeVar("_Value")


def _most_common(values: Sequence[_Value]) -> _Value:
    return Counter(values).most_common(1)[0][0]
