"""What it takes to carry a camera out on a clip: LoRAs with a strength a frame, or the source picture moved.

The order is fixed and told in the plan's notes: the LoRA a move brings; a LoRA tagged for the preset and the base
model, as the caller's finder knows them (files first, then those that ship); the training-free way, an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import InputError, explain
from .adapter import Placed
from .curves import mean_speeds, presence, speeds
from .leaving import caution
from .lora import CameraLora
from .move import CameraStack, Move, join, mix
from .parallax import Travel
from .path import CameraMotion
from .presets import CHANNELS, PRESETS, Channel, Preset, find_preset
from .shake import sway

__all__ = ["CameraStack", "Finder", "Move", "Plan", "Travel", "find_nothing", "join", "mix", "resolve"]

Finder = Callable[[str, str | None], CameraLora | None]
"""`find(preset, base)`: a LoRA tagged for this preset and this base model's fingerprint, or None."""

# Strengths that differ by less are one strength, which can be baked into the weights.
_EQUAL = 1e-9
# Handheld counts in tenths of a %, so that one number suits all presets.
_TENTH = 0.1
# Strengths of a LoRA without a table; twice as strong as it was trained still holds for most.
_MOST_UNMEASURED = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A camera made ready for one clip of T frames.

    placed: LoRAs and their strengths. planar: what the source picture must do for moves without a LoRA, and None if
    there are none; it then holds the motion of *all* presets, since the start of a clip fixes where every frame lies.
    travel: the same for moves that show parallax, only if a depth image was promised. notes: a sentence for each move,
    and last the caution. caution: that the way leaves what the first frame shows, where only that frame is at hand.
    """

    placed: tuple[Placed, ...] = ()
    planar: CameraMotion | None = None
    travel: Travel | None = None
    notes: tuple[str, ...] = ()
    caution: str | None = None

    @property
    def approximate(self) -> bool:
        """Whether any move is carried out without training."""
        return self.planar is not None


def find_nothing(preset: str, base: str | None) -> CameraLora | None:
    """The finder of somebody without LoRAs."""
    del preset, base


def resolve(
    stack: CameraStack,
    frames: int,
    fps: float,
    base: str | None,
    find: Finder = find_nothing,
    *,
    depth: bool = False,
    judged: int | None = None,
) -> Plan:
    """Decide what carries each move, and turn amounts into strengths or steps.

    Args:
        frames: T of the clip, at least 2. fps: its playback rate, by which amounts a second become steps.
        base: fingerprint of the base model, None if it is not known: then only what the moves bring is used.
        depth: a depth image will be at hand, so truck, pedestal, dolly and orbit need not be planar.
        judged: frames whose way is looked at for a caution, None for all of them.

    Raises:
        InputError: a range outside the clip, a clip of one frame, a rate that is none, a LoRA that cannot reach an
            amount.
    """
    if frames < 2 or not 0 < fps < math.inf:
        found = f"{frames} frames at {fps:g} a second"
        raise InputError(explain("a clip of at least 2 frames and a positive rate", found, "Change the clip."))
    ready = [_carry(move, frames, fps, base, find, depth) for move in stack.moves]
    placed = tuple(one.placed for one in ready if one.placed is not None)
    notes = tuple(one.note for one in ready)
    if not any(one.approximate for one in ready):
        return Plan(placed=placed, notes=notes)
    total = _Steps(frames)
    for one in ready:
        total.add(one)
    warned = caution(total.flat(), judged)
    return Plan(
        placed=placed,
        planar=total.planar(),
        travel=total.travel() if depth else None,
        notes=notes if warned is None else (*notes, warned),
        caution=warned,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carried:
    """One move on its way into the plan: who carries it, and its steps by channel."""

    note: str
    placed: Placed | None = None
    approximate: bool = False
    steps: dict[Channel, Tensor] = field(default_factory=dict[Channel, Tensor])


class _Steps:
    """The sum of all moves by channel."""

    def __init__(self, frames: int) -> None:
        self._sums = {channel: torch.zeros(frames - 1, dtype=torch.float64) for channel in CHANNELS}

    def add(self, carried: _Carried) -> None:
        """Put one more move on top."""
        for channel, steps in carried.steps.items():
            self._sums[channel] = self._sums[channel] + steps

    def planar(self) -> CameraMotion:
        """What needs no depth."""
        pan, tilt, zoom, roll = (self._sums[channel] for channel in CHANNELS[:4])
        return CameraMotion(pan=pan, tilt=tilt, zoom=zoom, roll=roll)

    def flat(self) -> CameraMotion:
        """All of it as what is nearest sees it: travel by the planar moves that stand in for it."""
        sums = dict(self._sums)
        for preset in PRESETS.values():
            if preset.planar is not None and preset.channel is not None and preset.sign > 0:
                alias = find_preset(preset.planar)
                assert alias.channel is not None
                sums[alias.channel] = sums[alias.channel] + alias.sign * preset.planar_rate * self._sums[preset.channel]
        pan, tilt, zoom, roll = (sums[channel] for channel in CHANNELS[:4])
        return CameraMotion(pan=pan, tilt=tilt, zoom=zoom, roll=roll)

    def travel(self) -> Travel:
        """What does."""
        truck, pedestal, dolly, orbit = (self._sums[channel] for channel in CHANNELS[4:])
        return Travel(truck=truck, pedestal=pedestal, dolly=dolly, orbit=orbit)


def _carry(move: Move, frames: int, fps: float, base: str | None, find: Finder, depth: bool) -> _Carried:
    if move.preset is None:
        assert move.lora is not None
        strength = _level(mean_speeds(speeds(frames, move.frames, move.ease, move.parts)) * move.speed)
        note = f"{move.lora.name}: strength {move.speed:g}.{_doubts(move.lora)}"
        return _Carried(note=note, placed=Placed(move.lora, strength, move.steps))
    preset = find_preset(move.preset)
    found = _found(move, base, find)
    if found is not None:
        return _by_lora(*found, frames, fps, depth)
    if preset.planar is not None and not depth:
        alias = replace(move, preset=preset.planar, amount=move.speed * preset.planar_rate)
        carried = _carry(alias, frames, fps, base, find, depth)
        return replace(carried, note=f"{move.preset}: planar, as {carried.note} Wire in a depth image for parallax.")
    note = f"{_amount(move, preset)}: training-free, approximate (no LoRA for this model)."
    return _Carried(note=note, approximate=True, steps=_steps(move, preset, frames, fps, depth))


def _found(move: Move, base: str | None, find: Finder) -> tuple[Move, CameraLora] | None:
    """The LoRA for a preset, or for its opposite turned round; a negative amount looks for the opposite first."""
    if move.lora is not None:
        return move, move.lora
    assert move.preset is not None
    opposite = find_preset(move.preset).opposite
    turned = None if opposite is None else replace(move, preset=opposite, amount=-move.speed)
    either = (move, turned) if move.speed >= 0 else (turned, move)
    for candidate in either:
        lora = None if candidate is None or candidate.preset is None else find(candidate.preset, base)
        if candidate is not None and lora is not None:
            return candidate, lora
    return None


def _by_lora(move: Move, lora: CameraLora, frames: int, fps: float, depth: bool) -> _Carried:
    assert move.preset is not None
    preset = find_preset(move.preset)
    strength = _strength(move, preset, lora, frames, fps)
    trust = "by its calibration" if lora.calibration is not None and preset.sign else "not calibrated"
    peak = float(strength[strength.abs().argmax()]) if isinstance(strength, Tensor) else strength
    note = f"{_amount(move, preset)}: LoRA {lora.name}, strength {peak:.3g}{'' if preset.sign == 0 else f' {trust}'}."
    note += _short_of(move, preset, lora, frames, fps) + _doubts(lora)
    steps = _steps(move, preset, frames, fps, depth)
    return _Carried(note=note, placed=Placed(lora, strength, move.steps), steps=steps)


def _strength(move: Move, preset: Preset, lora: CameraLora, frames: int, fps: float) -> float | Tensor:
    if preset.sign == 0:
        # Static and handheld go nowhere: their strength is simply there, or not.
        return _level(presence(frames, move.frames, move.parts) * (move.speed / preset.usual))
    pace = _pace(move, frames)
    if lora.calibration is None:
        return _level(pace / preset.usual)
    table = lora.calibration
    # The LoRA moves so much a frame, whatever rate the frames are played at.
    return _level(torch.tensor([table.strength_for(value * table.fps / fps) for value in pace.tolist()]))


def _doubts(lora: CameraLora) -> str:
    """What reading the file found doubtful."""
    return "".join(f" Warning: {warning}." for warning in lora.warnings)


def _pace(move: Move, frames: int) -> Tensor:
    """The amount a second each frame's strength stands for, `T`."""
    return mean_speeds(speeds(frames, move.frames, move.ease, move.parts)) * move.speed


def _short_of(move: Move, preset: Preset, lora: CameraLora, frames: int, fps: float) -> str:
    """What to say of a LoRA that is asked for more than anybody has measured."""
    if preset.sign == 0:
        return ""
    pace = _pace(move, frames)
    slowest, fastest = float(pace.min()), float(pace.max())
    if lora.calibration is None:
        low, high = -_MOST_UNMEASURED * preset.usual, _MOST_UNMEASURED * preset.usual
        expected = f"at most {high:.3g} a second of a LoRA whose strengths nobody measured"
        remedy = "Stronger than that a clip usually breaks: ask for less."
    else:
        low, high = (end * fps / lora.calibration.fps for end in lora.calibration.reach)
        expected = f"{low:.3g} to {high:.3g} a second, as far as {lora.name} was measured"
        remedy = "It gets no stronger than at the end of that: ask for less."
    if low <= slowest and fastest <= high:
        return ""
    return " " + explain(expected, f"{fastest if fastest > high else slowest:.3g}", remedy)


def _level(strengths: Tensor) -> float | Tensor:
    """One number where all frames agree."""
    first = float(strengths[0])
    return first if float((strengths - first).abs().max()) < _EQUAL else strengths.float()


def _steps(move: Move, preset: Preset, frames: int, fps: float, depth: bool) -> dict[Channel, Tensor]:
    """Steps `T-1` by channel: the preset's own where depth is at hand, else its planar stand-in's."""
    curve = speeds(frames, move.frames, move.ease, move.parts)
    if move.preset == "handheld":
        hand = sway(frames, fps, move.speed * _TENTH, move.seed)
        return {"pan": hand.pan * curve, "tilt": hand.tilt * curve, "roll": hand.roll * curve}
    if preset.channel is None:
        return {}
    if preset.planar is not None and not depth:
        alias = find_preset(preset.planar)
        return _along(alias, curve * (move.speed * preset.planar_rate / fps))
    return _along(preset, curve * (move.speed / fps))


def _along(preset: Preset, steps: Tensor) -> dict[Channel, Tensor]:
    return {} if preset.channel is None else {preset.channel: preset.sign * steps}


def _amount(move: Move, preset: Preset) -> str:
    return f"{move.preset} {move.speed:.4g} ({preset.unit})"
