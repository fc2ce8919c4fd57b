"""What `svd bench camera` renders: LoRAs at strengths, cameras of several moves, curves, and moves without any LoRA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ..camera.adapter import Placeable
from ..camera.lora import CameraLora
from ..camera.move import CameraStack, Move
from ..camera.presets import find_preset
from ..camera.stack import find_nothing
from ..pipeline import animate_clips
from ..settings import AnimateSettings
from ..training.camera_clips import ClipSize
from ..training.camera_trials import Bench, bench_for, clips_with
from ..training.worlds import HELD_OUT, WorldSize, draw_clips
from ..types import Frames
from ..weights.build import SvdModel

STRENGTHS = (0.0, 0.5, 1.0, 1.5, -1.0)
BASE = "base"
CHUNK = 8
"""Clips made at a time."""
MIXED = ("pan_right", "zoom_in")
"""Presets carried out together, each by its LoRA or, where none is given, without training."""
FREE = ("zoom_in", "zoom_out", "roll_cw", "roll_ccw", "pan_right", "tilt_up", "static")
"""Presets carried out without training."""
CURVED = "pan_right"
"""The preset whose LoRA is given a strength that changes over the frames."""
EVEN = f"{CURVED} even"
"""The same with one strength throughout, which curves are held against."""

_SEED = 7_777
# Clips of the embedded model's size are decoded whole: that is the cheapest.
_WHOLE = 256
# Part of the amount measured at strength 1 that the calibration is asked for.
_ASKED_PART = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to render: its name in the file, and LoRAs with strengths, or a stack for the whole pipeline.

    curved: the steps of the stack's first move are kept one by one.
    """

    name: str
    placed: tuple[Placeable, ...] = ()
    stack: CameraStack | None = None
    curved: bool = False


def cases_for(loras: Sequence[CameraLora], frames: int) -> list[Case]:
    """Strength 0 once, every LoRA at the other strengths and at a calibrated amount, and the cameras of `stacks_for`.

    A LoRA that is another's turned round shares its clips: strength s of one is strength -s of the other.
    """
    cases = {BASE: Case(name=BASE)}
    for lora in loras:
        strengths = [1.0] if lora.preset == "static" else [*STRENGTHS[1:], *calibrated(lora)]
        for strength in strengths:
            name = case_name(lora, strength, loras)
            cases.setdefault(name, Case(name=name, placed=((lora, strength),)))
    return [*cases.values(), *stacks_for(loras, frames)]


def stacks_for(loras: Sequence[CameraLora], frames: int) -> list[Case]:
    """Two moves at once; a LoRA even, slow at first, and in the second half alone; every move without a LoRA."""
    tagged = {lora.preset: lora for lora in loras if lora.calibration is not None}
    cases: list[Case] = []
    if any(preset in tagged for preset in MIXED):
        both = tuple(_move(preset, tagged.get(preset)) for preset in MIXED)
        cases.append(Case(name=" + ".join(MIXED), stack=CameraStack(both)))
    if CURVED in tagged:
        move = _move(CURVED, tagged[CURVED])
        half = (frames // 2, frames - 1)
        late = Move(preset=CURVED, lora=move.lora, amount=move.amount, frames=half)
        eased = Move(preset=CURVED, lora=move.lora, amount=move.amount, ease="in")
        cases.append(Case(name=EVEN, stack=CameraStack((move,)), curved=True))
        cases.append(Case(name=f"{CURVED} eased in", stack=CameraStack((eased,)), curved=True))
        cases.append(Case(name=f"{CURVED} frames {half[0]}-{half[1]}", stack=CameraStack((late,)), curved=True))
    return [*cases, *(Case(name=f"free {preset}", stack=CameraStack((Move(preset=preset),))) for preset in FREE)]


def case_name(lora: CameraLora, strength: float, loras: Sequence[CameraLora]) -> str:
    """What the clips of a LoRA at a strength are called."""
    if not strength:
        return BASE
    first = next((other for other in loras if other is lora or _is_turned(other, lora)), lora)
    return f"{first.preset} {strength if first is lora else -strength:.4g}"


def calibrated(lora: CameraLora) -> list[float]:
    """The strength the calibrated row asks for; none for a LoRA without a table."""
    return [] if lora.calibration is None else [lora.calibration.strength_for(asked_amount(lora))]


def asked_amount(lora: CameraLora) -> float:
    """The amount a second the calibrated row asks for: well inside the table."""
    assert lora.calibration is not None
    return _ASKED_PART * dict(lora.calibration.points)[1.0]


def clips_of(model: SvdModel, case: Case, size: ClipSize, indices: range) -> Iterator[Frames]:
    """The clips of a case with the given numbers."""
    bench = held_out_bench(model, size, indices)
    if case.stack is None:
        yield from clips_with(model, case.placed, bench)
        return
    settings = AnimateSettings(camera=case.stack, find_lora=find_nothing, seed=indices.start)
    yield from animate_clips(model, list((bench.pictures + 1) / 2), settings, decode_chunk=_WHOLE)


def held_out_bench(model: SvdModel, size: ClipSize, indices: range) -> Bench:
    """First frames of worlds of the evaluation's own stream; clip n has seed n."""
    world = WorldSize(frames=2, height=size.height, width=size.width)
    pictures = draw_clips(_SEED, HELD_OUT, indices, world).pixels[:, 0]
    return bench_for(model, size, pictures, batch=CHUNK, first_seed=indices.start)


def _move(preset: str, lora: CameraLora | None) -> Move:
    if lora is None:
        return Move(preset=preset, amount=find_preset(preset).usual)
    return Move(preset=preset, lora=lora, amount=asked_amount(lora))


def _is_turned(one: CameraLora, other: CameraLora) -> bool:
    return one.deltas.keys() == other.deltas.keys() and all(
        torch.equal(one.deltas[path].down, delta.down) and torch.equal(one.deltas[path].up, -delta.up)
        for path, delta in other.deltas.items()
    )
