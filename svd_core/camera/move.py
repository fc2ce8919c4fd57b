"""A camera: moves made together or one after another.

This file decides what can be asked and how moves are joined. Names are `presets`', curves over the frames `curves`',
words and files `stack_text`'s; what carries a move out on a clip is decided in `stack`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import InputError, explain
from .curves import Ease, Part, check_ease
from .lora import CameraLora
from .presets import find_preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move: a preset, a LoRA from a file, or both.

    preset: a name of `PRESETS`. lora: carries the move instead of whatever the preset would resolve to. amount: signed
    speed in the preset's unit a second, None for its usual amount; for a LoRA without a preset its plain strength,
    None for 1. frames: first and last frame, inclusive, counted from 0, None for all; -1 as last is the end. ease: how
    the way is spread over that range (see `curves`). steps: part of the sampling, 0 to 1, in which a LoRA acts.
    seed: of `handheld`. parts: the joins it stands in, outermost first.
    """

    preset: str | None = None
    lora: CameraLora | None = None
    amount: float | None = None
    frames: tuple[int, int] | None = None
    ease: Ease = "linear"
    steps: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if self.preset is None and self.lora is None:
            raise InputError(explain("a preset or a LoRA", "neither", "Name the move, or load a camera LoRA."))
        if self.preset is not None:
            find_preset(self.preset)
        if self.amount is not None and not math.isfinite(self.amount):
            raise InputError(explain("an `amount` that is a number", f"{self.amount}", "Give the speed of the move."))
        if self.frames is not None and not (self.frames[0] >= 0 and self.frames[1] >= -1):
            found = f"{self.frames[0]}-{self.frames[1]}"
            raise InputError(explain("frames counted from 0", found, "Use -1 only for the end of the clip."))
        if not 0 <= self.steps[0] < self.steps[1] <= 1:
            found = f"{self.steps[0]:g} to {self.steps[1]:g}"
            remedy = "0 is the beginning of the sampling, 1 its end."
            raise InputError(explain("`steps` as a rising range within 0 to 1", found, remedy))
        check_ease(self.ease)

    @property
    def speed(self) -> float:
        """The amount, or what is usual for the preset (1 for a LoRA alone)."""
        if self.amount is not None:
            return self.amount
        return 1.0 if self.preset is None else find_preset(self.preset).usual

    @property
    def label(self) -> str:
        """What the move is called in notes."""
        if self.preset is not None:
            return self.preset
        return "" if self.lora is None else self.lora.name


@dataclass(frozen=True, slots=True)
class CameraStack:
    """Moves of one clip; those that overlap in time add up. The empty stack leaves a clip as it is."""

    moves: tuple[Move, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.moves)


def mix(*stacks: CameraStack) -> CameraStack:
    """All moves together."""
    return CameraStack(tuple(move for stack in stacks for move in stack.moves))


def join(*stacks: CameraStack, crossfade: int = 0, starts: Sequence[int] | None = None) -> CameraStack:
    """The stacks one after another, each a clip of its own: its frame ranges count from its first frame.

    Args:
        crossfade: frames around each border in which one part slows down while the next one gets going; at most as
            long as the shorter of the two.
        starts: the frame each part but the first begins at, None to give all parts the same length.

    Raises:
        InputError: a negative cross-fade, or another number of starts than parts after the first. Whether the starts
            lie in the clip is known only when the stack meets one (`resolve`).
    """
    given = None if starts is None else tuple(starts)
    filled = [stack for stack in stacks if stack] if given is None else list(stacks)
    if len(filled) <= 1:
        return mix(*filled)
    parts = [Part(index, len(filled), given, crossfade) for index in range(len(filled))]
    return mix(*(_placed_in(part, stack.moves) for part, stack in zip(parts, filled, strict=True)))


def _placed_in(part: Part, moves: Iterable[Move]) -> CameraStack:
    return CameraStack(tuple(replace(move, parts=(part, *move.parts)) for move in moves))
